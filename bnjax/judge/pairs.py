"""Two arms side by side, at equal step and at equal loss, and why an arm may bear no comparison.

A network that does not train has a flat landscape: seen at lr 0.4, the standard VGG sits at ln 10
with a vanishing gradient and looks smoother than its rival. So every comparison is made at equal
loss too, only where both arms are below chance, and none rests on an arm that is dead or diverged.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import TypeAlias

import numpy as np

from bnjax.frame.results import Run as Results
from bnjax.frame.results import late as last_rows
from bnjax.judge.claim import (
    ONE_SEED_MARGIN,
    Comparison,
    Verdict,
    decide_ratio,
    format_interval,
    interval,
    ratio_bounds,
)

TRAINED = 0.9  # of the loss of chance: an arm at or above it has not begun to train
BELOW_CHANCE = f"below {TRAINED:g} of the loss of chance"
EQUAL_LOSS = 1.25  # two losses are called equal if neither exceeds the other by this factor
MINIMUM_PAIRS = 3

PerStep: TypeAlias = Callable[[str, int], np.ndarray]  # of norm and seed: [probe_step, …]


def why_not_trained(results: Results, norm: str) -> str:
    """Why no claim can rest on an arm, or nothing.

    Args:
      results: of a run.
      norm: the arm.

    Returns:
      That it diverged, and at which step, or that its loss ends at 0.9 of that of chance or above;
      of several seeds the first one's reason; else an empty text.
    """
    chance = results.facts["chance_loss"]
    for seed in results.axes["seed"].tolist():
        finite = results.select("train.finite", norm=norm, seed=seed)
        if (finite == 0).any():
            return f"{norm} diverged at step {int(np.flatnonzero(finite == 0)[0])}"
        losses = results.select("train.loss", norm=norm, seed=seed)
        final = float(np.median(losses[last_rows(len(losses), 10)]))
        if not final < TRAINED * chance:
            return f"{norm} does not train: its loss ends at {final:.3f}, chance is {chance:.3f}"
    return ""


def reasons_against(results: Results, arms: Iterable[str]) -> list[str]:
    """Why no claim can rest on some arms, one reason an arm; see `why_not_trained`.

    Args:
      results: of a run.
      arms: e.g. `("none", "batch")`.

    Returns:
      Empty if all of them train.
    """
    return [reason for norm in arms if (reason := why_not_trained(results, norm))]


def beside_none(results: Results) -> list[str]:
    """The arms that can be compared with `none`: all others, if it ran."""
    norms = [str(norm) for norm in results.axes["norm"]]
    return [norm for norm in norms if norm != "none"] if "none" in norms else []


def at_equal_step(
    left: np.ndarray, right: np.ndarray, chance: float
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the probed steps at which both arms are below chance."""
    rows = np.flatnonzero((left < TRAINED * chance) & (right < TRAINED * chance))
    return rows, rows


def at_equal_loss(
    left: np.ndarray, right: np.ndarray, chance: float
) -> tuple[np.ndarray, np.ndarray]:
    """Rows of pairs of steps with equal loss: each step of `right` with the nearest of `left`."""
    pairs = []
    usable = np.flatnonzero(left < TRAINED * chance)
    for row in np.flatnonzero(right < TRAINED * chance):
        if len(usable):
            gaps = np.abs(np.log(left[usable]) - np.log(right[row]))
            if gaps.min() <= np.log(EQUAL_LOSS):
                pairs.append((usable[gaps.argmin()], row))
    return tuple(np.array(pairs, dtype=int).reshape(-1, 2).T)  # type: ignore[return-value]


PAIRS = {"equal step": at_equal_step, "equal loss": at_equal_loss}


def probed_loss(results: Results, norm: str, seed: int) -> np.ndarray:
    """The minibatch loss at the probed steps."""
    return results.select("train.loss", norm=norm, seed=seed)[results.axes["probe_step"]]


