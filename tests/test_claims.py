"""Claims: intervals, verdicts, and dead arms, on results made by hand."""

import numpy as np
import pytest
import scipy.stats

from bnjax.frame.results import Results
from bnjax.judge import decide_ratio, interval, pairs
from bnjax.studies.landscape import claims as landscape

PROBES, STEPS = 8, 40
STEP_SIZES = np.array([0.05, 0.1, 0.2, 0.4])


def made_up(rough=3.0, seeds=1, train_loss=0.1, finite=1.0, turn=None, lr=0.1):
    """Results in which `none` is rougher than `batch` by a factor, at every step and loss."""
    shape = (2, seeds, PROBES, 1, 4)
    factor = np.array([rough, 1.0]).reshape(2, 1, 1, 1, 1)
    centre = np.broadcast_to(np.geomspace(1.5, 0.1, PROBES).reshape(1, 1, -1, 1), shape[:-1])
    wiggle = 1 + 0.01 * np.arange(seeds).reshape(1, -1, 1, 1, 1)
    grid = np.broadcast_to(factor * wiggle * STEP_SIZES, shape)
    relative, cosine = (1.4, 0.2) if turn is None else turn
    arrays = {
        "line.losses": centre[..., None] + grid,
        "line.gradient_distances": np.full(shape, relative) * factor,
        "line.smoothness": grid * 10,
        "line.cosines": np.full(shape, cosine),
        "line.loss": centre,
        "line.gradient_norm": np.broadcast_to(factor[..., 0], shape[:-1]),
        "train.loss": np.full((2, seeds, STEPS), train_loss),
        "train.finite": np.full((2, seeds, STEPS), finite),
    }
    inner = ("norm", "seed", "probe_step", "direction")
    dims = {
        name: {5: (*inner, "step_size"), 4: inner, 3: ("norm", "seed", "step")}[array.ndim]
        for name, array in arrays.items()
    }
    axes = {
        "norm": np.array(["none", "batch"]),
        "seed": np.arange(seeds),
        "probe_step": np.arange(0, STEPS, STEPS // PROBES),
        "direction": np.array(["gradient"]),
        "step_size": STEP_SIZES,
    }
    return Results(
        arrays,
        dims,
        axes,
        {"objective": "cross_entropy", "lr": lr, "model": "vgg11", "optimizer": "sgd"},
        {"chance_loss": np.log(10)},
    )


def verdicts(results):
    return {claim.identifier: claim.verdict for claim in landscape.claims(results)}


COMPARISONS = ("fig4a-batch", "fig4b-batch", "fig4c-batch")


@pytest.mark.parametrize("seeds", [1, 4])
@pytest.mark.parametrize(
    ("rough", "verdict"), [(3.0, "supported"), (1 / 3, "not supported"), (1.0, "inconclusive")]
)
def test_the_ratio_decides(rough, verdict, seeds):
    decided = verdicts(made_up(rough=rough, seeds=seeds))
    assert [decided[name] for name in COMPARISONS] == [verdict] * 3


def test_a_claim_tells_the_numbers_that_were_published_of_the_same_quantity():
    claims = {claim.identifier: claim for claim in landscape.claims(made_up(rough=3.0))}
    # β is 10 η of an arm's factor: at most 4 for batch, 12 for none, at every probe.
    smoothness = claims["fig4c-batch"]
    assert "first / median to step 1500 / largest: none 12 / 12 / 12, batch 4 / 4 / 4" in (
        smoothness.measured
    )
    assert smoothness.published.endswith("none 11.5 / 20.5 / 45.6, batch 25.3 / 17.6 / 25.3")
    linear = made_up()
    linear.config["model"] = "dln"
    claims = {claim.identifier: claim for claim in landscape.claims(linear)}
    assert claims["fig4c-batch"].published.endswith(
        "none 1.2e+15 / 2.2e+06, batch 8.1e+06 / 2.02e+06"
    )
    assert claims["fig4a-batch"].published == "curves without numbers"


def test_there_is_no_edge_at_2_over_lr_for_another_optimiser():
    results = made_up(turn=(2.0, -1.0))
    assert verdicts(results)["edge-batch"] == "supported"
    results.config["optimizer"] = "adam"
    claims = {claim.identifier: claim for claim in landscape.claims(results)}
    assert claims["edge-batch"].verdict == "inconclusive"
    assert claims["edge-batch"].reason == "2/lr is the edge of plain SGD, not of adam"


def test_a_dead_arm_makes_every_comparison_inconclusive_and_says_why():
    for claim in landscape.claims(made_up(train_loss=2.3)):
        assert claim.verdict == "inconclusive"
        assert "does not train: its loss ends at 2.300, chance is 2.303" in claim.reason


def test_a_diverged_arm_makes_every_comparison_inconclusive_and_says_when():
    results = made_up()
    results.arrays["train.finite"][0, 0, 7] = 0
    claims = {claim.identifier: claim for claim in landscape.claims(results)}
    assert claims["fig4a-batch"].verdict == "inconclusive"
    assert claims["fig4a-batch"].reason == "none diverged at step 7"


def test_no_pair_of_equal_loss_is_inconclusive():
    results = made_up()
    results.arrays["line.loss"] = results.arrays["line.loss"] * np.array([1, 1e-3]).reshape(
        2, 1, 1, 1
    )
    claims = {claim.identifier: claim for claim in landscape.claims(results)}
    assert claims["fig4b-batch"].verdict == "inconclusive"
    assert "fewer than 3 pairs of steps at equal loss" in claims["fig4b-batch"].reason


@pytest.mark.parametrize(
    ("turn", "verdict"),
    [((2.0, -0.95), "supported"), ((1.0, 0.0), "not supported"), ((2.0, 0.5), "inconclusive")],
)
def test_edge_and_saturation_are_told_apart(turn, verdict):
    assert verdicts(made_up(rough=1.0, turn=turn))["edge-batch"] == verdict


def test_interval_is_the_t_interval_of_the_logarithms():
    ratios = [1.5, 2.0, 2.5]
    logs = np.log(ratios)
    low, high = scipy.stats.t.interval(0.95, 2, logs.mean(), scipy.stats.sem(logs))
    np.testing.assert_allclose(interval(ratios)[:3], np.exp([logs.mean(), low, high]), rtol=1e-12)
    assert decide_ratio(interval([0.5, 2.5])) == "inconclusive"
    assert decide_ratio(interval([1.05])) == "inconclusive"


@pytest.mark.parametrize(
    ("ratios", "verdict"),
    [
        ([[1.0], [3.0]], "supported"),
        ([[0.95], [0.97]], "inconclusive"),
        ([[0.21], [1.12]], "inconclusive"),
        ([[0.86], [0.80]], "not supported"),
        ([[0.3, 1.6]], "inconclusive"),
        ([[0.80, 0.90, 0.97]], "inconclusive"),
        ([[0.98, 1.0, 1.02]], "supported"),
        ([[0.50, 0.51, 0.49]], "not supported"),
        ([], "inconclusive"),
    ],
)
def test_that_nothing_is_reduced_needs_evidence(ratios, verdict):
    comparisons = [pairs.Comparison("x", interval(own)) for own in ratios]
    found, reasons = pairs.not_below(comparisons, [])
    assert found == verdict
    assert bool(reasons) == (verdict == "inconclusive")
