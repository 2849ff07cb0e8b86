"""The claims on training curves of Santurkar et al. 2018 (Fig. 1a, b and 5).

How well an arm ends, how soon it gets to a target, and at which learning rates it gets anywhere.
A comparison with an arm that diverged or never left chance is inconclusive; that one arm trains
where another does not is a claim of its own.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import scipy.stats

from bnjax.claims.claim import (
    CONFIDENCE,
    ONE_SEED_MARGIN,
    Claim,
    Interval,
    Verdict,
    format_interval,
    interval,
)
from bnjax.claims.landscape import TRAINED, why_not_trained
from bnjax.runs.config import RunConfig, require
from bnjax.runs.results import Results

PAPER = "Santurkar et al. 2018"
LP_NORMS = ("l1", "l2", "linf")
ONE_SEED_POINTS = 0.02  # with one seed there is no interval: a difference must leave ±2 points
# What BatchNorm gains over none in the paper: who ends behind it by less does as well.
AS_WELL_POINTS = 0.03
AS_WELL_FACTOR = 1.25
EQUAL_FIT_POINTS = 0.03  # gaps are compared between arms that fit equally well
LAST_SHARE = 0.1  # of the steps, over which a final value is a median

RULE = (
    "{quantity}: {comparison}, mean over seeds, 95 % t interval (one seed: {one_seed}); supported "
    "if it lies above {limit:g}, not supported if below, else inconclusive; inconclusive if an arm "
    "is dead or diverged"
)


@dataclasses.dataclass(frozen=True, kw_only=True)
class TargetConfig(RunConfig):
    """The options that decide these claims, for experiments that draw training curves."""

    target_accuracy: float = 0.9
    """Training accuracy, above 0 and at most 1, to which steps are counted."""
    target_loss: float | None = None
    """Training loss to which steps are counted, in place of --target-accuracy."""
    window: int = 11
    """Training loss and accuracy are medians over so many last minibatches."""

    def validate(self) -> None:
        """Refuse impossible values."""
        super().validate()
        accuracy, loss = self.target_accuracy, self.target_loss
        require("--target-accuracy", accuracy, 0 < accuracy <= 1, "above 0 and at most 1, e.g. 0.9")
        positive = loss is None or 0 < loss < math.inf
        require("--target-loss", loss, positive, "above 0 and finite, e.g. 0.5")
        known = loss is not None or self.model != "dln"
        require("--target-loss", loss, known, "a number, e.g. 5000: there is no accuracy here")
        require("--window", self.window, 1 <= self.window <= self.steps, f"from 1 to {self.steps}")


class Quantity(NamedTuple):
    """What is measured of one arm and seed; two arms are compared by ratio or by difference."""

    name: Callable[[Results], str]
    value: Callable[[Results, str, int], float]
    is_ratio: bool
    larger_is_better: bool
    show: Callable[[float], str]


class Question(NamedTuple):
    """A claim on two arms: is `norm` ahead of `other` by more than `limit`?"""

    identifier: str
    sentence: str
    source: str
    quantity: Quantity
    limit: float  # 1 or a ratio around it, 0 or a difference of shares
    published: Mapping[str, str]  # by network, vgg or dln


def smooth(values: np.ndarray, window: int) -> np.ndarray:
    """Median over the last `window` values, fewer at the start; NaN stays where it was.

    Args:
      values: `[steps]`.
      window: 1 or more.

    Example:
      >>> smooth(np.array([1.0, 9.0, 2.0, 3.0]), 3).tolist()
      [1.0, 5.0, 2.0, 3.0]
    """
    padded = np.concatenate([np.full(window - 1, np.nan), values])
    windows = np.lib.stride_tricks.sliding_window_view(padded, window)
    gone = np.isnan(values)
    medians = np.nanmedian(np.where(gone[:, None], 0.0, windows), axis=1)
    return np.where(gone, np.nan, medians)


def steps_to_target(results: Results, norm: str, seed: int) -> float:
    """Minibatches seen until the smoothed training curve reaches the target; inf if it does not."""
    config = results.config
    by_loss = config["target_loss"] is not None
    name = "train.loss" if by_loss else "train.accuracy"
    curve = smooth(results.select(name, norm=norm, seed=seed), config["window"])
    reached = curve <= config["target_loss"] if by_loss else curve >= config["target_accuracy"]
    return float(np.flatnonzero(reached)[0] + 1) if reached.any() else math.inf


def target_name(results: Results) -> str:
    """What steps are counted to."""
    loss = results.config["target_loss"]
    goal = f"loss {loss:g}" if loss is not None else f"accuracy {target_percent(results)}"
    return f"steps to training {goal} (median of {results.config['window']} minibatches)"


def target_percent(results: Results) -> str:
    """The target accuracy as it is read."""
    return f"{100 * results.config['target_accuracy']:g} %"


def last_loss(results: Results, norm: str, seed: int) -> float:
    """Median training loss over the last tenth of the run."""
    losses = results.select("train.loss", norm=norm, seed=seed)
    return float(np.median(losses[-max(1, round(LAST_SHARE * len(losses))) :]))


def test_accuracy(results: Results, norm: str, seed: int) -> float:
    """Median test accuracy over the evaluations of the last tenth of the run."""
    return late(results, results.select("test.accuracy", norm=norm, seed=seed), "test_step")


def late(results: Results, values: np.ndarray, axis: str) -> float:
    """Median over the last tenth of the run, or the last value there is."""
    steps = results.axes[axis]
    rows = steps >= (1 - LAST_SHARE) * len(results.axes["step"])
    rows[-1] = True
    return float(np.median(values[rows]))


def gap(results: Results, norm: str, seed: int) -> float:
    """Accuracy on training images minus that on the test set, both with running statistics."""
    return fitted_accuracy(results, norm, seed) - test_accuracy(results, norm, seed)


def fitted_accuracy(results: Results, norm: str, seed: int) -> float:
    """Median accuracy on training images over the last tenth of the run."""
    return late(results, results.select("fit.accuracy", norm=norm, seed=seed), "probe_step")


def why_not_equally_fitted(results: Results, arms: Sequence[str]) -> str:
    """Why gaps cannot be compared: an arm that fits less has less to lose on the test set."""
    for seed in results.axes["seed"].tolist():
        fitted = [fitted_accuracy(results, arm, seed) for arm in arms]
        if max(fitted) - min(fitted) > EQUAL_FIT_POINTS:
            shown = ", ".join(f"{arm} {percent(x)}" for arm, x in zip(arms, fitted, strict=True))
            return f"training accuracies are not equal within 3 points: {shown}"
    return ""


def percent(share: float) -> str:
    """`83.1 %`."""
    return f"{100 * share:.1f} %"


def steps_shown(steps: float) -> str:
    """A number of steps, or that there is none."""
    return f"{steps:.0f}" if math.isfinite(steps) else "never"


STEPS = Quantity(target_name, steps_to_target, True, False, steps_shown)
LOSS = Quantity(
    lambda _: "median training loss of the last tenth", last_loss, True, False, "{:.4g}".format
)
ACCURACY = Quantity(
    lambda _: "test accuracy, median of the last tenth", test_accuracy, False, True, percent
)
GAP = Quantity(
    lambda _: (
        "training minus test accuracy, running statistics, medians of the last tenth, where "
        "training accuracies differ by at most 3 points"
    ),
    gap,
    False,
    False,
    percent,
)

# By network. Times are those of the first published point at 90 % or below the loss, of points that
# lie 100 steps (VGG) and 50 steps (deep linear) apart.
PUBLISHED_STEPS = {
    "vgg": (
        "minibatch at 90 %, lr 0.1: 4000 none, 1600 batch (Fig. 3a); 3300 none, 1600 batch, 1600 "
        "l1, 1800 l2, 1600 linf (Fig. 5a)"
    ),
    "dln": "loss 5000, lr 1e-6: 750 none, 150 batch, 100 l1, 150 l2, 500 linf (Fig. 5b)",
}
PUBLISHED_LOSSES = {
    "dln": "last loss, lr 1e-6: 1661 none, 479 batch, 97.5 l1, 482 l2, 986 linf (Fig. 5b)"
}
PUBLISHED_ACCURACY = {"vgg": "CIFAR-10, test: 83 % batch, 80 % none (augmented: 92 %, 88 %)"}
PUBLISHED_LP_ACCURACY = {"vgg": "training minibatches only: all arms end at 97 to 100 % (Fig. 5a)"}

FASTER = Question(
    "faster", "{norm} trains faster than {other}", "Fig. 1a, b", STEPS, 1.0, PUBLISHED_STEPS
)
LOWER = Question(
    "lower-loss",
    "{norm} ends at a lower training loss than {other}",
    "Fig. 5b",
    LOSS,
    1.0,
    PUBLISHED_LOSSES,
)
BETTER = Question(
    "accuracy",
    "{norm} ends at a higher test accuracy than {other}",
    "Fig. 1a, b",
    ACCURACY,
    0.0,
    PUBLISHED_ACCURACY,
)
NARROWER = Question(
    "gap",
    "{norm} generalises better than {other}: training and test accuracy differ less",
    "Fig. 1a, b and the conjecture of its conclusions",
    GAP,
    0.0,
    PUBLISHED_ACCURACY,
)
AS_FAST = Question(
    "as-fast",
    f"{{norm}} trains as fast as {{other}}, within a factor of {AS_WELL_FACTOR:g}",
    "Fig. 5",
    STEPS,
    1 / AS_WELL_FACTOR,
    PUBLISHED_STEPS,
)
AS_ACCURATE = Question(
    "as-accurate",
    f"{{norm}} ends at {{other}}'s test accuracy, or less than {100 * AS_WELL_POINTS:g} points "
    "below",
    "§3.3 and Fig. 5a",
    ACCURACY,
    -AS_WELL_POINTS,
    PUBLISHED_LP_ACCURACY,
)
AS_LOW = Question(
    "as-low",
    f"{{norm}} ends at {{other}}'s training loss, or above it by less than a factor of "
    f"{AS_WELL_FACTOR:g}",
    "§3.3 and Fig. 5b",
    LOSS,
    1 / AS_WELL_FACTOR,
    PUBLISHED_LOSSES,
)


def claims(results: Results) -> list[Claim]:
    """All claims for the normalisers that ran, at each learning rate and across them."""
    norms = [str(norm) for norm in results.axes["norm"]]
    normalised = [norm for norm in norms if norm != "none"] if "none" in norms else []
    lp_norms = [norm for norm in norms if norm in LP_NORMS] if "batch" in norms else []
    classes = has_classes(results)
    against_none = [FASTER, BETTER] if classes else [FASTER, LOWER]
    against_batch = [AS_FAST, AS_ACCURATE if classes else AS_LOW]
    if "fit.accuracy" in results.arrays:
        against_none = [*against_none, NARROWER]
    decided: list[Claim] = []
    for lr, at_lr in at_each_lr(results):
        suffix = f"-lr{lr:g}" if "lr" in results.axes else ""
        decided += [
            ask(at_lr, q, norm, "none", suffix) for norm in normalised for q in against_none
        ]
        decided += [
            ask(at_lr, q, norm, "batch", suffix) for norm in lp_norms for q in against_batch
        ]
        if not classes and "l1" in lp_norms:
            decided.append(ask(at_lr, LOWER, "l1", "batch", suffix))
        decided += no_arm_trains(at_lr, norms, lr)
    if "lr" in results.axes:
        decided += [learning_rates(results, norm) for norm in normalised]
    return decided


def has_classes(results: Results) -> bool:
    """Whether there is an accuracy."""
    return bool(results.config["model"] != "dln")


def at_each_lr(results: Results) -> list[tuple[float, Results]]:
    """The results at each learning rate, as those of a run that had only this one."""
    if "lr" not in results.axes:
        return [(float(results.config["lr"]), results)]
    return [(lr, results.at(lr=lr)) for lr in results.axes["lr"].tolist()]


def ask(results: Results, question: Question, norm: str, other: str, suffix: str) -> Claim:
    """Decide a question on two arms at one learning rate."""
    quantity = question.quantity
    seeds = results.axes["seed"].tolist()
    arms = {arm: [quantity.value(results, arm, seed) for seed in seeds] for arm in (other, norm)}
    reasons = [reason for arm in arms if (reason := why_not_trained(results, arm))]
    if quantity is GAP and not reasons and (unequal := why_not_equally_fitted(results, [*arms])):
        reasons = [unequal]
    shown = ", ".join(
        f"{arm} {' '.join(quantity.show(value) for value in values)}"
        for arm, values in arms.items()
    )
    verdict: Verdict = "inconclusive"
    if not reasons:
        verdict, advantage, reason = decide(
            quantity, arms[norm], arms[other], len(results.axes["step"]), question.limit
        )
        reasons = [reason] if reason else []
        shown = f"{advantage}: {shown}"
    first, second = (norm, other) if quantity.larger_is_better else (other, norm)
    return Claim(
        identifier=f"{question.identifier}-{norm}-{other}{suffix}",
        sentence=question.sentence.format(norm=norm, other=other),
        source=f"{PAPER}, {question.source}",
        rule=RULE.format(
            quantity=quantity.name(results),
            comparison=f"{first} / {second}" if quantity.is_ratio else f"{first} − {second}",
            one_seed=(
                f"a factor of {ONE_SEED_MARGIN:g}"
                if quantity.is_ratio
                else f"{100 * ONE_SEED_POINTS:g} points either way"
            ),
            limit=question.limit,
        ),
        measured=shown,
        published=question.published.get(results.config["model"][:3], ""),
        verdict=verdict,
        reason="; ".join(reasons),
    )


def decide(
    quantity: Quantity,
    own: Sequence[float],
    others: Sequence[float],
    steps: int,
    limit: float,
) -> tuple[Verdict, str, str]:
    """Verdict, the advantage with its interval, and why there is no verdict.

    An arm that never got to the target counts with the length of the run: that bounds the ratio
    from one side, and a bound decides only on that side.
    """
    first, second = (own, others) if quantity.larger_is_better else (others, own)
    left, right = np.array(first), np.array(second)
    at_least, at_most = bool(np.isinf(left).any()), bool(np.isinf(right).any())
    left, right = (np.where(np.isinf(side), steps, side) for side in (left, right))
    if quantity.is_ratio:
        estimate = interval((left / right).tolist())
        low, high = bounds(np.log(estimate[:3]), estimate.seeds, math.log(ONE_SEED_MARGIN))
        low, high, shown = math.exp(low), math.exp(high), format_interval(estimate)
    else:
        estimate = difference((left - right).tolist())
        low, high = bounds(np.array(estimate[:3]), estimate.seeds, ONE_SEED_POINTS)
        centre, low_point, high_point = (100 * value for value in estimate[:3])
        shown = format_interval(Interval(centre, low_point, high_point, estimate.seeds))
        shown = shown.replace(" ", " points ", 1)
    if at_least or at_most:
        shown = f"{'at least' if at_least else 'at most'} {shown}"
    if at_least and at_most:
        return "inconclusive", "no ratio", "both arms have a seed that never got to the target"
    if low > limit and not at_most:
        return "supported", shown, ""
    if high < limit and not at_least:
        return "not supported", shown, ""
    return "inconclusive", shown, f"the interval holds {limit:g}, or a bound does not decide"


def bounds(values: np.ndarray, seeds: int, margin: float) -> tuple[float, float]:
    """Low and high of an interval; of one seed the centre, `margin` either way."""
    centre, low, high = values.tolist()
    return (low, high) if seeds > 1 else (centre - margin, centre + margin)


def difference(values: Sequence[float]) -> Interval:
    """Mean and 95 % t interval of differences, one for each seed; one has no interval."""
    centre = float(np.mean(values))
    if len(values) < 2:
        return Interval(centre, np.nan, np.nan, len(values))
    half = scipy.stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * scipy.stats.sem(values)
    return Interval(centre, centre - half, centre + half, len(values))


def no_arm_trains(results: Results, norms: Sequence[str], lr: float) -> list[Claim]:
    """A line of its own for a learning rate at which every arm is dead or diverged."""
    reasons = [why_not_trained(results, norm) for norm in norms]
    if not all(reasons):
        return []
    claim = Claim(
        identifier=f"lr{lr:g}",
        sentence=f"at least one network trains at learning rate {lr:g}",
        source="a condition of every comparison at this learning rate",
        rule=f"an arm trains if no seed diverges and each ends below {TRAINED} of chance",
        measured="; ".join(reasons),
        published="",
        verdict="not supported",
        reason="no arm trains: give a smaller --lr, or more --steps; what was measured is kept",
    )
    return [claim]


def learning_rates(results: Results, norm: str) -> Claim:
    """Whether `norm` trains at learning rates at which `none` does not."""
    rates: dict[str, list[float]] = {norm: [], "none": []}
    fates = []
    for lr, at_lr in at_each_lr(results):
        reasons = {arm: why_not_trained(at_lr, arm) for arm in rates}
        for arm, reason in reasons.items():
            rates[arm] += [] if reason else [lr]
        fates.append(f"lr {lr:g}: " + "; ".join(r or f"{arm} trains" for arm, r in reasons.items()))
    ahead, behind = (
        [lr for lr in rates[arm] if lr not in rates[rival]]
        for arm, rival in ((norm, "none"), ("none", norm))
    )
    verdict: Verdict = "inconclusive"
    reason = "both train at the same learning rates: --lrs with larger or smaller ones may tell"
    if ahead and behind:
        reason = "each trains at a learning rate at which the other does not"
    elif ahead:
        verdict, reason = "supported", f"only {norm} trains at {listed(ahead)}"
    elif behind:
        verdict, reason = "not supported", f"only none trains at {listed(behind)}"
    seeds = len(results.axes["seed"])
    return Claim(
        identifier=f"learning-rates-{norm}",
        sentence=f"{norm} trains at learning rates at which none does not",
        source=f"{PAPER}, §1 and Fig. 1; Ioffe & Szegedy 2015",
        rule=(
            f"an arm trains at a learning rate if no seed diverges and each ends below {TRAINED} "
            f"of the loss of chance within the run; supported if {norm} trains at some at which "
            "none does not and never the reverse, not supported if only the reverse, else "
            "inconclusive"
        ),
        measured=f"{'one seed' if seeds == 1 else f'{seeds} seeds'}; " + "; ".join(fates),
        published="",
        verdict=verdict,
        reason=reason,
    )


def listed(rates: Sequence[float]) -> str:
    """Learning rates as a message names them."""
    return "lr " + ", ".join(f"{lr:g}" for lr in rates)
