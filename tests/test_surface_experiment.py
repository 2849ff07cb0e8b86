"""The surface experiment: rows after training that resume, its claims, its figures, its errors."""

import json
import os
import signal
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import make_toy

from bnjax.commands import command_line as frame
from bnjax.frame import displays, results
from bnjax.frame.budget import Budget
from bnjax.frame.results import Results
from bnjax.studies.surface import claims, surface_terms
from bnjax.studies.surface import study as surface
from bnjax.train import TrainState
from bnjax.train.loop import Sweep, count_rows, run_sweeps

TOY = ["--steps", "6", "--batch-size", "16", "--probe-every", "2", "--evaluate-every", "4"]
# What the figures are is tested once: they take longer than the toy's training.
BARE = surface.EXPERIMENT._replace(draw=lambda *_: [])
TOY += ["--points", "3", "--lines", "2", "--images", "32"]
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")


class Row(NamedTuple):
    """What the sweeps of these tests measure."""

    value: jax.Array


def test_sweeps_go_on_at_the_first_missing_row():
    begun = []

    def make(name, rows):
        def begin(state, measured):
            begun.append(name)
            return lambda row: Row(jnp.float32(10 * rows + row))

        return Sweep(rows, Row(jax.ShapeDtypeStruct((), jnp.float32)), begin)

    sweeps = {"first": make("first", 2), "second": make("second", 3)}
    assert count_rows(sweeps) == 5
    state = TrainState(jnp.int32(0), {}, {}, ())
    whole = list(run_sweeps(sweeps, state, {}, start=0))
    assert [(row.name, row.row, row.done) for row in whole] == [
        ("first", 0, 1),
        ("first", 1, 2),
        ("second", 0, 3),
        ("second", 1, 4),
        ("second", 2, 5),
    ]
    assert [float(row.values.value) for row in whole] == [20, 21, 30, 31, 32]
    for start in range(6):
        begun.clear()
        rest = list(run_sweeps(sweeps, state, {}, start=start))
        assert [row[:4] for row in rest] == [row[:4] for row in whole[start:]]
        # What is done already is not begun again: it may be dear.
        assert begun == (["first"] if start < 2 else []) + (["second"] if start < 5 else [])


def only_folder(root):
    (path,) = (root / "surface").iterdir()
    return path


@pytest.fixture(scope="module")
def whole(noise_dataset, tmp_path_factory):
    """The folder of a run that nothing interrupted."""
    out = tmp_path_factory.mktemp("whole")
    with pytest.MonkeyPatch.context() as patch:
        make_toy(patch, noise_dataset)
        assert frame.main(surface.EXPERIMENT, [*TOY, "--debug", "--out", str(out)]) == 0
    return only_folder(out)


def test_a_run_leaves_surfaces_figures_and_claims(whole):
    measured = results.read(whole)
    shapes = {name: array.shape for name, array in measured.arrays.items()}
    assert shapes["lines.losses"] == (2, 1, 2, 3)
    assert shapes["plane.losses"] == shapes["trajectory.accuracies"] == (2, 1, 3, 3)
    assert shapes["plane.row"] == (2, 1, 3)
    assert shapes["principal.coordinates"] == (2, 1, 1, 3, 2)
    assert shapes["principal.shares"] == (2, 1, 1, 2)
    assert not [name for name in shapes if name.startswith("_")]
    for name, values in measured.arrays.items():
        assert np.isfinite(values).all(), name
        assert len(measured.dims[name]) == values.ndim, name
    np.testing.assert_array_equal(measured.select("plane.row", norm="batch", seed=0), [-1, 0, 1])
    # Every view goes through the trained network: the same loss, to the last bit.
    for norm in ("none", "batch"):
        centre = measured.select("plane.losses", norm=norm, seed=0)[1, 1]
        lines = measured.select("lines.losses", norm=norm, seed=0)[:, 1]
        np.testing.assert_array_equal(lines, np.full(2, centre))
        where = {"norm": norm, "seed": 0}
        i = np.flatnonzero(measured.select("trajectory.row", **where) == 0)[0]
        j = np.flatnonzero(measured.select("trajectory.columns", **where)[0] == 0)[0]
        assert measured.select("trajectory.losses", **where)[i, j] == centre
    for name in ("surface_lines", "surface_plane", "surface_3d", "surface_path"):
        assert (whole / f"{name}.png").stat().st_size > 10_000
    decided = json.loads((whole / "summary.json").read_text())["claims"]
    assert [claim["identifier"] for claim in decided] == [
        "flatter-batch",
        "convex-batch",
        "sharpness-error",
        "path-none",
        "path-batch",
    ]


