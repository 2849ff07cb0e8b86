"""Normalisers against the batch size: steps and rates of each arm, claims, figure, refusals."""

import numpy as np
import pytest
import synthetic
from synthetic import N, S, U, decided, refusal

from bnjax.frame import records
from bnjax.studies.batch_size import STUDY, Options, claims, figure

ARMS = ("norm", "batch_size", "seed")


def record(steps, finite_until):
    """A record of one arm whose loss is the step, until it ends."""
    loss = np.arange(steps, dtype=np.float32)
    finite = np.ones(steps, np.float32)
    loss[finite_until + 1 :] = finite[finite_until + 1 :] = np.nan
    finite[finite_until : finite_until + 1] = 0
    own = {"train_loss": loss, "train_finite": finite, "line_losses": np.ones((2, 3))}
    return {**own, "complete": np.ones(())}


def test_arms_of_more_steps_are_stacked_as_means_over_equal_blocks():
    stacked = records.stack([record(3, 99), record(12, 99), record(12, 6)], [3])
    np.testing.assert_array_equal(stacked["train_loss"][0], [0, 1, 2])
    np.testing.assert_array_equal(stacked["train_loss"][1], [1.5, 5.5, 9.5])
    np.testing.assert_array_equal(stacked["train_finite"][1], [1, 1, 1])
    # It ends at step 6: the second block is not finite, the third was not taken.
    np.testing.assert_array_equal(stacked["train_finite"][2], [1, 0, np.nan])
    np.testing.assert_array_equal(stacked["train_loss"][2], [1.5, np.nan, np.nan])
    assert stacked["line_losses"].shape == (3, 2, 3)


@pytest.mark.parametrize(("scaling", "rates"), [("linear", (0.05, 0.4)), ("constant", (0.2, 0.2))])
def test_every_size_sees_the_same_examples(scaling, rates):
    options = Options(
        batch_sizes=(8, 64), lr=0.2, steps=30, probe_every=5, evaluate_every=10, scaling=scaling
    )
    for size, rate in zip((8, 64), rates, strict=True):
        own = options.settings({"norm": "batch", "batch_size": size})
        counts = (own["steps"], own["probe_every"], own["evaluate_every"])
        assert [own["batch_size"] * count for count in counts] == [30 * 64, 5 * 64, 10 * 64]
        np.testing.assert_allclose(own["lr"], rate)


def a_run(accuracy, rough=None, sizes=(2, 64), dead=(), seeds=1):
    """Test accuracies of each arm by size; `rough`: of `none`'s landscape by size, others' is 1."""
    norms = [*accuracy]
    loss = np.geomspace(1.5, 0.1, synthetic.STEPS) * np.ones((len(norms), len(sizes), 1, 1))
    for norm, size in dead:
        loss[norms.index(norm), sizes.index(size)] = 2.3
    width = np.ones((len(norms), len(sizes), *[1] * 4))
    width[0] *= np.reshape(rough or [1] * len(sizes), (-1, *[1] * 4))
    final = np.array([*accuracy.values()])[..., None, None] + 0.001 * np.arange(seeds)[:, None]
    lines = {"losses": width * [0.0, 1.0], "gradient_distances": width, "smoothness": width}
    line = (*ARMS, "probe_step", "direction", "step_size")
    return synthetic.run(
        {
            "train_loss": ((*ARMS, "step"), loss),
            "train_finite": ((*ARMS, "step"), 1),
            "test_accuracy": ((*ARMS, "test_step"), final),
            **{f"line_{name}": (line, values) for name, values in lines.items()},
        },
        norms=norms,
        seeds=seeds,
        batch_size=sizes,
        test_step=[0, synthetic.STEPS],
        direction=["gradient"],
        step_size=[0.5, 4.0],
    )


def verdicts(made):
    return {name: found.verdict for name, found in decided(made, claims.CLAIMS).items()}


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize(
    ("batch", "group", "expected"),
    [
        ((0.7, 0.9), (0.9, 0.9), (S, S, S)),
        ((0.9, 0.7), (0.7, 0.9), (N, N, N)),
        ((0.9, 0.9), (0.9, 0.71), (U, N, U)),  # GroupNorm is not flat if it gains, either
    ],
)
def test_a_loss_at_the_small_batch_is_the_published_result_for_batch_alone(
    batch, group, expected, seeds
):
    names = ("sizes-batch", "sizes-group", "ahead-group-2")
    made = a_run({"batch": batch, "group": group}, seeds=seeds)
    assert verdicts(made) == dict(zip(names, expected, strict=True))
    assert {*verdicts(a_run({"group": group}))} == {"sizes-group"}


