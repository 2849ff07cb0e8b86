"""Claims as declarations: each decides, and writes rule, measured sentence and reason itself.

A study's `CLAIMS` is a tuple of these, or of plain functions `run -> Verdict | Iterable[Verdict]`:

    CLAIMS = (
        Ratio(
            identifier="fig4c-{norm}",
            says="{norm} makes the loss smoother",
            quantity=Quantity("the largest β(η)", largest_smoothness),
            source="Santurkar et al. 2018, Fig. 4c",
        ),
    )

`verdicts(run, CLAIMS)` judges a run: each claim for each normaliser beside `none`, and for each
learning rate of a run that has several.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import xarray

from bnjax.frame.results import Run, late
from bnjax.judge import compare
from bnjax.judge.compare import EQUAL_LOSS, EQUAL_STEP, SAME_STEP, Field, Pairing
from bnjax.judge.verdict import (
    RATIO,
    SHARE,
    Above,
    Decision,
    NotBelow,
    Number,
    Rule,
    Scale,
    Verdict,
    Within,
    having,
    label,
    seeds,
    sentence,
)

# fmt: off
__all__ = [
    "EQUAL_LOSS", "EQUAL_STEP", "FINITE", "PLAIN_SGD", "RATIO", "SAME_STEP", "SHARE", "TRAINS",
    "Above", "AtMost", "Condition", "Decided", "Difference", "Gate", "Level", "Near",
    "NotBelow", "OneArm", "Quantity", "Ratio", "Scale", "Share", "Within", "each_rate",
    "single", "verdicts", "whole_run",
]
# fmt: on

ABOVE_ONE, ABOVE_ZERO = Above(1.0), Above(0.0)
Words: TypeAlias = str | Callable[[Run], str]
Judge: TypeAlias = Callable[[Run], Verdict | Iterable[Verdict]]


class Quantity(NamedTuple):
    """What a claim is about."""

    noun: Words  # as in "the width of the loss band"
    of: Field  # [norm, seed, probe_step, …], or [norm, seed] of one value a run
    less: str = "smaller"
    more: str = "larger"
    show: Callable[[float], str] = "{:.3g}".format
    definition: Words = ""  # from the arrays of `results.nc`, for the rule


class Condition(NamedTuple):
    """What has to hold beside the numbers; else the claim is inconclusive."""

    rule: str  # after "inconclusive if"
    why_not: Callable[[Run, tuple[Any, ...]], str]  # of the arms; empty: it holds
    of: tuple[Decision, ...] = ("supported", "not supported", "inconclusive")  # verdicts it bars


class Gate(NamedTuple):
    """What every arm of a claim must be."""

    why_not: Callable[..., str]  # as `compare.why_not_trained`
    rule: str


TRAINS = Gate(
    compare.why_not_trained,
    f"inconclusive if in some seed a network {compare.DIVERGED} or is {compare.DEAD}",
)
FINITE = Gate(compare.why_diverged, f"inconclusive if in some seed a network {compare.DIVERGED}")
PLAIN_SGD = Condition(
    "the optimiser is not plain SGD",
    lambda run, arms: (
        ""
        if run.options["optimizer"] == "sgd"
        else f"2/lr is the edge of plain SGD, not of {run.options['optimizer']}"
    ),
)
TRAINING_LOSS = Quantity(
    "the training loss of the step's minibatch, without any penalty (train_loss)",
    compare.training_loss,
)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Claim:
    """What all kinds of claim share; `{norm}` in a text stands for the normaliser.

    Attributes:
      identifier: e.g. `fig4a-{norm}`.
      says: the published sentence, with `{norm}` for its label (`{above}`, `{below}` for arms).
      quantity: what is measured.
      source: of the sentence.
      published: the published numbers, or a function of run and normaliser that tells them.
      only: normalisers that the claim is about; empty: all.
      but: normalisers that it is not about.
      when: of run and normaliser: whether the claim is made at all.
      gate: what its arms must be.
      conditions: what else must hold.
      notes: of run and arms: what the measured sentence ends with, shown and not decided.
    """

    identifier: str
    says: str
    quantity: Quantity
    source: str
    published: str | Callable[[Run, str], str] = ""
    only: tuple[str, ...] = ()
    but: tuple[str, ...] = ()
    when: Callable[[Run, str], bool] = lambda run, norm: True
    gate: Gate = TRAINS
    conditions: tuple[Condition, ...] = ()
    notes: Callable[[Run, tuple[Any, ...]], str] = lambda run, arms: ""

    def norms(self, run: Run, *fixed: Any) -> list[str]:
        """The normalisers that the claim is about, without the fixed arms."""
        apart = {*self.but, *fixed}
        return [n for n in run.norms if n not in apart and (not self.only or n in self.only)]

    def noun(self, run: Run, quantity: Quantity | None = None) -> str:
        noun = (quantity or self.quantity).noun
        return noun if isinstance(noun, str) else noun(run)

    def defined(self, run: Run, quantity: Quantity) -> str:
        """How a quantity is taken from the arrays, or nothing."""
        text = quantity.definition
        return text if isinstance(text, str) else text(run)

    def conclude(
        self, run: Run, norm: str, arms: tuple[Any, ...], found: "Decided", gated: Iterable[str]
    ) -> Verdict:
        """The verdict, inconclusive where a gate or a condition speaks against any."""
        barred = [*filter(None, gated)] or [
            why for c in self.conditions if found.decision in c.of and (why := c.why_not(run, arms))
        ]
        defined = self.defined(run, self.quantity)
        also = [f"measured as {defined}"] if defined else []
        also += [self.gate.rule, *(f"inconclusive if {c.rule}" for c in self.conditions)]
        words = {"norm": label(norm), **dict(zip(("above", "below"), map(str, arms), strict=False))}
        return Verdict(
            self.identifier.format_map({**words, "norm": norm}),
            sentence(self.says.format_map(words)),
            self.source,
            "; ".join([sentence(found.rule), *also]),
            ". ".join(filter(None, (sentence(found.measured), self.notes(run, arms)))),
            self.published if isinstance(self.published, str) else self.published(run, norm),
            "inconclusive" if barred else found.decision,
            "; ".join(dict.fromkeys(barred)) if barred else found.reason,
            tuple(found.numbers),
        )


class Decided(NamedTuple):
    """What numbers say, before gates and conditions."""

    rule: str
    numbers: Sequence[Number]
    measured: str
    decision: Decision
    reason: str


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Ratio(Claim):
    """Is a quantity larger in one arm than in another, by ratio?

    A quantity of each probed step is compared at equal step and at equal loss, and both must agree;
    of a quantity with one value a run, that value. One that is infinite was not reached within the
    run; it counts with the run's number of steps, which bounds the ratio from one side.

    Attributes:
      above: the arm of the numerator.
      below: that of the denominator.
      axis: along which the arms lie; if not `norm`, each normaliser has the claim by itself.
      arm: how an arm of another axis is called, e.g. `under {arm} statistics`.
      at: how probed steps are paired; empty for one value a run.
      loss: that steps are paired by.
      each: an axis in every place of which the claim must hold; other axes count as more pairs.
      rule: how the numbers decide.
      scale: how numbers are averaged over seeds.
      shows: further quantities that are compared and shown, not decided.
    """

    above: Any = "none"
    below: Any = "{norm}"
    axis: str = "norm"
    arm: str = "{arm}"
    at: tuple[Pairing, ...] = (EQUAL_STEP, EQUAL_LOSS)
    loss: Quantity = TRAINING_LOSS
    each: str = ""
    rule: Rule = ABOVE_ONE
    scale: Scale = RATIO
    shows: tuple[Quantity, ...] = ()

    def __call__(self, run: Run) -> Iterator[Verdict]:
        fixed = (self.above, self.below)
        by_norm = self.axis == "norm"
        once = "{norm}" not in fixed if by_norm else not run.norms
        for norm in [""] if once else self.norms(run, *(fixed if by_norm else ())):
            own = run.sel(norm=norm) if norm and not by_norm else run
            arms = tuple(norm if arm == "{norm}" else arm for arm in fixed)
            if {*arms} <= {*own.values(self.axis)} and self.when(own, norm):
                yield self.judge(own, norm, arms)

    def judge(self, run: Run, norm: str, arms: tuple[Any, ...]) -> Verdict:
        found = self.measure(run, arms, self.quantity)
        decision: tuple[Decision, str] = "inconclusive", "; ".join(found.missing)
        if not found.missing:
            decision = self.rule.decide(found.numbers, self.scale)
            if decision[0] == found.barred:
                decision = "inconclusive", "a network that did not get there only bounds the ratio"
        numbers, sentences = [*found.numbers], [self.tell(run, arms, self.quantity, found)]
        for quantity in self.shows:
            more, noun = self.measure(run, arms, quantity), self.noun(run, quantity)
            numbers += [n._replace(name=f"{noun} {n.name}", threshold=None) for n in more.numbers]
            sentences.append(f"Shown, not decided: {self.tell(run, arms, quantity, more)}")
        several = len(self.at) > 1 or bool(self.each)
        rules = [self.estimate(run, arms), self.scale.rule(), self.rule.words(self.scale, several)]
        rules += [
            f"shown, not decided: {self.noun(run, quantity)}, {self.defined(run, quantity)}"
            for quantity in self.shows
        ]
        own = f"{label(norm)} " if self.axis != "norm" and norm else ""
        trained = {arm: own + self.named(arm) for arm in arms}
        if self.axis not in run["train_loss"].dims:
            trained = {norm: label(norm)}
        gated = (self.gate.why_not(run, arm, self.axis, name) for arm, name in trained.items())
        decided = Decided("; ".join(rules), numbers, ". ".join(sentences), *decision)
        return self.conclude(run, norm, arms, decided, gated)

    def measure(self, run: Run, arms: tuple[Any, ...], quantity: Quantity) -> "Measured":
        """The quantity of one arm against the other, by each pairing and place."""
        values = quantity.of(run)
        places = values[self.each].values.tolist() if self.each in values.dims else [""]
        if not self.at:
            return self.measure_ends(run, arms, values)
        found = Measured([], [])
        losses = self.loss.of(run)
        for place, pairing in itertools.product(places, self.at):
            here = values.sel({self.each: place}) if place != "" else values
            ratios = compare.seed_ratios(run, here, arms, pairing, losses=losses, axis=self.axis)
            name = f"{place} at {pairing.name}".strip()
            if np.isnan(ratios).any():
                few = f"fewer than {pairing.minimum} pairs of steps at {pairing.name}"
                found.missing.append(few)
            else:
                found.numbers.append(self.scale.average(name, ratios, self.rule.threshold))
        return found._replace(missing=[*dict.fromkeys(found.missing)])

    def measure_ends(self, run: Run, arms: tuple[Any, ...], values: xarray.DataArray) -> "Measured":
        """The same of one value a run; one that is infinite counts with the length of the run."""
        left, right = (values.sel({self.axis: arm}).values.astype(float) for arm in arms)
        ends = [*zip(arms, (left, right), strict=True)]
        at_least, at_most = bool(np.isinf(left).any()), bool(np.isinf(right).any())
        if at_least and at_most:
            return Measured([], ["both have a seed that never got there"], ends)
        steps = run["train_loss"].sizes["step"]
        left, right = (np.where(np.isinf(side), steps, side) for side in (left, right))
        with np.errstate(divide="ignore", invalid="ignore"):
            found = left / right if self.scale.ratio else left - right
        positive = (left > 0).all() and (right > 0).all()
        if not np.isfinite(found).all() or (self.scale.ratio and not positive):
            return Measured([], ["a value is missing, or not positive"], ends)
        number = self.scale.average("at the end", found.tolist(), self.rule.threshold)
        bound = "at least " if at_least else "at most " if at_most else ""
        return Measured([number], [], ends, bound)

    def estimate(self, run: Run, arms: tuple[Any, ...]) -> str:
        first, second = map(self.named, arms)
        sign = "/" if self.scale.ratio else "−"
        what = f"{self.noun(run)}, {first} {sign} {second}"
        every = f", at each {self.each.replace('_', ' ')}" if self.each else ""
        if not self.at:
            bad = (
                " or not positive; an infinite value counts as the run's number of steps and only "
                "bounds the ratio, so that it decides one way, or none if both arms have one"
            )
            bad = bad if self.scale.ratio else ""
            return f"{what}{every}; inconclusive if a value is missing{bad}"
        own = {"norm", "seed", "probe_step", self.axis, self.each}
        dims = [str(axis) for axis in self.quantity.of(run).dims if axis not in own]
        over = " and ".join(["steps", *(f"{axis.replace('_', ' ')}s" for axis in dims)])
        pairs = ", and ".join(pairing.rule for pairing in self.at)
        loss = f"; the loss is {self.noun(run, self.loss)}" if self.at != (SAME_STEP,) else ""
        fewest = max(pairing.minimum for pairing in self.at)
        return (
            f"{what}, median over probed {over}{every}, {pairs}{loss}; the median is that of the "
            "logarithms of the ratios of positive values; inconclusive if a seed has fewer than "
            f"{fewest} pairs of steps or such ratios"
        )

    def tell(self, run: Run, arms: tuple[Any, ...], quantity: Quantity, found: "Measured") -> str:
        about = 1 if self.below == "{norm}" else 0
        subject, other = self.having(arms[about]), self.having(arms[1 - about])
        ends = [f"{self.named(arm)} {' '.join(map(quantity.show, own))}" for arm, own in found.ends]
        if not found.numbers:
            return ", ".join(ends) or f"{self.noun(run, quantity)}: {', '.join(found.missing)}"
        parts, said = [], ""
        for number in found.numbers:
            size, word = self.scale.against(number, about == 1, found.bound)
            word = quantity.more if word == "more" else quantity.less if word else ""
            where = number.name if self.at else ""
            parts.append(" ".join(filter(None, (size, word if word != said else "", where))))
            said = word
        return (
            f"{sentence(subject)} {self.noun(run, quantity)} is {', '.join(parts)} than {other} "
            f"({'; '.join([*filter(None, [', '.join(ends)]), seeds(found.numbers[0].n)])})"
        )

    def named(self, arm: Any) -> str:
        return label(arm) if self.axis == "norm" else self.arm.format(arm=arm)

    def having(self, arm: Any) -> str:
        return having(arm) if self.axis == "norm" else self.arm.format(arm=arm)


class Measured(NamedTuple):
    """Two arms compared."""

    numbers: list[Number]
    missing: list[str]  # why there is no number
    ends: Sequence[tuple[Any, np.ndarray]] = ()  # of one value a run: each arm's, by seed
    bound: str = ""  # `at least ` or `at most `: a value was not reached within the run

    @property
    def barred(self) -> str:
        return {"at least ": "not supported", "at most ": "supported"}.get(self.bound, "")


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Difference(Ratio):
    """Is a quantity with one value a run larger in one arm than in another, by difference?"""

    at: tuple[Pairing, ...] = ()
    rule: Rule = ABOVE_ZERO
    scale: Scale = SHARE


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class OneArm(Claim):
    """A claim on each normaliser by itself.

    Attributes:
      where: values of other axes at which the run is judged; a run without them is not.
    """

    where: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __call__(self, run: Run) -> Iterator[Verdict]:
        if any(value not in run.values(axis) for axis, value in self.where.items()):
            return
        for norm in self.norms(run) if run.norms else [""]:
            own = run.sel(**self.where, **({"norm": norm} if norm else {}))
            if self.when(own, norm):
                found = self.decide(own, self.noun(own), self.quantity.of(own))
                name = label(norm) or ", ".join(map(str, self.where.values()))
                why = self.gate.why_not(own, norm, "norm", name)
                yield self.conclude(own, norm, (norm,), found, [why])

    def decide(self, run: Run, noun: str, values: xarray.DataArray) -> Decided:
        """Rule, numbers, what was measured, and the decision, of one arm's values."""
        raise NotImplementedError


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Level(OneArm):
    """Does a value, one a run, lie above a limit or between two?"""

    rule: Rule
    scale: Scale = SHARE

    def decide(self, run: Run, noun: str, values: xarray.DataArray) -> Decided:
        rule = f"{noun}; {self.scale.rule()}; {self.rule.words(self.scale, False)}"
        if not np.isfinite(values).all():
            return Decided(rule, [], "", "inconclusive", "a value is not finite")
        number = self.scale.average(noun, values.values.tolist(), self.rule.threshold)
        centre, low, high = map(self.quantity.show, number[1:4])
        ends = f" [{low}, {high}]" if number.n > 1 else ""
        measured = f"{noun} is {centre}{ends} ({seeds(number.n)})"
        return Decided(rule, [number], measured, *self.rule.decide([number], self.scale))


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Near(OneArm):
    """Does a value stand near a target all through the last quarter of the probed steps?

    Attributes:
      target: where it should stand.
      within: how near.
    """

    target: float
    within: float

    def decide(self, run: Run, noun: str, values: xarray.DataArray) -> Decided:
        rule = (
            f"{noun}, median over seeds: supported if within {self.within:g} of {self.target:g} at "
            "every probe of the last quarter (rounded down), else inconclusive"
        )
        last = late(values, "probe_step").median("seed", skipna=False).values
        if not np.isfinite(last).all():
            return Decided(rule, [], "", "inconclusive", "a value is not finite")
        low, high, n = float(last.min()), float(last.max()), len(run.seeds)
        numbers = [
            single(f"{noun}, {end}", x, n, self.target)
            for end, x in zip(("smallest", "largest"), (low, high), strict=True)
        ]
        measured = f"{noun} is {low:.3g} to {high:.3g} in the last quarter of the run ({seeds(n)})"
        if (np.abs(last - self.target) < self.within).all():
            return Decided(rule, numbers, measured, "supported", "")
        side = "below" if high < self.target else "above" if low > self.target else "around"
        reason = f"it is {side} {self.target:g}, and not within {self.within:g} at every late probe"
        return Decided(rule, numbers, measured, "inconclusive", reason)


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Share(OneArm):
    """Does something (flags or shares; NaN: not measured) hold in a share of all cases?

    Attributes:
      at_least: the share from which on it is said to hold, in every seed.
    """

    at_least: float

    def decide(self, run: Run, noun: str, values: xarray.DataArray) -> Decided:
        rule = (
            f"{noun}, share of all that were measured: supported if {self.at_least:.0%} or more in "
            "every seed that measured any, not supported if less in every one, else inconclusive"
        )
        shares = [float(own.mean()) for own in values.astype(float) if own.notnull().any()]
        if not shares:
            return Decided(rule, [], "", "inconclusive", "nothing was measured")
        spread = f", from {min(shares):.1%} to {max(shares):.1%}" if len(shares) > 1 else ""
        measured = f"{noun}: {np.mean(shares):.1%}{spread} ({seeds(len(shares))})"
        held = {share >= self.at_least for share in shares}
        decision: Decision = "supported" if held == {True} else "not supported"
        if len(held) > 1:
            decision = "inconclusive"
        numbers = [SHARE.average(noun, shares, self.at_least)]
        return Decided(rule, numbers, measured, decision, "seeds differ" if len(held) > 1 else "")


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class AtMost(OneArm):
    """Is every value (NaN: not measured) at most a limit, as rounding is?"""

    limit: Callable[[Run], float]

    def decide(self, run: Run, noun: str, values: xarray.DataArray) -> Decided:
        limit = self.limit(run)
        rule = (
            f"{noun}: supported if at most {limit:g} wherever it was measured, in every seed, else "
            "not supported; inconclusive if nothing was measured"
        )
        if not values.notnull().any():
            return Decided(rule, [], "", "inconclusive", "nothing was measured")
        largest, n = float(values.max()), len(run.seeds)
        decision: Decision = "supported" if largest <= limit else "not supported"
        measured = f"{noun} is at most {largest:.2g}, median {float(values.median()):.2g}"
        numbers = [single(f"{noun}, largest", largest, n, limit)]
        return Decided(rule, numbers, f"{measured} ({seeds(n)})", decision, "")


