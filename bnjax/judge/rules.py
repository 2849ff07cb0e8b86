"""How measured numbers decide a claim: above a limit, not below it, within two limits."""

from collections.abc import Sequence
from typing import NamedTuple, Protocol, runtime_checkable

from bnjax.judge.verdict import Decision, Number, Scale


@runtime_checkable
class Rule(Protocol):
    """Decides on the numbers of a claim, and says how."""

    @property
    def threshold(self) -> float:
        """The limit that is shown beside each number."""

    def decide(self, numbers: Sequence[Number], scale: Scale) -> tuple[Decision, str]:
        """The decision, and why it is none."""

    def words(self, scale: Scale, several: bool) -> str:
        """The rule as a reader sees it; `several`: there is more than one number."""


class Above(NamedTuple):
    """Supported if every number lies above a limit, not supported if every one lies below."""

    threshold: float

    def decide(self, numbers: Sequence[Number], scale: Scale) -> tuple[Decision, str]:
        """All numbers must agree."""
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
        """The rule as a reader sees it."""
        every, limit = " in every comparison" if several else "", scale.show(self.threshold)
        return (
            f"supported if above {limit}{every}, not supported if below{every}, else inconclusive"
        )


class NotBelow(NamedTuple):
    """That nothing is smaller needs evidence: that no difference is seen is no evidence of none."""

    threshold: float = 1.0

    def decide(self, numbers: Sequence[Number], scale: Scale) -> tuple[Decision, str]:
        """Supported if no interval reaches a tenth below, not supported if all lie below."""
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
        """The rule as a reader sees it."""
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
        """All inside, or at least one wholly outside."""
        bounds = {number.name: scale.bounds(number) for number in numbers}
        if all(self.low < low and high < self.threshold for low, high in bounds.values()):
            return "supported", ""
        outside = [n for n, (a, b) in bounds.items() if a > self.threshold or b < self.low]
        if outside:
            return "not supported", f"outside: {', '.join(outside)}"
        return "inconclusive", "an interval holds one of the limits"

    def words(self, scale: Scale, several: bool) -> str:
        """The rule as a reader sees it."""
        every, some = ("every interval", "one") if several else ("the interval", "it")
        low, high = scale.show(self.low), scale.show(self.threshold)
        return (
            f"supported if {every} lies between {low} and {high}, not supported if {some} lies "
            "outside, else inconclusive"
        )
