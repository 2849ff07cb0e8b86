"""Every kind of claim on known numbers: rule × data × verdict."""

import re

import numpy as np
import pytest
import scipy.stats
import synthetic
from synthetic import column, decided

from bnjax.judge import compare, kit, verdict
from bnjax.judge.kit import (
    EQUAL_STEP,
    SAME_STEP,
    Above,
    AtMost,
    Condition,
    Difference,
    Level,
    Near,
    NotBelow,
    Quantity,
    Ratio,
    Scale,
    Share,
    Within,
)

WORDS = {"identifier": "it-{norm}", "says": "{norm} does it", "source": "a paper"}
STEPWISE = ("norm", "seed", "probe_step")
ROUGH = Quantity("the roughness", lambda run: run["rough"])
FINAL = Quantity("the final accuracy", lambda run: run["final"], "lower", "higher")
S, N, U = "supported", "not supported", "inconclusive"


def rough(*factors, seeds=1, **more):
    """`none` is rougher than `batch` by a factor in each seed, at every step and loss."""
    ratio = np.array([factors, np.ones(len(factors))])[:, :, None]
    return synthetic.run({"rough": (STEPWISE, ratio)}, seeds=len(factors), **more)


def ends(none, batch):
    """One value a run, for each seed of both arms."""
    return synthetic.run({"final": (("norm", "seed"), [none, batch])}, seeds=len(none))


def one(made, claim):
    """The only verdict, which stands for `batch`."""
    (found,) = kit.verdicts(made, [claim])
    return found


ABOVE = Ratio(**WORDS, quantity=ROUGH)
NOT_REDUCED = Ratio(**WORDS, quantity=ROUGH, above="{norm}", below="none", rule=NotBelow())
MARGINAL = Ratio(**WORDS, quantity=ROUGH, rule=Within(1 / 2, 2.0))
SOONER = Ratio(**WORDS, quantity=FINAL, at=())
BETTER = Difference(**WORDS, quantity=FINAL, above="{norm}", below="none")
AS_GOOD = Difference(**WORDS, quantity=FINAL, above="{norm}", below="none", rule=Above(-0.03))
SAME = Difference(**WORDS, quantity=FINAL, rule=Within(-0.03, 0.03))
PATH = Level(**WORDS, quantity=FINAL, rule=Above(0.4), scale=kit.RATIO, only=("batch",))
THIRD = Level(**WORDS, quantity=FINAL, rule=Within(0.25, 0.5), only=("batch",))
HOLDS = Share(**WORDS, quantity=FINAL, at_least=0.95, only=("batch",))
EXACT = AtMost(**WORDS, quantity=FINAL, limit=lambda run: 1e-3, only=("batch",))

