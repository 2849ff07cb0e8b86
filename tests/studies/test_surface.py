"""The surface study: its rows against plain loops, a stop between rows, its claims and figures."""

import os
import signal
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import synthetic
from conftest import cast, tiny_model
from jax.flatten_util import ravel_pytree
from synthetic import CAPTION, N, S, U, column, decided

from bnjax import data, losses
from bnjax.commands.command_line import prepare
from bnjax.errors import RunError, UsageError
from bnjax.frame import folder, results, run
from bnjax.frame.arm import Arm
from bnjax.frame.interrupts import Interrupted
from bnjax.frame.listener import Listener
from bnjax.frame.results import Run
from bnjax.probes.surface import filter_direction
from bnjax.studies.surface import STUDY, claims, figure, measure
from bnjax.train import TrainState
from bnjax.train.loop import Sweep, count_rows, run_sweeps

AXIS = np.linspace(-1, 1, 11)


@pytest.fixture(scope="module")
def trained(noise_dataset):
    """A function that makes an arm of given options, and the state of its trained network."""
    model, pipeline = tiny_model("batch"), data.make_pipeline(noise_dataset, 16)
    images = pipeline.standardise(noise_dataset.train.pixels[:2])
    variables = cast(model.init(jax.random.key(3), images), jnp.float32)
    # Running statistics that are not those of any batch.
    stats = jax.tree.map(lambda leaf: leaf + 0.3, variables["batch_stats"])
    usual = {"points": 3, "lines": 1, "span": 1.0, "probe_every": 1, "objective": "cross_entropy"}
    usual |= {"kernel_penalty": 0.0}

    def make(**options):
        return Arm({}, 0, SimpleNamespace(**usual, **options), model, noise_dataset, pipeline)

    return make, TrainState(jnp.int32(0), variables["params"], stats, ())


@pytest.mark.parametrize("statistics", ["batch", "running", "recalibrated"])
def test_a_row_is_the_mean_over_batches_under_the_chosen_statistics(trained, statistics):
    make, state = trained
    arm = make(views=("plane",), steps=3, images=48, statistics=statistics)
    measured = measure.after(arm)["plane"].begin(state, {})(0)
    pixels = arm.dataset.train.pixels[:48].reshape(3, 16, 8, 8, 3)
    labels = arm.dataset.train.labels[:48].reshape(3, 16)
    key = measure.key_for(arm, "plane")
    first, second = (
        filter_direction(jax.random.fold_in(key, axis), state.params) for axis in (0, 1)
    )
    images = jnp.stack([arm.pipeline.standardise(batch) for batch in pixels])
    stats = state.batch_stats
    if statistics == "recalibrated":
        stats = losses.pooled_statistics(arm.model, state.params, stats, images)
    assert measured.row == -1
    for place, *found in zip(measured.columns, measured.losses, measured.accuracies, strict=True):
        point = jax.tree.map(lambda p, a, b, c=place: p - a + c * b, state.params, first, second)
        expected = []
        for batch, truth in zip(images, labels, strict=True):
            logits, _ = arm.model.apply(point, stats, batch, train=statistics == "batch")
            expected.append([losses.cross_entropy(logits, truth), losses.accuracy(logits, truth)])
        np.testing.assert_allclose(found, np.mean(expected, axis=0), rtol=1e-4)


def test_the_path_s_plane_goes_through_the_trained_network_and_snapshots_of_a_plane(trained):
    make, state = trained
    arm = make(views=("trajectory",), steps=4, images=16, statistics="running")
    arm.options.points = 5
    end, to_tree = ravel_pytree(state.params)
    plane = np.random.default_rng(0).normal(size=(2, end.size))
    steps = np.array([[3.0, 0.0], [2.0, 1.5], [1.0, 0.5], [0.2, 0.1]])
    snapshots = (np.asarray(end) + 0.01 * steps @ plane).astype(np.float32)
    sweeps = measure.after(arm)
    assert list(sweeps) == ["principal", "trajectory"]
    history = {f"{measure.SNAPSHOTS}_vector": snapshots}
    path = sweeps["principal"].begin(state, history)(0)
    np.testing.assert_allclose(np.sum(path.shares[:2]), 1, rtol=1e-4)
    lengths = np.linalg.norm(snapshots - np.asarray(end), axis=1)
    np.testing.assert_allclose(np.linalg.norm(path.coordinates, axis=1), lengths, rtol=1e-3)
    measure_row = sweeps["trajectory"].begin(state, history)
    rows = [measure_row(row) for row in range(5)]
    ordinates, columns = np.array([row.row for row in rows]), np.asarray(rows[0].columns)
    assert (ordinates == 0).sum() == (columns == 0).sum() == 1
    assert ordinates.min() <= path.coordinates[:, 1].min()
    assert columns.max() >= path.coordinates[:, 0].max()
    images = arm.pipeline.standardise(arm.dataset.train.pixels[:16])
    first, second = measure.path_components(state.params, snapshots).directions[:2]
    for i, j in ((np.flatnonzero(ordinates == 0)[0], np.flatnonzero(columns == 0)[0]), (0, -1)):
        point = to_tree(end + columns[j] * first + ordinates[i] * second)
        logits, _ = arm.model.apply(point, state.batch_stats, images, train=False)
        expected = losses.cross_entropy(logits, arm.dataset.train.labels[:16])
        np.testing.assert_allclose(rows[i].losses[j], expected, rtol=1e-5)


