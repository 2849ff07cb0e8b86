"""A judged claim: the names in it, its numbers, the rule, and how seeds decide.

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
            "below a limit only if the interval is and the estimate itself is by more than "
            f"{amount}"
        )

    def show(self, value: float) -> str:
        return f"{self.factor * value:.4g}{self.unit}"

    def against(self, number: Number, inverse: bool, bound: str = "") -> tuple[str, str]:
        """How much larger one arm is, and `more` or `less`; `inverse` tells of the divisor.

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
    return "one seed" if count == 1 else f"{count} seeds"


class Above(NamedTuple):
    """Supported if every number lies above a limit, not supported if every one lies below."""

    threshold: float

    def decide(self, numbers: Sequence[Number], scale: Scale) -> tuple[Decision, str]:
        sides = [scale.side(number, self.threshold) for number in numbers]
        if len(set(sides)) == 1 and sides[0] != "inconclusive":
            return sides[0], ""
        names: dict[Decision, list[str]] = {
            side: [] for side in ("supported", "not supported", "inconclusive")
        }
        for number, side in zip(numbers, sides, strict=True):
            names[side].append(number.name)
        limit, near = scale.show(self.threshold), names["inconclusive"]
        if near:
            where = f" {', '.join(near)}" if len(numbers) > 1 else ""
            low, high = zip(*map(scale.bounds, numbers), strict=True)
            holds = numbers[0].n > 1 and min(low) <= self.threshold <= max(high)
            cause = "the interval holds" if holds else "the estimate is too near to"
            return "inconclusive", f"{cause} {limit}{where}"
        above, below = (", ".join(names[side]) for side in ("supported", "not supported"))
        return "inconclusive", f"above {limit} {above}, but below {below}"

    def words(self, scale: Scale, several: bool) -> str:
        every, limit = " in every comparison" if several else "", scale.show(self.threshold)
        return (
            f"supported if above {limit}{every}, not supported if below{every}, else inconclusive"
        )


class NotBelow(NamedTuple):
    """That nothing is smaller needs evidence: that no difference is seen is no evidence of none."""

    threshold: float = 1.0

    def decide(self, numbers: Sequence[Number], scale: Scale) -> tuple[Decision, str]:
        if all(scale.bounds(n)[0] >= self.threshold / scale.minimal for n in numbers):
            return "supported", ""
        if all(scale.side(number, self.threshold) == "not supported" for number in numbers):
            return "not supported", ""
        limit = f"{self.threshold:g}"
        reason = (
            f"an interval reaches below {limit}/{scale.minimal:g}, but not all lie below {limit}"
        )
        return "inconclusive", reason

    def words(self, scale: Scale, several: bool) -> str:
        lie, limit = "all lie" if several else "it lies", f"{self.threshold:g}"
        return (
            f"supported if no interval reaches below {limit}/{scale.minimal:g}, not supported if "
            f"{lie} below {limit}, else inconclusive"
        )


class Within(NamedTuple):
    """Supported if every interval lies between two limits, not supported if any lies outside."""

    low: float
    threshold: float  # the upper limit

    def decide(self, numbers: Sequence[Number], scale: Scale) -> tuple[Decision, str]:
        bounds = {number.name: scale.bounds(number) for number in numbers}
        if all(self.low < low and high < self.threshold for low, high in bounds.values()):
            return "supported", ""
        outside = [n for n, (a, b) in bounds.items() if a > self.threshold or b < self.low]
        if outside:
            return "not supported", f"outside: {', '.join(outside)}"
        return "inconclusive", "an interval holds one of the limits"

    def words(self, scale: Scale, several: bool) -> str:
        every, some = ("every interval", "one") if several else ("the interval", "it")
        low, high = scale.show(self.low), scale.show(self.threshold)
        return (
            f"supported if {every} lies between {low} and {high}, not supported if {some} lies "
            "outside, else inconclusive"
        )


Rule: TypeAlias = Above | NotBelow | Within  # decides on the numbers of a claim, and says how
LABELS = {
    "none": "no normalisation",
    "batch": "BatchNorm",
    "l1": "ℓ₁ norm",
    "l2": "ℓ₂ norm",
    "linf": "ℓ∞ norm",
    "noisy_batch": "BatchNorm + noise",
    "noise": "noise alone",
    "layer": "LayerNorm",
    "group": "GroupNorm",
    "instance": "InstanceNorm",
    "rms": "RMSNorm",
    "unitize": "Unitization",
    "weight_standard": "weight standardisation",
    "weight_norm": "weight normalisation",
    "dyt": "DyT",
    "derf": "Derf",
    "skipinit": "SkipInit",
}


def label(norm: str) -> str:
    """A normaliser as a reader calls it; one of a user's own keeps its name."""
    return LABELS.get(norm, norm)


def having(norm: str) -> str:
    """An arm as an adverb: `with BatchNorm`, `without normalisation`."""
    return "without normalisation" if norm == "none" else f"with {label(norm)}"


def sentence(text: str) -> str:
    """The text with a capital at its beginning, unless a symbol stands there.

    Example:
      >>> sentence("no normalisation"), sentence("ℓ₁ norm")
      ('No normalisation', 'ℓ₁ norm')
    """
    return text[:1].upper() + text[1:] if text[:1].isascii() else text
