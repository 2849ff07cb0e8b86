"""What a claim is, and how seeds decide it.

A claim that comes out against its paper is a result like any other.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from scipy.special import stdtrit

Verdict: TypeAlias = Literal["supported", "not supported", "inconclusive"]
CONFIDENCE = 0.95
ONE_SEED_MARGIN = 1.1  # with one seed there is no interval: a ratio must leave [1/1.1, 1.1]


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


def limits(ratio: Interval) -> tuple[float, float]:
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
    low, high = limits(ratio)
    return "supported" if low > 1 else "not supported" if high < 1 else "inconclusive"


def format_interval(value: Interval) -> str:
    """`2.31 [1.9, 2.8] over 5 seeds`, or `2.31 (one seed)`."""
    if value.seeds == 1:
        return f"{value.centre:.3g} (one seed)"
    return f"{value.centre:.3g} [{value.low:.3g}, {value.high:.3g}] over {value.seeds} seeds"