def test_the_plane_of_a_path_holds_all_of_it():
    found = measure.around(np.array([2.0, -1.0, 0.5]), 7)
    assert found.min() < -1
    assert found.max() > 2
    assert (measure.around(np.zeros(3), 5) == 0).sum() == 1


SMALL = ["--preset", "toy", "--norms", "batch", "--points", "3"]
SMALL += ["--batch-size", "16", "--images", "32"]


def test_sweeps_that_are_done_are_not_begun_again():
    begun = []

    def sweep(name, rows):
        def begin(state, measured):
            begun.append(name)
            return lambda row: 10 * rows + row

        return Sweep(rows, None, begin)

    sweeps, state = {"a": sweep("a", 2), "b": sweep("b", 3)}, TrainState(jnp.int32(0), {}, {}, ())
    every = [("a", 0, 20), ("a", 1, 21), ("b", 0, 30), ("b", 1, 31), ("b", 2, 32)]
    for start in range(count_rows(sweeps) + 1):
        begun.clear()
        rest = list(run_sweeps(sweeps, state, {}, start=start))
        assert [(row.name, row.row, row.values) for row in rest] == every[start:]
        assert [row.done for row in rest] == [*range(start + 1, 6)]
        assert begun == ["a"] * (start < 2) + ["b"] * (start < 5)


class Rows(Listener):
    """Notes the rows after training, and does something at one of them."""

    def __init__(self, at=0, act=None):
        self.seen, self.at, self.act = [], at, act

    def advance_rows(self, arm, sweep, done, rows):
        self.seen.append((sweep, done))
        if len(self.seen) == self.at:
            self.act()


