"""What a claim is, and how seeds decide it.

A claim that comes out against its paper is a result like any other.
"""

from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
import scipy.stats

Verdict: TypeAlias = Literal["supported", "not supported", "inconclusive"]
CONFIDENCE = 0.95
ONE_SEED_MARGIN = 1.1  # with one seed there is no interval: a ratio must leave [1/1.1, 1.1]


class Interval(NamedTuple):
    """A geometric mean over seeds with its 95 % t interval (of the logarithms)."""

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
    logs = np.log(np.asarray(ratios, dtype=np.float64))
    centre = float(np.exp(logs.mean()))
    if len(logs) < 2:
        return Interval(centre, np.nan, np.nan, len(logs))
    half = scipy.stats.t.ppf((1 + CONFIDENCE) / 2, len(logs) - 1) * scipy.stats.sem(logs)
    return Interval(centre, centre * np.exp(-half), centre * np.exp(half), len(logs))


def difference(values: Sequence[float]) -> Interval:
    """Mean and 95 % t interval of differences, one for each seed; one has no interval."""
    centre = float(np.mean(values))
    if len(values) < 2:
        return Interval(centre, np.nan, np.nan, len(values))
    half = scipy.stats.t.ppf((1 + CONFIDENCE) / 2, len(values) - 1) * scipy.stats.sem(values)
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
    """
    low, high = limits(ratio)
    return "supported" if low > 1 else "not supported" if high < 1 else "inconclusive"


def format_interval(value: Interval) -> str:
    """`2.31 [1.9, 2.8] over 5 seeds`, or `2.31 (one seed)`."""
    if value.seeds == 1:
        return f"{value.centre:.3g} (one seed)"
    return f"{value.centre:.3g} [{value.low:.3g}, {value.high:.3g}] over {value.seeds} seeds"
