"""Normalisers against the batch size: steps and rates of each arm, claims, and the whole."""

import json

import numpy as np
import pytest

from bnjax.commands import command_line as frame
from bnjax.frame import records, results
from bnjax.frame.results import Results
from bnjax.studies.batch_size import claims
from bnjax.studies.batch_size import study as batch_size

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")
TOY = [
    *("--norms", "none", "batch", "--batch-sizes", "4", "16", "--steps", "4"),
    *("--probe-every", "2", "--evaluate-every", "2"),
]
STEPS, SIZES = 20, (2, 64)


def record(steps, finite_until):
    """A record of one arm whose loss is the step, until it ends."""
    loss = np.arange(steps, dtype=np.float32)
    finite = np.ones(steps, np.float32)
    loss[finite_until + 1 :] = finite[finite_until + 1 :] = np.nan
    finite[finite_until : finite_until + 1] = 0
    own = {"train.loss": loss, "train.finite": finite, "line.losses": np.ones((2, 3))}
    return {**own, "complete": np.ones(())}


def test_arms_of_more_steps_are_stacked_as_means_over_equal_blocks():
    stacked = records.stack([record(3, 99), record(12, 99), record(12, 6)], [3])
    np.testing.assert_array_equal(stacked["train.loss"][0], [0, 1, 2])
    np.testing.assert_array_equal(stacked["train.loss"][1], [1.5, 5.5, 9.5])
    np.testing.assert_array_equal(stacked["train.finite"][1], [1, 1, 1])
    # It ends at step 6: the second block is not finite, the third was not taken.
    np.testing.assert_array_equal(stacked["train.finite"][2], [1, 0, np.nan])
    np.testing.assert_array_equal(stacked["train.loss"][2], [1.5, np.nan, np.nan])
    assert stacked["line.losses"].shape == (3, 2, 3)


@pytest.mark.parametrize(("scaling", "rates"), [("linear", (0.05, 0.4)), ("constant", (0.2, 0.2))])
def test_every_size_sees_the_same_examples(scaling, rates):
    config = batch_size.Config(
        batch_sizes=(8, 64), lr=0.2, steps=30, probe_every=5, evaluate_every=10, scaling=scaling
    )
    for size, rate in zip((8, 64), rates, strict=True):
        own = config.for_arm({"norm": "batch", "batch_size": size})
        counts = (own.steps, own.probe_every, own.evaluate_every)
        assert [own.batch_size * count for count in counts] == [30 * 64, 5 * 64, 10 * 64]
        np.testing.assert_allclose(own.lr, rate)


def made_up(accuracy, widths=None, dead=(), seeds=1):
    """Results with given test accuracies `[norm][size]` and landscapes of given roughness."""
    norms = list(accuracy)
    shape = (len(norms), len(SIZES), seeds)
    decline = np.geomspace(1.5, 0.1, STEPS)
    loss = np.array(
        [[decline if (n, s) not in dead else 0 * decline + 2.3 for s in SIZES] for n in norms]
    )
    value = np.array([[(widths or {}).get((n, s), 1.0) for s in SIZES] for n in norms])
    value = np.broadcast_to(value[..., None, None, None, None], (*shape, 4, 1, 2))
    final = np.array([accuracy[n] for n in norms])[:, :, None, None]
    final = final + 0.001 * np.arange(seeds).reshape(1, 1, -1, 1)
    arrays = {
        "train.loss": np.broadcast_to(loss[:, :, None], (*shape, STEPS)),
        "train.finite": np.ones((*shape, STEPS)),
        "test.accuracy": np.broadcast_to(final, (*shape, 2)),
        "line.losses": value * np.array([0.0, 1.0]),
        "line.gradient_distances": value,
        "line.smoothness": value,
    }
    outer = ("norm", "batch_size", "seed")
    inner = {"train": ("step",), "test": ("test_step",)}
    dims = {
        name: (*outer, *inner.get(name.split(".")[0], ("probe_step", "direction", "step_size")))
        for name in arrays
    }
    axes = {
        "norm": np.array(norms),
        "batch_size": np.array(SIZES),
        "seed": np.arange(seeds),
        "step": np.arange(STEPS),
        "test_step": np.array([0, STEPS]),
        "probe_step": np.arange(2, STEPS, 5),
        "direction": np.array(["gradient"]),
        "step_size": np.array([0.5, 4.0]),
    }
    config = {"batch_size": 0, "lr": 0.1, "optimizer": "sgd"}
    return Results(arrays, dims, axes, config, {"chance_loss": np.log(10)})


def verdicts(measured):
    return {claim.identifier: claim.verdict for claim in claims.claims(measured)}