TABLE = [
    (ABOVE, rough(3), S),
    (ABOVE, rough(1 / 3), N),
    (ABOVE, rough(1.05), U),
    (ABOVE, rough(3, 4, 5), S),
    (ABOVE, rough(0.3, 0.4, 0.5), N),
    (ABOVE, rough(0.5, 3, 1), U),
    (ABOVE, rough(1.049, 1.05, 1.051), U),  # surely above 1, and by too little to count
    (ABOVE, rough(1.149, 1.15, 1.151), S),
    (NOT_REDUCED, rough(1 / 3), S),
    (NOT_REDUCED, rough(1 / 0.95), U),
    (NOT_REDUCED, rough(1 / 0.8), N),
    (NOT_REDUCED, rough(0.98, 1.0, 1.02), S),
    (NOT_REDUCED, rough(1 / 0.80, 1 / 0.90, 1 / 0.97), U),
    (NOT_REDUCED, rough(1.98, 2.0, 2.02), N),
    (NOT_REDUCED, rough(1.04, 1.05, 1.06), S),  # within a tenth, for sure
    (MARGINAL, rough(1.5), S),
    (MARGINAL, rough(1.9), U),
    (MARGINAL, rough(3), N),
    (SOONER, ends([60], [20]), S),
    (SOONER, ends([20], [60]), N),
    (SOONER, ends([np.inf], [20]), S),
    (SOONER, ends([20], [np.inf]), N),
    (SOONER, ends([np.inf], [38]), U),
    (SOONER, ends([np.inf], [60]), U),  # at least 40 / 60: a bound does not decide
    (SOONER, ends([np.inf], [np.inf]), U),
    (BETTER, ends([0.90], [0.95]), S),
    (BETTER, ends([0.90], [0.91]), U),
    (BETTER, ends([0.90], [0.85]), N),
    (BETTER, ends([0.90, 0.80], [0.9101, 0.81]), U),
    (BETTER, ends([0.90, 0.80], [0.9301, 0.83]), S),
    (BETTER, ends([0.90, 0.91], [np.nan, 0.9]), U),
    (AS_GOOD, ends([0.90], [0.90]), S),
    (AS_GOOD, ends([0.90], [0.88]), U),
    (AS_GOOD, ends([0.90], [0.84]), N),
    (SAME, ends([0.90], [0.905]), S),
    (SAME, ends([0.90], [0.92]), U),
    (SAME, ends([0.90], [0.80]), N),
    (PATH, ends([0.0], [0.6]), S),
    (PATH, ends([0.0], [0.42]), U),
    (PATH, ends([0.0], [0.2]), N),
    (THIRD, ends([0.0], [0.35]), S),
    (THIRD, ends([0.0], [0.26]), U),
    (THIRD, ends([0.0], [0.6]), N),
    (HOLDS, ends([0, 0], [0.99, 0.95]), S),
    (HOLDS, ends([0, 0], [0.99, 0.90]), U),
    (HOLDS, ends([0, 0], [0.80, 0.90]), N),
    (HOLDS, ends([0, 0], [np.nan, np.nan]), U),
    (EXACT, ends([0, 0], [1e-4, 1e-3]), S),
    (EXACT, ends([0, 0], [1e-4, 2e-3]), N),
]


@pytest.mark.parametrize(("claim", "made", "expected"), TABLE)
def test_the_numbers_decide(claim, made, expected):
    found = one(made, claim)
    assert found.verdict == expected
    assert bool(found.reason) == (expected == U) or "outside" in found.reason


@pytest.mark.parametrize("claim", dict.fromkeys(row[0] for row in TABLE))
def test_a_dead_or_diverged_arm_makes_every_claim_inconclusive_and_says_why(claim):
    for spoil, words in ((synthetic.dead, "does not train"), (synthetic.diverged, "at step 7")):
        made = synthetic.run(
            {"rough": (STEPWISE, column([3, 1], 2)), "final": (("norm", "seed"), 0.5)}
        )
        found = one(spoil(made, "batch"), claim)
        assert found.verdict == U
        assert found.reason.startswith("BatchNorm")
        assert words in found.reason


def test_of_several_seeds_the_reason_names_all_that_diverged():
    made = synthetic.run({"rough": (STEPWISE, 1.0), "final": (("norm", "seed"), 0.5)}, seeds=3)
    made.data["train_finite"].loc[{"norm": "batch", "seed": 1, "step": 7}] = 0
    said = "BatchNorm diverged at step 7 (seed 1)"
    assert one(made, TABLE[0][0]).reason == said
    made.data["train_finite"].loc[{"norm": "batch", "seed": 2, "step": 5}] = 0
    assert one(made, TABLE[0][0]).reason == f"{said}, step 5 (seed 2)"


@pytest.mark.parametrize("claim", dict.fromkeys(row[0] for row in TABLE))
def test_the_rule_names_every_threshold_that_decides(claim):
    made = synthetic.run({"rough": (STEPWISE, 1.0), "final": (("norm", "seed"), 0.5)}, seeds=2)
    rule = one(made, claim).rule
    numbers = {float(text) for text in re.findall(r"\d+\.?\d*", rule)}
    assert compare.TRAINED in numbers
    if isinstance(claim, Ratio):
        assert 100 * verdict.CONFIDENCE in numbers
        scaled = {abs(claim.scale.factor * limit) for limit in claim.rule if limit is not None}
        assert scaled <= numbers
        assert claim.scale.factor * claim.scale.minimal in numbers
        if claim.at:
            assert {compare.EQUAL_LOSS_FACTOR, compare.MINIMUM_PAIRS} <= numbers
    elif isinstance(claim, Share):
        assert 100 * claim.at_least in numbers
    elif isinstance(claim, AtMost):
        assert 0.001 in numbers


