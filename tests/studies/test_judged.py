"""The claims of the studies on known numbers: what each quantity is, and what decides it."""

import numpy as np
import pytest
import synthetic
from synthetic import column, decided

from bnjax.judge import curves
from bnjax.studies.landscape import claims as landscape
from bnjax.studies.lp_norms import claims as lp_norms
from bnjax.studies.shift import claims as shift
from bnjax.studies.spectrum import claims as spectrum
from bnjax.studies.vgg_training import claims as training

S, N, U = "supported", "not supported", "inconclusive"
LINE = ("norm", "seed", "probe_step", "direction", "step_size")
SIZES = np.array([0.05, 0.1, 0.2, 0.4])


def a_line(rough=3.0, turn=1.4, cosine=0.2, left=0.5, seeds=1, norms=("none", "batch"), **options):
    """`none` is rougher by a factor; `turn`, `cosine` and `left` are those of the gradient."""
    factor = column([rough, *[1] * (len(norms) - 1)], 4)
    loss = np.geomspace(1.5, 0.1, synthetic.PROBES).reshape(1, 1, -1, 1)
    values = {
        "losses": loss[..., None] + factor * SIZES,
        "smoothness": 10 * factor * SIZES,
        "gradient_distances": turn * factor,
        "gradient_norms": left * factor,
        "cosines": cosine,
        "step_sizes": SIZES,
    }
    return synthetic.run(
        {f"line_{name}": (LINE, own) for name, own in values.items()}
        | {"line_loss": (LINE[:-1], loss), "line_gradient_norm": (LINE[:-1], factor[..., 0])},
        norms=norms,
        seeds=seeds,
        options=options,
        direction=["gradient"],
        step_size=SIZES,
    )


@pytest.mark.parametrize("seeds", [1, 4])
@pytest.mark.parametrize(("rough", "verdict"), [(3.0, S), (1 / 3, N), (1.0, U)])
def test_the_landscape_is_rougher_without(rough, verdict, seeds):
    found = decided(a_line(rough, seeds=seeds), landscape.CLAIMS)
    assert [found[f"fig4{x}-batch"].verdict for x in "abc"] == [verdict] * 3
    assert set(found) == {"fig4a-batch", "fig4b-batch", "fig4c-batch", "edge-none", "edge-batch"}


def test_the_same_numbers_are_told_of_a_run_and_of_the_publication():
    found = decided(a_line(3.0), landscape.CLAIMS)["fig4a-batch"]
    # The band is 0.35 wide, three times as much without.
    told = "largest / median of the last quarter: no normalisation {}, BatchNorm {}"
    assert found.measured.endswith(told.format("1.05 / 1.05", "0.35 / 0.35"))
    assert found.published == told.format("7.69 / 0.0901", "1.62 / 0.117")


@pytest.mark.parametrize(("early", "taken"), [(35, "over the run"), (34, "to step 1500")])
def test_a_median_of_the_first_steps_says_what_was_taken(early, taken, monkeypatch):
    monkeypatch.setattr(landscape, "EARLY", early)  # the last probe is at step 35
    found = decided(a_line(3.0), landscape.CLAIMS)["fig4c-batch"]
    head = "first / median {} / largest / median of the last quarter: "
    assert head.format(taken) in found.measured
    assert found.published.startswith(head.format("to step 1500"))


def test_a_penalty_in_the_probed_loss_silences_no_claim():
    made = a_line(3.0)
    for name in ("line_loss", "line_losses"):
        made.data[name] += 4.0  # above the loss of chance
    found = decided(made, landscape.CLAIMS)
    assert [found[f"fig4{x}-batch"].verdict for x in "abc"] == [S] * 3
    assert "minibatch, without any penalty" in found["fig4a-batch"].rule


@pytest.mark.parametrize(
    ("turn", "cosine", "left", "verdict", "reason"),
    [
        (2.0, -0.95, 1.0, S, "turns round"),
        (2.0, 0.5, 1.0, U, "neither"),
        (1.0, 0.0, 0.1, N, "vanishes"),
        (1.0, 0.5, 1.0, U, "neither"),  # of the same norm, turned by 60°
        (1.0, 0.3, 0.66, U, "neither"),
    ],
)
def test_edge_and_saturation_are_told_apart_by_what_is_left_of_the_gradient(
    turn, cosine, left, verdict, reason
):
    made = a_line(1.0, turn, cosine, left)
    found = decided(made, landscape.CLAIMS)["edge-batch"]
    assert found.verdict == verdict
    assert reason in found.reason
    adam = decided(a_line(1.0, turn, cosine, left, optimizer="adam"), landscape.CLAIMS)
    assert adam["edge-batch"].reason == "2/lr is the edge of plain SGD, not of adam"


