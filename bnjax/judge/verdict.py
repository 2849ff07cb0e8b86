"""A judged claim, its numbers, and how seeds decide.

A claim that comes out against its paper is a result like any other.
"""

import math
from collections.abc import Sequence
from typing import Literal, NamedTuple, TypeAlias

import numpy as np
from scipy.special import stdtrit

Decision: TypeAlias = Literal["supported", "not supported", "inconclusive"]
CONFIDENCE = 0.95
# The least effect that counts, at any number of seeds: an estimate is above a limit if its interval
# is, and if it is so by this much itself. One seed has no interval: this much either way is its.
MINIMAL_FACTOR = 1.1
MINIMAL_POINTS = 0.02


class Number(NamedTuple):
    """An estimate over seeds with its 95 % t interval."""

    name: str
    estimate: float
    low: float  # NaN of one seed
    high: float
    n: int  # seeds
    unit: str = ""
    threshold: float | None = None  # it is compared with; None: shown, not decided


class Verdict(NamedTuple):
    """A published sentence, the rule that decides it, and what a run says of it."""

    identifier: str
    sentence: str
    source: str
    rule: str
    measured: str
    published: str
    verdict: Decision
    reason: str
    numbers: tuple[Number, ...] = ()


class Scale(NamedTuple):
    """How numbers of a kind are averaged over seeds, decided and shown."""

    minimal: float  # the least effect that counts: a factor, or in the numbers' units
    ratio: bool = False
    factor: float = 1.0  # for a reader: 100 makes points of shares
    unit: str = ""

    def average(self, name: str, values: Sequence[float], threshold: float | None = None) -> Number:
        """Mean (of ratios geometric) and t interval of one value per seed.

        Example:
          >>> [round(value, 1) for value in Scale(0.1).average("gain", [1.0, 3.0])[1:4]]
          [2.0, -10.7, 14.7]
        """
        own = np.asarray(values, dtype=np.float64)
        own = np.log(own) if self.ratio else own
        centre, half = float(own.mean()), math.nan
        if len(own) > 1:
            # From scipy.special: scipy.stats takes a second to import.
            quantile = float(stdtrit(len(own) - 1, (1 + CONFIDENCE) / 2))
            half = quantile * float(own.std(ddof=1)) / len(own) ** 0.5
        low, high = centre - half, centre + half
        if self.ratio:
            centre, low, high = np.exp([centre, low, high]).tolist()
        return Number(name, centre, low, high, len(own), self.unit.strip(), threshold)

    def bounds(self, number: Number) -> tuple[float, float]:
        """Low and high of a number; of one seed the estimate, `minimal` either way."""
        if number.n > 1:
            return number.low, number.high
        if self.ratio:
            return number.estimate / self.minimal, number.estimate * self.minimal
        return number.estimate - self.minimal, number.estimate + self.minimal

    def side(self, number: Number, limit: float) -> Decision:
        """Whether a number is above a limit (supported), below it, or neither for sure."""
        low, high = self.bounds(number)
        least, most = self.bounds(number._replace(n=1))
        low, high = min(low, least), max(high, most)
        return "supported" if low > limit else "not supported" if high < limit else "inconclusive"

    def rule(self) -> str:
        """How a rule says what one seed and several seeds count."""
        kind = "geometric mean" if self.ratio else "mean"
        amount = f"a factor of {self.minimal:g}" if self.ratio else self.show(self.minimal)
        interval = f"{100 * CONFIDENCE:g} % t interval"
        return (
            f"{kind} over seeds with {interval} (one seed: {amount} either way); it is above or "
            f"below a limit only if the interval is and the estimate itself is by {amount} or more"
        )

    def show(self, value: float) -> str:
        """A value with its unit, e.g. a limit."""
        return f"{self.factor * value:.4g}{self.unit}"

    def against(self, number: Number, inverse: bool, bound: str = "") -> tuple[str, str]:
        """How much larger one arm is than another, and `more` or `less`.

        Args:
          number: above / below, or above − below.
          inverse: whether the arm that is told of is the denominator.
          bound: `at least `, `at most ` or empty.

        Example:
          >>> RATIO.against(Number("", 4.0, 2.0, 8.0, 3), inverse=True)
          ('4 times [2, 8]', 'less')
          >>> SHARE.against(Number("", 0.05, 0.04, 0.06, 3), inverse=False)
          ('5 points [4, 6]', 'more')
        """
        values = [self.factor * value for value in number[1:4]]
        turned = values[0] < (1 if self.ratio else 0)  # so that the size is above 1, or above 0
        if turned:
            bound = {"at least ": "at most ", "at most ": "at least "}.get(bound, bound)
            centre, high, low = ((1 / value) if self.ratio else -value for value in values)
            values = [centre, low, high]
        centre_shown, *ends = (f"{value:.3g}" for value in values)
        interval = f" [{', '.join(ends)}]" if number.n > 1 else ""
        unit = " times" if self.ratio else self.unit
        return f"{bound}{centre_shown}{unit}{interval}", "more" if turned == inverse else "less"


RATIO = Scale(MINIMAL_FACTOR, ratio=True)
SHARE = Scale(MINIMAL_POINTS, factor=100.0, unit=" points")


def seeds(count: int) -> str:
    """`one seed`, `3 seeds`."""
    return "one seed" if count == 1 else f"{count} seeds"