# Rows of an arm: 2 lines, 3 of the plane, 1 of the path's components, 3 of its plane.
@pytest.mark.parametrize("interrupted_after", [2, 5, 6])
def test_an_interrupted_surface_goes_on_bit_for_bit(
    toy, whole, tmp_path, monkeypatch, capsys, interrupted_after
):
    advance, seen = displays.PlainDisplay.advance_rows, []

    def interrupting(self, arm, sweep, done, rows):
        seen.append((arm.label, sweep, done))
        if len(seen) == interrupted_after:
            os.kill(os.getpid(), signal.SIGTERM)
        advance(self, arm, sweep, done, rows)

    monkeypatch.setattr(displays.PlainDisplay, "advance_rows", interrupting)
    command = [*TOY, "--out", str(tmp_path), "--norms", "batch"]
    assert frame.main(BARE, command) == 130
    said = capsys.readouterr().err
    label, sweep, done = seen[-1]
    assert f"at row {done} of " in said
    assert f"of {sweep} of the arm {label}" in said
    broken = only_folder(tmp_path)
    assert not (broken / "summary.json").exists()
    assert frame.main(BARE, command) == 0
    assert len(seen) == len(set(seen)) == 9  # no row was measured twice
    first, second = results.read(whole).arrays, results.read(broken).arrays
    assert first.keys() == second.keys()
    for name in first:
        np.testing.assert_array_equal(first[name][1:], second[name], err_msg=name)


def test_rows_are_saved_at_intervals(toy, whole, tmp_path, monkeypatch):
    """A process that dies without a word loses no more than an interval."""
    command = [*TOY, "--out", str(tmp_path), "--norms", "batch", "--checkpoint-minutes", "0"]
    measured = []

    def dying(self, arm, sweep, done, rows):
        measured.append(sweep)
        if len(measured) == 5:
            raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr(displays.PlainDisplay, "advance_rows", dying)
        assert frame.main(BARE, command) == 1
    later = []
    monkeypatch.setattr(
        displays.PlainDisplay, "advance_rows", lambda self, arm, sweep, *_: later.append(sweep)
    )
    assert frame.main(BARE, command) == 0
    assert later == ["plane", "principal", *["trajectory"] * 3]
    first, second = results.read(whole).arrays, results.read(only_folder(tmp_path)).arrays
    np.testing.assert_array_equal(first["plane.losses"][1], second["plane.losses"][0])


def test_an_arm_that_diverges_has_no_surface(toy, tmp_path):
    arguments = [*TOY, "--out", str(tmp_path), "--lr", "1e25", "--debug", "--norms", "none"]
    assert frame.main(surface.EXPERIMENT, arguments) == 0
    measured = results.read(only_folder(tmp_path))
    assert np.isnan(measured.arrays["plane.losses"]).all()
    [claim] = surface.EXPERIMENT.claims(measured)
    assert (claim.identifier, claim.verdict) == ("path-none", "inconclusive")
    assert "diverged at step" in claim.reason