def shifted(factor):
    """The shift of `batch` is `factor` that of `none`, in all layers but the first."""
    dims = ("norm", "lr", "seed", "probe_step", "layer")
    values = np.where(np.arange(3) > 0, column([1.0, factor], 4), 0.0)
    return synthetic.run(
        {"shift_relative_distances": (dims, values), "shift_cosines": (dims, 0.5)},
        lr=[0.1],
        layer=["conv1", "conv2", "output"],
        options={"layers": ["conv2"]},
    )


@pytest.mark.parametrize(("factor", "verdict"), [(3.0, S), (1.05, S), (0.5, N)])
def test_a_shift_that_is_not_smaller_supports_the_claim(factor, verdict):
    (found,) = decided(shifted(factor), shift.CLAIMS).values()
    assert (found.identifier, found.verdict) == ("fig3-batch-lr0.1", verdict)
    assert found.numbers[0].estimate == pytest.approx(factor)
    assert found.measured.endswith("Late cosine of conv2 0.50 BatchNorm, 0.50 no normalisation")


def a_spectrum(isolated=3.0, share=0.9, own=0.4, returned=2.0, sharpness=20.0, course=1.0):
    """λ1/λ3 of `batch` is 2 (running: `returned` times that), of `none` `isolated` as much.

    `share`, `own`: of the gradient in the top 3, of `none` and of `batch`.
    """
    inner = ("norm", "seed", "probe_step", "statistics")
    ratios = np.array([[2 * isolated] * 2, [2, 2 * returned]])[:, None, None, :, None]
    largest = sharpness * np.where(np.arange(3) == 2, 1 / ratios, 1.0)
    course = np.broadcast_to(course, synthetic.PROBES).reshape(1, 1, -1, 1, 1)
    loss = np.geomspace(1.5, 0.1, synthetic.PROBES).reshape(1, 1, -1, 1)
    return synthetic.run(
        {
            "spectrum_loss": (inner, loss),
            "spectrum_largest": ((*inner, "rank"), largest * course),
            "spectrum_gradient_fraction": ((*inner, "rank"), column([share, own], 4)),
            "spectrum_nodes": ((*inner, "vector", "node"), [0, 0, 0, sharpness]),
            "spectrum_weights": ((*inner, "vector", "node"), 0.25),
        },
        statistics=["batch", "running"],
        rank=[1, 2, 3],
        vector=[0],
        node=range(4),
    )


@pytest.mark.parametrize(
    ("numbers", "identifier", "verdict"),
    [
        ({"isolated": 3.0}, "outliers-batch", S),
        ({"isolated": 0.4}, "outliers-batch", N),
        ({"isolated": 1.0}, "outliers-batch", U),
        ({"share": 0.9}, "gradient-batch", S),
        ({"share": 0.3}, "gradient-batch", N),
        ({"share": 0.9, "own": 0.6}, "gradient-batch", U),
        ({"returned": 2.0}, "return-batch-running", S),
        ({"returned": 0.5}, "return-batch-running", N),
        ({"sharpness": 22.0}, "edge-none", S),
        ({"sharpness": 2.0}, "edge-none", U),
        ({"course": np.geomspace(1.4, 0.7, synthetic.PROBES)}, "edge-none", U),  # passes by only
    ],
)
def test_the_spectrum_decides(numbers, identifier, verdict):
    found = decided(a_spectrum(**numbers), spectrum.CLAIMS)
    assert found[identifier].verdict == verdict
    assert set(found) == {
        *("outliers-batch", "gradient-batch", "return-batch-running", "edge-none", "edge-batch"),
    }


def test_the_spread_is_that_of_the_density():
    # One node of four at λ1, the others at 0: a deviation of √3/4 λ1 in both arms.
    np.testing.assert_allclose(spectrum.spread(a_spectrum()), 4 / 3**0.5)
    told = decided(a_spectrum(), spectrum.CLAIMS)["outliers-batch"].measured
    assert "without normalisation 6, with BatchNorm (batch statistics) 2" in told


def trained(none, batch, *, norm="batch", other="none", seeds=1, lrs=None, **options):
    """Arms by (reaches the target at this step, last loss, test accuracy, training accuracy)."""
    arms = np.array([none, batch], dtype=float)  # [norm, lr, field]
    arms = arms if lrs else arms[:, None]
    steps = np.arange(synthetic.STEPS)
    reached = steps >= np.where(np.isfinite(arms[..., :1]), arms[..., :1], 10)
    top = np.where(np.isfinite(arms[..., :1]), 1.0, 0.8)
    lead = ("norm", *(["lr"] if lrs else []), "seed")

    def shape(values):
        return values[:, :, None] if lrs else values[:, 0][:, None]

    return synthetic.run(
        {
            "train_loss": ((*lead, "step"), shape(np.where(reached, arms[..., 1:2], 2.3))),
            "train_accuracy": ((*lead, "step"), shape(np.where(reached, top, 0.1))),
            "test_accuracy": ((*lead, "test_step"), shape(arms[..., 2:3])),
            "fit_accuracy": ((*lead, "probe_step"), shape(arms[..., 3:4])),
        },
        norms=(other, norm),
        seeds=seeds,
        options=options,
        test_step=[0, 20, 36, 40],
        **({"lr": lrs} if lrs else {}),
    )