def ratio_over_seeds(
    results: Results, name: str, losses: PerStep, values: PerStep, above: str, below: str
) -> Comparison:
    """The ratio above/below of a quantity, median over pairs of steps, geometric mean over seeds.

    Args:
      results: of a run with both arms.
      name: of the comparison, whose last two words are a key of `PAIRS`.
      losses: that pairs are made by.
      values: the quantity; further axes (layers) count as more pairs. Ratios that are not positive
        and finite are left out.
      above: the arm of the numerator.
      below: that of the denominator.

    Returns:
      The ratio with its interval, or the reason why there is none.
    """
    kind = " ".join(name.split()[-2:])
    ratios = []
    for seed in results.axes["seed"].tolist():
        left, right = PAIRS[kind](
            losses(above, seed), losses(below, seed), results.facts["chance_loss"]
        )
        ratio = values(above, seed)[left] / values(below, seed)[right]
        ratio = ratio[np.isfinite(ratio) & (ratio > 0)]
        if min(len(left), ratio.size) < MINIMUM_PAIRS:
            return Comparison(name, None, f"fewer than {MINIMUM_PAIRS} pairs of steps at {name}")
        ratios.append(float(np.median(ratio)))
    return Comparison(name, interval(ratios))


def compare_pairs(
    results: Results, losses: PerStep, values: PerStep, above: str, below: str
) -> list[Comparison]:
    """The ratio above/below of a quantity at equal step and at equal loss.

    Args:
      results: of a run with both arms.
      losses: as `ratio_over_seeds`, and so are those below.
      values: likewise.
      above: likewise.
      below: likewise.

    Returns:
      A comparison for each of `PAIRS`.
    """
    return [ratio_over_seeds(results, name, losses, values, above, below) for name in PAIRS]


def agreement(comparisons: Sequence[Comparison], reasons: list[str]) -> tuple[Verdict, list[str]]:
    """The verdict that all comparisons share, unless there are reasons against any, and why."""
    verdicts = {decide_ratio(c.ratio) if c.ratio else "inconclusive" for c in comparisons}
    verdict: Verdict = verdicts.pop() if len(verdicts) == 1 else "inconclusive"
    if reasons:
        return "inconclusive", reasons
    reasons = [comparison.reason for comparison in comparisons if comparison.reason]
    if verdict == "inconclusive" and not reasons:
        reasons = ["the two comparisons do not agree, or an interval holds 1"]
    return verdict, reasons


def not_below(comparisons: Sequence[Comparison], reasons: list[str]) -> tuple[Verdict, list[str]]:
    """Whether no ratio is below 1, to a tenth: that no difference is seen is no evidence of none.

    Args:
      comparisons: measured ratios.
      reasons: why no claim can rest on the arms; empty if it can.

    Returns:
      Supported if no interval reaches below 1/1.1, not supported if every one lies below 1, else
      inconclusive, and why; of one seed the interval is a factor of 1.1 either way.

    Example:
      >>> from bnjax.judge.claim import interval
      >>> [not_below([Comparison("a", interval([r]))], [])[0] for r in (1.01, 0.95, 0.85)]
      ['supported', 'inconclusive', 'not supported']
    """
    reasons = reasons + [comparison.reason for comparison in comparisons if comparison.reason]
    if reasons:
        return "inconclusive", reasons
    bounds = [ratio_bounds(c.ratio) for c in comparisons if c.ratio]
    if not bounds:
        return "inconclusive", ["there is nothing to compare"]
    if all(low >= 1 / ONE_SEED_MARGIN for low, _ in bounds):
        return "supported", []
    if all(high < 1 for _, high in bounds):
        return "not supported", []
    return "inconclusive", [f"an interval reaches below 1/{ONE_SEED_MARGIN:g}, not all lie below 1"]


def describe(comparisons: Iterable[Comparison]) -> str:
    """The ratios as the claims table shows them."""
    return "; ".join(
        f"{c.name} {format_interval(c.ratio) if c.ratio else 'not measured'}" for c in comparisons
    )