def test_views_may_be_left_out(toy, tmp_path):
    arguments = [*TOY, "--out", str(tmp_path), "--views", "lines", "--norms", "batch"]
    arguments += ["--statistics", "batch"]
    assert frame.main(surface.EXPERIMENT, [*arguments, "--probe-every", "6", "--debug"]) == 0
    path = only_folder(tmp_path)
    assert not [name for name in results.read(path).arrays if name.startswith(("plane", "pri"))]
    assert {file.name for file in path.glob("*.png")} == {"surface_lines.png"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--points", "10"], "--points 10: must be odd, from 3 to 1001"),
        (["--points", "1"], "--points 1: must be odd"),
        (["--lines", "0"], "--lines 0: must be from 1"),
        (["--span", "0"], "--span 0.0: must be above 0"),
        (["--span", "nan"], "--span nan: must be above 0"),
        (["--images", "40"], "--images 40: must be a multiple of --batch-size 16"),
        (["--images", "64"], "--images 64: must be at most 48 here"),
        (["--views", "plane", "plane"], "--views plane plane: must be one or more"),
        (["--views", "hills"], "'hills'"),
        (["--statistics", "frozen"], "'frozen'"),
        (["--probe-every", "3"], "--probe-every 3: must be at most 2: three snapshots"),
    ],
)
def test_a_wrong_call_gives_one_line_and_writes_nothing(toy, tmp_path, capsys, arguments, message):
    out = tmp_path / "runs"
    assert frame.main(BARE, [*TOY, *arguments, "--out", str(out)]) == 2
    captured = capsys.readouterr().err
    assert message in captured
    assert captured.count("\n") == 1
    assert not out.exists()


def test_an_absurd_grid_is_refused_before_it_starts_and_may_be_insisted_on(
    toy, tmp_path, capsys, monkeypatch
):
    monkeypatch.setattr("bnjax.frame.budget.CORE_OPERATIONS_PER_SECOND", 1.0)
    out = [*TOY, "--out", str(tmp_path / "runs"), "--norms", "batch"]
    assert frame.main(BARE, [*out, "--lines", "101"]) == 2
    said = capsys.readouterr().err
    # 32 images, 101 × 3 + 2 × 3² points.
    assert "this grid takes 1e+04 forward passes of an image, about " in said
    assert "--yes" in said
    assert not (tmp_path / "runs").exists()
    assert frame.main(BARE, [*out, "--views", "plane", "--yes"]) == 0
    # To insist changes no result, so it is the same run.
    assert frame.main(BARE, [*out, "--views", "plane"]) == 0
    assert "finished before" in capsys.readouterr().out


def test_the_budget_counts_time_and_memory(monkeypatch):
    monkeypatch.setattr("bnjax.frame.budget.operations_per_second", lambda: 1e9)
    budget = Budget(forward_passes=3600, operations=2e9, snapshots=10, parameters=1000)
    assert budget.hours == 2
    assert budget.snapshot_bytes == 40_000