GOOD = (10, 0.1, 0.9, 1.0)


@pytest.mark.parametrize(
    ("none", "batch", "identifier", "verdict"),
    [
        ((30, 0.1, 0.9, 1.0), GOOD, "faster-batch-none", S),
        ((3, 0.1, 0.9, 1.0), GOOD, "faster-batch-none", N),
        (GOOD, GOOD, "faster-batch-none", U),
        ((np.inf, 0.1, 0.9, 1.0), GOOD, "faster-batch-none", S),
        (GOOD, (10, 0.1, 0.95, 1.0), "accuracy-batch-none", S),
        (GOOD, (10, 0.1, 0.91, 1.0), "accuracy-batch-none", U),
        (GOOD, (10, 0.1, 0.85, 1.0), "gap-batch-none", N),
        (GOOD, (10, 0.1, 0.95, 1.0), "gap-batch-none", S),
        ((10, 0.1, 0.85, 0.9), (10, 0.1, 0.95, 1.0), "gap-batch-none", U),
    ],
)
def test_training_curves_decide(none, batch, identifier, verdict):
    assert decided(trained(none, batch), training.CLAIMS)[identifier].verdict == verdict


@pytest.mark.parametrize(
    ("l1", "accurate", "fast"),
    [
        (GOOD, S, S),
        ((30, 0.1, 0.8, 1.0), N, N),
        ((12, 0.1, 0.87, 1.0), U, U),
    ],
)
def test_an_lp_norm_does_as_well_as_batchnorm_within_a_margin(l1, accurate, fast):
    found = decided(trained(GOOD, l1, norm="l1", other="batch"), training.CLAIMS)
    assert {name: own.verdict for name, own in found.items()} == {
        "as-fast-l1-batch": fast,
        "as-accurate-l1-batch": accurate,
    }


def test_a_regression_is_decided_by_its_loss():
    options = {"model": "dln", "target_loss": 1.5}
    made = trained((10, 1.0, 0, 0), (10, 0.5, 0, 0), **options)
    assert decided(made, training.CLAIMS)["lower-loss-batch-none"].verdict == S
    made = trained((10, 0.5, 0, 0), (10, 0.1, 0, 0), norm="l1", other="batch", **options)
    found = {name: own.verdict for name, own in decided(made, training.CLAIMS).items()}
    assert found == {"as-fast-l1-batch": S, "as-low-l1-batch": S, "lower-loss-l1-batch": S}


DEAD = (10, 2.3, 0.1, 0.1)


@pytest.mark.parametrize(
    ("none", "batch", "verdict", "reason"),
    [
        ((GOOD, DEAD), (GOOD, GOOD), S, "only BatchNorm trains at lr 0.5"),
        ((GOOD, GOOD), (GOOD, DEAD), N, "only no normalisation trains at lr 0.5"),
        ((GOOD, DEAD), (DEAD, GOOD), U, "each trains"),
        ((GOOD, DEAD), (GOOD, DEAD), U, "both train at the same"),
    ],
)
def test_learning_rates_at_which_only_one_arm_trains(none, batch, verdict, reason):
    found = decided(trained(none, batch, lrs=[0.1, 0.5]), training.CLAIMS)
    assert found["learning-rates-batch"].verdict == verdict
    assert found["learning-rates-batch"].reason.startswith(reason)
    both_dead = none[1] == batch[1] == DEAD
    assert ("lr0.5" in found) == both_dead
    if both_dead:
        assert found["lr0.5"].verdict == N
        assert found["faster-batch-none-lr0.5"].verdict == U


def test_one_learning_rate_decides_where_one_arm_trains():
    found = decided(trained(DEAD, GOOD), training.CLAIMS)["learning-rates-batch"]
    assert (found.verdict, found.reason) == (S, "only BatchNorm trains at lr 0.1")
    assert "learning-rates-batch" not in decided(trained(DEAD, GOOD), lp_norms.CLAIMS)


def test_curves_are_smoothed_by_the_median_of_the_last_values():
    values = np.random.default_rng(0).normal(size=(2, 30))
    values[1, 20:22] = np.nan
    slow = [
        [
            np.nan if np.isnan(row[i]) else np.nanmedian(row[max(0, i - 4) : i + 1])
            for i in range(30)
        ]
        for row in values
    ]
    np.testing.assert_array_equal(curves.smooth(values, 5), slow)


def test_steps_and_ends_are_those_of_the_curves():
    made = trained((30, 0.1, 0.9, 1.0), GOOD)
    # The jump at step 10 outweighs the median of three at step 11, the 12th minibatch.
    assert curves.steps_to_target(made).values.tolist() == [[32], [12]]
    made.data["test_accuracy"][1, 0] = [0.0, 0.1, 0.7, 0.8]
    assert float(curves.test_accuracy(made)[1, 0]) == pytest.approx(0.75)
