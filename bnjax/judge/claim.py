"""What a claim is, and how seeds decide it.

A claim that comes out against its paper is a result like any other.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from scipy.special import stdtrit

Verdict: TypeAlias = Literal["supported", "not supported", "inconclusive"]
CONFIDENCE = 0.95
# One seed has no interval: a ratio must leave [1/1.1, 1.1], a difference of accuracies ±2 points.
ONE_SEED_MARGIN = 1.1
ONE_SEED_POINTS = 0.02
T_INTERVAL = f"{100 * CONFIDENCE:g} % t interval"
A_FACTOR = f"a factor of {ONE_SEED_MARGIN:g}"
SOME_POINTS = f"{100 * ONE_SEED_POINTS:g} points either way"


class Interval(NamedTuple):
    """A mean over seeds with its 95 % t interval; of ratios a geometric one."""

    centre: float
    low: float
    high: float
    seeds: int


class Comparison(NamedTuple):
    """One measured ratio, and what it is the ratio of."""

    name: str
    ratio: Interval | None  # None: it could not be formed
    reason: str = ""


class Claim(NamedTuple):
    """A published sentence with the verdict of a run."""

    identifier: str
    sentence: str
    source: str
    rule: str
    measured: str
    published: str
    verdict: Verdict
    reason: str


def interval(ratios: Sequence[float]) -> Interval:
    """Geometric mean and t interval of positive ratios, one for each seed.

    Args:
      ratios: one positive number per seed.

    Returns:
      With one seed `low` and `high` are NaN: one run has no interval.

    Example:
      >>> interval([2.0]).centre
      2.0
    """
    mean = difference(np.log(np.asarray(ratios, dtype=np.float64)).tolist())
    centre, low, high = np.exp(mean[:3]).tolist()
    return Interval(centre, low, high, mean.seeds)


def difference(values: Sequence[float]) -> Interval:
    """Mean and 95 % t interval of differences, one for each seed; one has no interval.

    Args:
      values: one number per seed.

    Returns:
      With one seed `low` and `high` are NaN.

    Example:
      >>> difference([1.0, 3.0]).centre
      2.0
    """
    centre = float(np.mean(values))
    if len(values) < 2:
        return Interval(centre, np.nan, np.nan, len(values))
    # From scipy.special: scipy.stats takes a second to import.
    quantile = float(stdtrit(len(values) - 1, (1 + CONFIDENCE) / 2))
    half = quantile * float(np.std(values, ddof=1)) / len(values) ** 0.5
    return Interval(centre, centre - half, centre + half, len(values))


def over_seeds(mean: str, one_seed: str) -> str:
    """How a rule says that a number is taken over seeds.

    Args:
      mean: `mean` or `geometric mean`.
      one_seed: what one seed has in place of an interval, e.g. `A_FACTOR`.

    Returns:
      Words within a sentence.

    Example:
      >>> over_seeds("mean", "±0.1")
      'mean over seeds, 95 % t interval (one seed: ±0.1)'
    """
    return f"{mean} over seeds, {T_INTERVAL} (one seed: {one_seed})"


RATIO_RULE = over_seeds("geometric mean", A_FACTOR)
POINTS_RULE = over_seeds("mean", SOME_POINTS)


def ratio_bounds(ratio: Interval) -> tuple[float, float]:
    """Low and high of a ratio; with one seed a factor of 1.1 either way."""
    if ratio.seeds > 1:
        return ratio.low, ratio.high
    return ratio.centre / ONE_SEED_MARGIN, ratio.centre * ONE_SEED_MARGIN


def decide_ratio(ratio: Interval) -> Verdict:
    """Whether a ratio that the claim wants above 1 is.

    Supported if its interval lies above 1, not supported if it lies below 1, else inconclusive.
    With one seed the interval is taken as a factor of 1.1 either way.

    Args:
      ratio: as `interval` makes it.

    Returns:
      The verdict.

    Example:
      >>> [decide_ratio(interval([ratio])) for ratio in (1.5, 1.05, 0.5)]
      ['supported', 'inconclusive', 'not supported']
    """
    low, high = ratio_bounds(ratio)
    return "supported" if low > 1 else "not supported" if high < 1 else "inconclusive"


def difference_bounds(value: Interval, margin: float) -> tuple[float, float]:
    """Low and high of a difference; of one seed the centre, `margin` either way.

    Args:
      value: as `difference` makes it.
      margin: in its units.

    Returns:
      Both ends.

    Example:
      >>> difference_bounds(difference([0.5]), 0.25)
      (0.25, 0.75)
    """
    if value.seeds > 1:
        return value.low, value.high
    return value.centre - margin, value.centre + margin


def decide_difference(value: Interval, margin: float, limit: float = 0.0) -> Verdict:
    """Whether a difference that the claim wants above a limit is.

    Args:
      value: as `difference` makes it.
      margin: of one seed, see `difference_bounds`.
      limit: in the same units.

    Returns:
      The verdict; inconclusive where the interval holds the limit or is not a number.

    Example:
      >>> [decide_difference(difference([change]), 0.02) for change in (0.03, 0.01, -0.03)]
      ['supported', 'inconclusive', 'not supported']
    """
    low, high = difference_bounds(value, margin)
    return "supported" if low > limit else "not supported" if high < limit else "inconclusive"


def format_points(share: Interval) -> str:
    """A difference of shares: `2.3 points [1.9, 2.8] over 5 seeds`, `2.3 points (one seed)`."""
    centre, low, high = (100 * value for value in share[:3])
    return format_interval(Interval(centre, low, high, share.seeds)).replace(" ", " points ", 1)


def format_interval(value: Interval) -> str:
    """`2.31 [1.9, 2.8] over 5 seeds`, or `2.31 (one seed)`."""
    if value.seeds == 1:
        return f"{value.centre:.3g} (one seed)"
    return f"{value.centre:.3g} [{value.low:.3g}, {value.high:.3g}] over {value.seeds} seeds"