def test_snapshots_that_do_not_fit_are_refused(toy, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr("bnjax.frame.budget.LARGEST_BYTES", 1000)
    assert frame.main(BARE, [*TOY, "--out", str(tmp_path / "runs")]) == 2
    said = capsys.readouterr().err
    assert "3 snapshots of " in said
    assert "give a larger --probe-every, or insist with --yes" in said
    assert not (tmp_path / "runs").exists()


def bowl(curvature, points=11):
    """Losses ½ c r² on a plane from −1 to 1."""
    axis = np.linspace(-1, 1, points)
    return 0.5 * curvature * (axis[:, None] ** 2 + axis[None] ** 2)


def made_up(sharper=3.0, seeds=1, share=0.7, saddle=False, loss_none=0.1, worse=0.1):
    """`none` is `sharper` times as sharp as `batch` and has a larger test error by `worse`."""
    axis = np.linspace(-1, 1, 11)
    rows: dict[str, list] = {}
    for norm, curvature in (("none", sharper), ("batch", 1.0)):
        for seed in range(seeds):
            own = curvature * (1 + 0.01 * seed)
            surface_of = bowl(own)
            if saddle and norm == "none":
                surface_of = 0.5 * own * (axis[:, None] ** 2 - axis[None] ** 2)
            lines = np.tile(0.01 + 0.5 * own * axis**2, (3, 1))
            one = {
                "lines.losses": lines,
                "lines.columns": np.tile(axis, (3, 1)),
                "lines.accuracies": np.full((3, 11), 0.99),
                "plane.losses": surface_of + 0.01,
                "principal.shares": np.array([[share - 0.1, 0.1]]),
                "train.loss": np.full(40, loss_none if norm == "none" else 0.1),
                "train.finite": np.ones(40),
                "test.accuracy": np.array([0.1, 0.9 - (worse if norm == "none" else 0)]),
            }
            for name, values in one.items():
                rows.setdefault(name, []).append(values)
    dims = {
        "lines.losses": ("line", "column"),
        "lines.columns": ("line", "column"),
        "lines.accuracies": ("line", "column"),
        "plane.losses": ("row", "column"),
        "principal.shares": ("path", "component"),
        "train.loss": ("step",),
        "train.finite": ("step",),
        "test.accuracy": ("test_step",),
    }
    arrays = {
        name: np.array(values).reshape(2, seeds, *values[0].shape) for name, values in rows.items()
    }
    axes = {
        "norm": np.array(["none", "batch"]),
        "seed": np.arange(seeds),
        "path": np.array(["principal"]),
    }
    named = {name: ("norm", "seed", *inner) for name, inner in dims.items()}
    return Results(arrays, named, axes, {}, {"chance_loss": np.log(10)})


def decided(**options):
    return {claim.identifier: claim for claim in claims.claims(made_up(**options))}


@pytest.mark.parametrize("seeds", [1, 4])
@pytest.mark.parametrize(
    ("sharper", "verdict"),
    [(3.0, "supported"), (1.0, "inconclusive"), (0.3, "not supported")],
)
def test_the_ratio_of_sharpness_decides_who_is_flatter(sharper, verdict, seeds):
    if sharper == 1.0 and seeds > 1:
        pytest.skip("equal to the last digit in every seed: an interval without width")
    claim = decided(sharper=sharper, seeds=seeds)["flatter-batch"]
    assert claim.verdict == verdict
    assert f"none/batch {sharper:.3g}" in claim.measured
    # Mean of ½ a² over a = ±0.2, ±0.4, the points within half a norm.
    assert "batch 0.05 / 0.01" in claim.measured or seeds > 1


def test_curvatures_are_those_of_a_quadratic():
    hessian = np.array([[3.0, 1.0], [1.0, -2.0]])
    axis = np.linspace(-1, 1, 9)
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1)
    losses = 0.5 * np.einsum("ijk,kl,ijl->ij", grid, hessian, grid)
    lowest, highest = surface_terms.curvatures(losses)
    expected = np.linalg.eigvalsh(hessian) * (axis[1] - axis[0]) ** 2
    np.testing.assert_allclose(lowest, np.full((7, 7), expected[0]), rtol=1e-9)
    np.testing.assert_allclose(highest, np.full((7, 7), expected[1]), rtol=1e-9)


def test_a_saddle_is_less_convex_than_a_bowl():
    assert decided(saddle=True)["convex-batch"].verdict == "supported"
    assert "none 100%, batch 0%" in decided(saddle=True)["convex-batch"].measured
    assert decided()["convex-batch"].verdict == "inconclusive"


@pytest.mark.parametrize(
    ("options", "verdict"),
    [
        ({"sharper": 3.0, "worse": 0.1}, "supported"),
        ({"sharper": 3.0, "worse": -0.05}, "not supported"),
        ({"sharper": 1.02, "worse": 0.1}, "inconclusive"),
        ({"sharper": 3.0, "worse": 0.001}, "inconclusive"),
        ({"sharper": 3.0, "worse": 0.1, "loss_none": 2.3}, "inconclusive"),
    ],
)
def test_sharpness_and_test_error_must_order_the_arms_alike(options, verdict):
    assert decided(**options)["sharpness-error"].verdict == verdict


@pytest.mark.parametrize(
    ("share", "verdict"), [(0.7, "supported"), (0.2, "not supported"), (0.41, "inconclusive")]
)
def test_the_share_of_two_components_decides_whether_a_path_is_low_dimensional(share, verdict):
    claim = decided(share=share)["path-batch"]
    assert claim.verdict == verdict
    assert "random walk" in claim.published


def test_nothing_rests_on_an_arm_that_does_not_train():
    found = decided(loss_none=2.3)
    for name in ("flatter-batch", "convex-batch", "path-none"):
        assert found[name].verdict == "inconclusive"
        assert "none does not train" in found[name].reason
    assert found["path-batch"].verdict == "supported"


def test_presets_are_valid():
    for config in surface.PRESETS.values():
        config.validate()