def test_the_measured_sentence_is_plain_and_has_the_interval():
    found = one(rough(28, 35, 44), ABOVE)
    assert found.sentence == "BatchNorm does it"
    assert found.measured == (
        "With BatchNorm the roughness is 35.1 times [20, 61.5] smaller at equal step, 35.1 times "
        "[20, 61.5] at equal loss than without normalisation (3 seeds)"
    )
    number = found.numbers[0]
    assert (number.name, number.n, number.threshold) == ("at equal step", 3, 1.0)
    assert "(one seed)" in one(rough(3), ABOVE).measured
    told = one(ends([np.inf], [20]), SOONER).measured
    assert told == (
        "With BatchNorm the final accuracy is at least 2 times lower than without normalisation "
        "(no normalisation inf, BatchNorm 20; one seed)"
    )
    points = one(ends([0.9, 0.9], [0.94, 0.96]), BETTER).measured
    assert points.startswith("With BatchNorm the final accuracy is 5 points [-7.71, 17.7] higher")


def test_the_interval_is_students():
    values = [1.5, 2.0, 2.5]
    logs = np.log(values)
    low, high = scipy.stats.t.interval(0.95, 2, logs.mean(), scipy.stats.sem(logs))
    found = kit.RATIO.average("", values)
    np.testing.assert_allclose(found[1:4], np.exp([logs.mean(), low, high]), rtol=1e-12)
    low, high = scipy.stats.t.interval(0.95, 2, 2.0, scipy.stats.sem(values))
    np.testing.assert_allclose(kit.SHARE.average("", values)[1:4], [2, low, high], rtol=1e-12)


def test_too_few_pairs_are_inconclusive_and_say_so():
    made = rough(3)
    made.data["train_loss"].loc[{"norm": "batch"}] *= 1e-3
    found = one(made, ABOVE)
    assert found.verdict == U
    assert found.reason == "fewer than 3 pairs of steps at equal loss"


def test_a_comparison_must_hold_in_each_place_of_an_axis():
    dims = (*STEPWISE, "layer")
    values = np.array([[3.0, 0.5], [1.0, 1.0]])[:, None, None, :]
    made = synthetic.run({"rough": (dims, values)}, layer=["a", "b"])
    found = one(made, Ratio(**WORDS, quantity=ROUGH, each="layer"))
    assert found.verdict == U
    assert found.reason == (
        "above 1 a at equal step, a at equal loss, but below b at equal step, b at equal loss"
    )
    assert "at each layer" in found.rule
    assert "steps and layers" in one(made, ABOVE).rule


def test_arms_may_lie_along_another_axis_within_each_normaliser():
    dims = (*STEPWISE, "kind")
    values = np.array([[3.0, 1.0], [0.2, 1.0]])[:, None, None, :]
    made = synthetic.run({"rough": (dims, values)}, kind=["scale", "kernel"])
    claim = Ratio(
        **WORDS,
        quantity=ROUGH,
        axis="kind",
        above="scale",
        below="kernel",
        arm="among {arm} parameters",
        at=(SAME_STEP,),
    )
    found = decided(synthetic.dead(made, "batch"), [claim])
    assert found["it-none"].verdict == S
    assert found["it-batch"].reason.startswith("BatchNorm does not train")
    assert found["it-none"].measured == (
        "Among scale parameters the roughness is 3 times larger at the same step than among "
        "kernel parameters (one seed)"
    )


def test_which_normalisers_a_claim_is_about():
    made = synthetic.run({"rough": (STEPWISE, 1.0)}, norms=("none", "batch", "l1", "unitize"))

    def names(**fields):
        claim = Ratio(**{**WORDS, "quantity": ROUGH, "at": (EQUAL_STEP,), **fields})
        return [*decided(made, [claim])]

    assert names() == ["it-batch", "it-l1", "it-unitize"]
    assert names(only=("l1",)) == ["it-l1"]
    assert names(but=("unitize",)) == ["it-batch", "it-l1"]
    assert names(below="batch", above="l1", identifier="it") == ["it"]
    assert names(below="rms", above="l1", identifier="it") == []
    assert names(above="rms") == []
    assert names(when=lambda run, norm: norm == "batch") == ["it-batch"]
    made = synthetic.run(
        {"rough": ((*STEPWISE, "kind"), 1.0), "final": (("norm", "seed"), 0.5)}, kind=["a", "b"]
    )
    assert names(axis="kind", above="a", below="b") == ["it-none", "it-batch"]
    assert names(axis="kind", above="a", below="b", only=("rms",)) == []
    missing = Level(**WORDS, quantity=FINAL, rule=Above(0.4), only=("rms",))
    assert decided(made, [missing]) == {}