@pytest.mark.parametrize("seeds", [1, 3])
def test_a_loss_at_the_small_batch_is_the_published_result_for_batch_alone(seeds):
    found = verdicts(made_up({"batch": (0.7, 0.9), "group": (0.9, 0.9)}, seeds=seeds))
    assert found["sizes-batch"] == found["sizes-group"] == found["ahead-group-2"] == "supported"
    found = verdicts(made_up({"batch": (0.9, 0.7), "group": (0.7, 0.9)}, seeds=seeds))
    assert set(found.values()) == {"not supported"}
    better = verdicts(made_up({"group": (0.9, 0.7)}, seeds=seeds))
    assert better == {"sizes-group": "not supported"}


def test_the_gain_of_batch_in_the_landscape_is_compared_between_sizes():
    even = {"none": (0.9, 0.9), "batch": (0.9, 0.9)}
    for small, large, verdict in ((1, 4, "supported"), (4, 1, "not supported")):
        found = {
            claim.identifier: claim
            for claim in claims.claims(made_up(even, {("none", 2): small, ("none", 64): large}))
        }
        for name in ("shrinks-fig4a", "shrinks-fig4b", "shrinks-fig4c"):
            assert found[name].verdict == verdict
            assert f"none/batch at 2: {small}; none/batch at 64: {large}" in found[name].measured


def test_a_dead_arm_is_inconclusive_where_it_matters():
    accuracy = {"none": (0.9, 0.9), "batch": (0.7, 0.9), "layer": (0.9, 0.9)}
    found = {c.identifier: c for c in claims.claims(made_up(accuracy, dead=[("none", 64)]))}
    assert found["sizes-none"].reason.startswith("at 64 none does not train")
    for name, claim in found.items():
        expected = name in ("sizes-none",) or name.startswith("shrinks")
        assert (claim.verdict == "inconclusive") == expected, name


def test_a_run_leaves_results_figure_and_claims(toy, tmp_path, capsys):
    arguments = [*TOY, "--norms", "batch", "--debug", "--out", str(tmp_path)]
    assert frame.main(batch_size.EXPERIMENT, arguments) == 0
    (path,) = (tmp_path / "batch_size").iterdir()
    assert {"batch_size.png", "batch_size.pdf"} <= {child.name for child in path.iterdir()}
    measured = results.read(path)
    assert measured.arrays["train.loss"].shape == (1, 2, 1, 4)
    assert measured.arrays["test.accuracy"].shape == (1, 2, 1, 3)
    assert measured.arrays["line.losses"].shape == (1, 2, 1, 2, 1, 4)
    for name, values in measured.arrays.items():
        assert np.isfinite(values).all(), name
    sizes = measured.select("line.step_sizes", norm="batch", seed=0)[:, 0, 0]
    expected = 0.1 * np.array([[4], [16]]) / 32 * [0.5, 1, 2, 4]
    np.testing.assert_allclose(sizes, expected, rtol=1e-6)
    assert "batch, batch_size 4, seed 0: step 16/16" in capsys.readouterr().out
    summary = json.loads((path / "summary.json").read_text())
    assert [claim["identifier"] for claim in summary["claims"]] == ["sizes-batch"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--batch-sizes", "1", "16"], "--batch-size 1: the norm batch takes statistics over"),
        (["--batch-sizes", "16", "4"], "--batch-sizes 16 4: must be one or more, rising"),
        (["--batch-sizes", "0", "4"], "--batch-sizes 0 4: must be one or more, rising"),
        (["--batch-sizes", "6", "16"], "--batch-sizes 6 16: must be divisors of the largest, 16"),
        (["--batch-sizes", "16", "64"], "batch_size=64 must be from 1 to 50"),
        (["--batch-size", "8"], "--batch-size 8: give --batch-sizes 8"),
        (["--reference-batch", "0"], "--reference-batch 0: must be 1 or more"),
        (["--multiples", "1"], "--multiples 1: must be 2 or more above 0, rising"),
        (["--multiples", "0", "1"], "--multiples 0 1: must be 2 or more above 0, rising"),
        (["--microbatches", "3"], "--microbatches 3: must be 1 or more and divide"),
    ],
)
def test_a_wrong_call_gives_one_line_and_writes_nothing(toy, tmp_path, capsys, arguments, message):
    out = tmp_path / "runs"
    assert frame.main(batch_size.EXPERIMENT, [*TOY, *arguments, "--out", str(out)]) == 2
    captured = capsys.readouterr().err
    assert captured.startswith("error: ")
    assert message in captured
    assert captured.count("\n") == 1
    assert not out.exists()


def test_a_norm_that_does_not_fit_the_network_is_refused_at_once(tmp_path, capsys):
    arguments = ["--norms", "batch", "instance", "--out", str(tmp_path / "runs")]
    assert frame.main(batch_size.EXPERIMENT, arguments) == 2
    assert "holds one number only" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_presets_are_valid():
    for config in batch_size.PRESETS.values():
        config.validate()
    assert batch_size.PRESETS["paper"].batch_sizes == (2, 4, 8, 16, 32, 64, 128, 256)