def single(name: str, value: float, n: int, threshold: float | None = None) -> Number:
    """A number without an interval: an extreme or a median over seeds."""
    return Number(name, value, math.nan, math.nan, n, "", threshold)


def whole_run(claim: Judge) -> Judge:
    """Mark a plain function that judges all learning rates together."""
    claim.whole_run = True  # type: ignore[attr-defined]
    return claim


def each_rate(run: Run) -> Iterator[tuple[str, Run]]:
    """The learning rates of a run, with the end of their names: `("lr0.1", run)`, `("", run)`."""
    if "lr" not in run.data.dims:
        yield "", run
    else:
        for lr in run.values("lr"):
            yield f"lr{lr:g}", run.sel(lr=lr)


def verdicts(run: Run, claims: Iterable[Judge]) -> list[Verdict]:
    """Judge a run.

    Args:
      run: a finished run.
      claims: declarations of this module, or plain functions.

    Returns:
      One `Verdict` for each claim, for each normaliser that it is about, at each learning rate; of
      a run with an axis `lr` the identifier ends in `-lr0.1` and the sentence in ` (lr 0.1)`.
    """
    claims, found = [*claims], []
    for rate, here in each_rate(run):
        for claim in claims:
            if not getattr(claim, "whole_run", False):
                for one in as_verdicts(claim(here)):
                    if rate:
                        said = f"{one.sentence} (lr {rate[2:]})"
                        one = one._replace(identifier=f"{one.identifier}-{rate}", sentence=said)
                    found.append(one)
    for claim in claims:
        if getattr(claim, "whole_run", False):
            found += as_verdicts(claim(run))
    return found


def as_verdicts(found: Verdict | Iterable[Verdict]) -> list[Verdict]:
    return [found] if isinstance(found, Verdict) else [*found]