def surface(out, listener, *arguments):
    """A run of seconds with 9 rows: 2 lines, 3 of the plane, 1 of the path, 3 of its plane."""
    given = ["--preset", "toy", "--norms", "batch", "--points", "3", "--out", str(out), *arguments]

    def publish(study, published, path, listeners):
        folder.write_summary(path, [], {}, [])

    return run.run(STUDY, prepare(STUDY, given), publish, listeners=[listener], ends_process=False)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The results of a run that nothing interrupted."""
    return results.read(surface(tmp_path_factory.mktemp("whole"), Rows())).data


def test_every_view_goes_through_the_trained_network(whole):
    here = whole.isel(norm=0, seed=0)
    centre = here["plane_losses"].values[1, 1]
    np.testing.assert_array_equal(here["lines_losses"][:, 1], [centre, centre])
    i = np.flatnonzero(here["trajectory_row"] == 0)[0]
    j = np.flatnonzero(here["trajectory_columns"][0] == 0)[0]
    assert here["trajectory_losses"].values[i, j] == centre
    assert not [name for name in whole if name.startswith("_")]


def stop():
    os.kill(os.getpid(), signal.SIGTERM)


def die():
    raise MemoryError


@pytest.mark.parametrize(
    ("at", "act", "error", "rest"),
    [(2, stop, Interrupted, 7), (5, stop, Interrupted, 4), (6, stop, Interrupted, 3),
     (5, die, (RunError, MemoryError), 5)],
)  # fmt: skip
def test_a_surface_that_ends_between_rows_resumes_bit_for_bit(
    whole, tmp_path, at, act, error, rest
):
    each = ("--checkpoint-minutes", "0")
    with pytest.raises(error):
        surface(tmp_path, Rows(at, act), *each)
    (path,) = (tmp_path / "surface").iterdir()
    assert not (path / folder.SUMMARY).exists()
    later = Rows()
    resumed = results.read(surface(tmp_path, later, *each)).data
    assert len(later.seen) == rest  # no saved row is measured again
    assert resumed.equals(whole)


def test_grids_that_are_too_large_are_refused_unless_insisted_on(noise_dataset, monkeypatch):
    def refused(message, *more):
        with pytest.raises(UsageError, match=message):
            measure.check(prepare(STUDY, [*SMALL, *more]), noise_dataset)

    refused("--images 64: must be at most 48 here", "--images", "64")
    with monkeypatch.context() as patch:
        patch.setattr(measure, "LARGEST_BYTES", 1000)
        # 8·8·3 pixels, four layers; a scale and a shift of each of 10 channels behind three.
        parameters = (192 + 1) * 10 + 2 * (10 + 1) * 10 + (10 + 1) * 10 + 3 * 20
        size = 4 * 3 * parameters / 2**30
        refused(f"3 snapshots of {parameters} parameters take {size:.3g} GiB .* --probe-every, or")
    monkeypatch.setattr(measure, "speed", lambda: 1.0)
    refused("this grid takes")
    monkeypatch.setattr(measure, "forward_operations", lambda *_: 36.0)
    # 32 images, 101 × 3 + 2 × 3² points.
    refused(r"takes 1e\+04 forward passes of an image, about 103 hours .* --yes", "--lines", "101")
    measure.check(prepare(STUDY, [*SMALL, "--lines", "101", "--yes"]), noise_dataset)


def made(sharper=3.0, seeds=1, share=0.7, saddle="", worse=0.1):
    """`none` is `sharper` times as sharp as `batch` and has a larger test error by `worse`."""
    curvature = column([sharper, 1.0], 3) * (1 + 0.01 * np.arange(seeds)[:, None, None])
    sign = column([-1 if norm == saddle else 1 for norm in ("none", "batch")], 3)
    own = ("norm", "seed")
    variables = {
        "lines_losses": ((*own, "line", "column"), 0.01 + 0.5 * curvature * AXIS**2),
        "lines_columns": ((*own, "line", "column"), AXIS),
        "lines_accuracies": ((*own, "line", "column"), 0.99),
        "plane_losses": (
            (*own, "row", "column"),
            0.01 + 0.5 * curvature * (AXIS[:, None] ** 2 + sign * AXIS**2),
        ),
        "plane_row": ((*own, "row"), AXIS),
        "plane_columns": ((*own, "row", "column"), AXIS),
        "principal_shares": ((*own, "path", "component"), [share - 0.1, 0.1]),
        "test_accuracy": ((*own, "test_step"), column([0.9 - worse, 0.9], 2)),
    }
    axes = {"line": range(3), "column": range(11), "row": range(11), "path": ["principal"]}
    axes |= {"component": (1, 2), "plane_axis": (1, 2), "test_step": (0, 40)}
    shown = {**CAPTION, "images": 64, "statistics": "running", "probe_every": 5}
    run = synthetic.run(variables, seeds=seeds, options=shown, **axes)
    run.facts["dataset"] = "made up"
    return run


def without(run, *views):
    """The run without some views."""
    gone = [name for name in run.data if name.startswith(views)]
    return Run(run.data.drop_vars(gone), run.options, run.facts)


def infinite(run):
    """The run with an infinite loss near the trained network without normalisation."""
    run.data["lines_losses"][0, 0, :, 4] = np.inf
    run.data["plane_losses"][0, 0, 4, 4] = np.inf
    return run


@pytest.mark.parametrize(
    ("name", "run", "verdict"),
    [
        ("flatter-batch", made(3.0), S),
        ("flatter-batch", made(3.0, seeds=4), S),
        ("flatter-batch", made(1.0), U),
        ("flatter-batch", made(0.3), N),
        ("flatter-batch", made(0.3, seeds=4), N),
        ("flatter-batch", infinite(made()), U),
        ("convex-batch", made(saddle="none"), S),
        ("convex-batch", made(saddle="batch"), N),
        ("convex-batch", made(), U),
        ("convex-batch", infinite(made(saddle="none")), U),
        ("sharpness-error", made(3.0), S),
        ("sharpness-error", made(3.0, worse=-0.05), N),
        ("sharpness-error", infinite(made(3.0)), U),
        ("sharpness-error", made(-3.0), U),
        ("sharpness-error", made(1.02), U),
        ("sharpness-error", made(3.0, worse=0.001), U),
        ("path-batch", made(share=0.7), S),
        ("path-batch", made(share=0.2), N),
        ("path-batch", made(share=0.41), U),
    ],
)
def test_the_numbers_decide(name, run, verdict):
    assert decided(run, claims.CLAIMS)[name].verdict == verdict


def test_nothing_rests_on_a_network_that_does_not_train():
    found = decided(synthetic.dead(made(), "none"), claims.CLAIMS)
    assert found.pop("path-batch").verdict == S
    for verdict in found.values():
        assert verdict.verdict == U
        assert "no normalisation does not train" in verdict.reason


def test_measured_sentences_tell_sharpness_share_and_loss():
    found = decided(made(saddle="none", share=0.95), claims.CLAIMS)
    # Mean of ½ a² over a = ±0.2, ±0.4, the points within half a norm.
    flatter = found["flatter-batch"].measured
    assert "3 times smaller" in flatter
    assert "(no normalisation 0.15, BatchNorm 0.05; one seed)" in flatter
    assert "0.01 BatchNorm" in flatter
    assert "no normalisation 100.0%, BatchNorm 0.0%" in found["convex-batch"].measured
    assert "no normalisation 0.15 / 20.0% / 19.0%" in found["sharpness-error"].measured
    assert "More than was published" in found["path-none"].measured
    assert "random walk" in found["path-none"].published


def test_claims_are_those_that_the_views_allow():
    assert [*decided(without(made(), "plane", "principal"), claims.CLAIMS)] == [
        "flatter-batch",
        "sharpness-error",
    ]
    rest = without(made(), "lines")
    assert [*decided(rest, claims.CLAIMS)] == ["convex-batch", "path-none", "path-batch"]
    regression = made()
    regression.data["test_accuracy"][:] = np.nan
    assert "sharpness-error" not in decided(regression, claims.CLAIMS)


def test_sharpness_on_a_short_axis_is_that_of_its_innermost_points():
    run = made()
    run.data["lines_columns"] *= 5  # spacing 1, beyond half a norm
    expected = 0.5 * 0.2**2
    np.testing.assert_allclose(claims.sharpness(run), [[3 * expected], [expected]], rtol=1e-12)


def test_curvatures_are_those_of_a_quadratic():
    hessian = np.array([[3.0, 1.0], [1.0, -2.0]])
    axis = np.linspace(-1, 1, 9)
    grid = np.stack(np.meshgrid(axis, axis, indexing="ij"), axis=-1)
    found = claims.curvatures(0.5 * np.einsum("ijk,kl,ijl->ij", grid, hessian, grid))
    expected = np.linalg.eigvalsh(hessian) * (axis[1] - axis[0]) ** 2
    for own, one in zip(found, expected, strict=True):
        np.testing.assert_allclose(own, np.full((7, 7), one), rtol=1e-9)


def drawn(run):
    """The drawings of a run by name, and their series by panel."""
    found = [drawing for draw in figure.FIGURES for drawing in draw(run, {})]
    for drawing in found:
        drawing.finish()
    return {
        drawing.name: {
            (number, series.name): series.columns
            for number, panel in enumerate(drawing.panels)
            for series in panel.table
        }
        for drawing in found
    }


def test_figures_show_the_range_over_lines_and_seeds_and_the_first_seed_s_planes():
    run = made(seeds=2, saddle="none")
    steps = np.arange(8.0)
    run.data["lines_losses"] += 0.1 * run.data["line"]
    for field in ("losses", "columns", "row"):
        run.data[f"trajectory_{field}"] = 1 * run.data[f"plane_{field}"]
    run.data["principal_coordinates"] = (
        ("norm", "seed", "path", "plane_axis", "probe_step"),
        np.broadcast_to([steps, steps**2], (2, 2, 1, 2, 8)),
    )
    found = drawn(run)
    assert [*found] == ["surface_lines", "surface_plane", "surface_3d", "surface_path"]
    lines, bowl = found["surface_lines"], 0.5 * AXIS**2
    band = lines[0, "BatchNorm, range"]
    np.testing.assert_allclose(band["low"], 0.01 + bowl)
    np.testing.assert_allclose(band["high"], 0.21 + 1.01 * bowl)
    np.testing.assert_allclose(lines[0, "BatchNorm"]["y"], 0.11 + 1.005 * bowl, rtol=1e-12)
    np.testing.assert_array_equal(lines[1, "BatchNorm"]["x"], AXIS)
    np.testing.assert_array_equal(lines[1, "BatchNorm"]["y"], np.full(11, 0.99))
    for name in ("surface_plane", "surface_3d", "surface_path"):
        grid = found[name][0, "no normalisation"]
        np.testing.assert_array_equal(grid["value"], run["plane_losses"].sel(norm="none", seed=0))
        np.testing.assert_array_equal(grid["y"][:, 0], AXIS)
    path = found["surface_path"][1, "path"]
    np.testing.assert_array_equal(path["x"], [*steps, 0])
    np.testing.assert_array_equal(path["y"], [*steps**2, 0])


def test_an_arm_without_a_surface_leaves_its_panels_empty():
    run = without(made(), "principal", "lines")
    run.data["plane_losses"][0] = np.nan
    found = drawn(synthetic.diverged(run, "none"))
    assert [*found] == ["surface_plane", "surface_3d"]
    assert (0, "no normalisation") not in found["surface_plane"]
    assert [*found["surface_3d"]] == [(1, "BatchNorm")]