def test_conditions_bar_the_verdicts_that_they_name():
    never = Condition("the moon is full", lambda run, arms: f"full over {arms[1]}", of=(S,))
    claim = Ratio(**WORDS, quantity=ROUGH, conditions=(never,))
    assert (one(rough(3), claim).verdict, one(rough(3), claim).reason) == (U, "full over batch")
    assert one(rough(1 / 3), claim).verdict == N
    assert one(rough(3), claim).rule.endswith("; inconclusive if the moon is full")


def test_near_holds_at_every_late_probe():
    claim = Near(**WORDS, quantity=ROUGH, target=1.0, within=0.25, only=("batch",))
    assert one(rough(1), claim).verdict == S
    made = rough(1)
    made.data["rough"][1, 0, -1] = 0.7
    found = one(made, claim)
    assert found.verdict == U
    assert found.reason == "it is around 1, and not within 0.25 at every late probe"


def test_each_learning_rate_is_judged_by_itself():
    dims = ("norm", "lr", "seed", "probe_step")
    values = np.array([[3.0, 0.2], [1.0, 1.0]])[:, :, None, None]
    made = synthetic.run({"rough": (dims, values)}, lr=[0.1, 0.5])

    @kit.whole_run
    def together(run):
        return one(run.sel(lr=0.1), ABOVE)._replace(identifier="whole")

    found = decided(made, [ABOVE, together])
    assert {name: own.verdict for name, own in found.items()} == {
        "it-batch-lr0.1": S,
        "it-batch-lr0.5": N,
        "whole": S,
    }
    assert found["it-batch-lr0.5"].sentence == "BatchNorm does it (lr 0.5)"


def test_a_scale_of_its_own_units():
    claim = Difference(**WORDS, quantity=FINAL, above="{norm}", below="none", scale=Scale(0.1))
    assert [one(ends([1.0], [x]), claim).verdict for x in (1.2, 1.05, 0.8)] == [S, U, N]


@pytest.mark.parametrize("pairing", [kit.EQUAL_STEP, kit.EQUAL_LOSS])
def test_swapped_arms_have_the_reciprocal_ratio(pairing):
    generator = np.random.default_rng(0)
    for _ in range(20):
        losses = np.geomspace(2, 0.05, synthetic.STEPS) ** generator.uniform(0.5, 1.5, (2, 3, 1))
        losses = losses * np.exp(0.3 * generator.normal(size=(2, 3, synthetic.STEPS)))
        values = np.exp(generator.normal(size=(2, 3, synthetic.PROBES)))
        dims = ("norm", "seed", "step")
        made = synthetic.run({"train_loss": (dims, losses), "rough": (STEPWISE, values)}, seeds=3)
        both = [
            compare.seed_ratios(made, made["rough"], arms, pairing)
            for arms in (("none", "batch"), ("batch", "none"))
        ]
        np.testing.assert_allclose(both[0], 1 / np.array(both[1]), rtol=1e-12)
        assert np.isfinite(both[0]).any()


def test_every_pair_of_equal_loss_is_counted_once():
    left, right = np.array([2.0, 1.0, 0.5, 0.1]), np.array([1.05, 1.0, 0.98, 0.55, 0.3])
    rows = compare.equal_loss(left, right, synthetic.CHANCE)
    assert [row.tolist() for row in rows] == [[1, 2], [1, 3]]
    same = np.full(5, 0.5)  # of equal losses the nearest in step
    assert [row.tolist() for row in compare.equal_loss(same, same, 2.3)] == [[*range(5)]] * 2


def test_a_claim_on_an_arm_that_did_not_run_is_not_made():
    for claim in (HOLDS, Ratio(**WORDS, quantity=FINAL, at=(), axis="seed", only=("batch",))):
        assert kit.verdicts(synthetic.run({}, norms=["none", "layer"]), [claim]) == []