EVEN = {"none": (0.9,) * 3, "batch": (0.9,) * 3}


@pytest.mark.parametrize(
    ("rough", "verdict"), [((1, 2, 4), S), ((4, 2, 1), N), ((2, 9, 2), U), ((np.nan, 2, 2), U)]
)
def test_the_gain_of_batchnorm_in_the_landscape_is_compared_between_sizes(rough, verdict):
    found = decided(a_run(EVEN, rough, sizes=(2, 8, 64)), claims.CLAIMS)
    for name in ("shrinks-fig4a", "shrinks-fig4b", "shrinks-fig4c"):
        assert found[name].verdict == verdict
        assert found[name].measured.endswith(f"At the sizes between: at 8 {rough[1]}")
        assert ("too few probed steps" in found[name].reason) == bool(np.isnan(rough[0]))


def test_a_dead_arm_is_inconclusive_where_it_matters():
    accuracy = {"none": (0.95, 0.95), "batch": (0.7, 0.9), "layer": (0.9, 0.9)}
    found = decided(a_run(accuracy, dead=[("none", 64)]), claims.CLAIMS)
    assert found["sizes-none"].reason.startswith("no normalisation at a batch of 64 does not train")
    assert found["shrinks-fig4a"].measured == "At a batch of 64 nan, at a batch of 2 1"
    for name, own in found.items():
        expected = name == "sizes-none" or name.startswith("shrinks")
        assert (own.verdict == U) == expected, name
        assert ("at a batch of 64 no normalisation" in own.reason) == name.startswith("shrinks")


def test_the_figure_shows_medians_ranges_and_crosses():
    made = a_run({"none": (0.9, 0.8), "batch": (0.7, 0.9)}, (3, 5), dead=[("none", 64)], seeds=3)
    made.options.update(STUDY.preset("quick").__dict__)
    made.facts["dataset"] = "made up"
    drawing = figure.batch_size(made, {})
    none, crosses, *_ = drawing.panels[0].table
    np.testing.assert_allclose(none.columns["y"], [90.1, 80.1])
    np.testing.assert_allclose(none.columns["low"], [90.0, 80.0])
    np.testing.assert_allclose(none.columns["high"], [90.2, 80.2])
    assert crosses.name == "no normalisation, does not train"
    assert crosses.columns["x"].tolist() == [64]
    assert drawing.panels[3].table[0].columns["y"].tolist() == [3, 5]
    assert drawing.caption.endswith("×: does not train")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--batch-sizes", "1", "16"], "--batch-size 1: the norm batch takes statistics over"),
        (["--batch-sizes", "16", "4"], "--batch-sizes 16 4: must be one or more, rising"),
        (["--batch-sizes", "0", "4"], "--batch-sizes 0 4: must be one or more, rising"),
        (["--batch-sizes", "6", "16"], "--batch-sizes 6 16: must be divisors of the largest, 16"),
        (["--batch-sizes", "16", "64"], "batch_size=64 must be from 1 to 50"),
        (["--reference-batch", "0"], "--reference-batch 0: must be 1 or more"),
        (["--multiples", "1"], "--multiples 1: must be 2 or more above 0, rising"),
        (["--microbatches", "3"], "--microbatches 3: must be 1 or more and divide"),
    ],
)
def test_a_wrong_call_gives_one_line_and_writes_nothing(toy, tmp_path, capsys, arguments, message):
    toy_sizes = ["--norms", "none", "batch", "--batch-sizes", "4", "16", "--steps", "4"]
    assert message in refusal(STUDY, [*toy_sizes, *arguments], tmp_path / "runs", capsys)


def test_a_norm_that_does_not_fit_the_network_is_refused_at_once(tmp_path, capsys):
    error = refusal(STUDY, ["--norms", "batch", "instance"], tmp_path / "runs", capsys)
    assert "holds one number only" in error
