"""The claims of Huang & Yu 2020 on internal covariate shift as an earth mover distance.

Their theory bounds the distance in the units of the activations; a normaliser that makes
activations small makes that distance small too. So each comparison is made in these units and
relative to the layer's own deviation, as two claims.
"""

import dataclasses
import functools
from typing import Any

import numpy as np
import xarray

from bnjax.frame.results import Run
from bnjax.judge import compare
from bnjax.judge.compare import EQUAL_STEP
from bnjax.judge.kit import (
    RATIO,
    Above,
    Decided,
    Measured,
    NotBelow,
    OneArm,
    Quantity,
    Ratio,
    Scale,
)
from bnjax.judge.verdict import Decision, Number, having, seeds

SOURCE = "Huang & Yu 2020 (2001.02814)"
PUBLISHED = "a theorem, no number"
LOOSE, BINDING = 10.0, 2.0  # bound over distance: far from binding above the one, binding below


# By the word that stands in the names of claims; larger means more shift.
SHIFTS = {
    "layer": Quantity(
        "the sliced earth mover distance of a layer over its deviation",
        lambda run: run["earth_mover_scaled"] / run["earth_mover_deviation"],
        definition="earth_mover_scaled over earth_mover_deviation",
    ),
    "layer-absolute": Quantity(
        "the sliced earth mover distance of a layer",
        lambda run: run["earth_mover_scaled"],
        definition="earth_mover_scaled",
    ),
    "unit": Quantity(
        "the mean earth mover distance of a layer's channels over their deviation",
        lambda run: run["earth_mover_channel"] / run["earth_mover_channel_deviation"],
        definition="earth_mover_channel over earth_mover_channel_deviation",
    ),
}
MOMENTS = {
    "skewness": Quantity(
        "a step's change of the channels' skewness",
        lambda run: run["earth_mover_skewness_change"],
        definition="earth_mover_skewness_change",
    ),
    "kurtosis": Quantity(
        "a step's change of the channels' kurtosis",
        lambda run: run["earth_mover_kurtosis_change"],
        definition="earth_mover_kurtosis_change",
    ),
}


def layer_ratios(run: Run, quantity: Quantity, arms: tuple[Any, ...]) -> np.ndarray:
    """Median ratio at equal step, `[seed, layer]`; NaN where there is no pair of steps."""
    values, losses = quantity.of(run), compare.training_loss(run)
    found = []
    for seed in run.seeds:
        own = values.sel(seed=seed), losses.sel(seed=seed)
        left, right = compare.at_pairs(*own, arms, EQUAL_STEP, run.facts["chance_loss"])
        empty = np.full(left.shape[1], np.nan)
        found.append(np.median(left / right, axis=0) if len(left) else empty)
    return np.array(found)


def by_layer(quantity: Quantity, run: Run, arms: tuple[Any, ...]) -> str:
    """The ratio in each layer that has one, geometric mean over seeds; empty where none has."""
    ratios = np.exp(np.log(layer_ratios(run, quantity, arms)).mean(axis=0))
    named = zip(run.values("shown_layer"), ratios, strict=True)
    each = ", ".join(f"{layer} {ratio:.2g}" for layer, ratio in named if np.isfinite(ratio))
    return each and f"Ratio {having(arms[0])} / {having(arms[1])} at equal step: {each}"


def shown(number: Number) -> str:
    """`2.31 [1.9, 2.8]`, of one seed `2.31`."""
    ends = f" [{number.low:.3g}, {number.high:.3g}]" if number.n > 1 else ""
    return f"{number.estimate:.3g}{ends}"


def not_reduced(name: str, quantity: Quantity, *only: str) -> Ratio:
    """The claim that a normaliser leaves a shift as large as it is without."""
    return Ratio(
        identifier=f"same-{name}-{{norm}}",
        says=f"{{norm}} does not reduce {quantity.noun}",
        quantity=quantity,
        above="{norm}",
        below="none",
        but=("unitize",),
        only=only,
        rule=NotBelow(),
        notes=functools.partial(by_layer, quantity),
        source=f"{SOURCE}: BN bounds the shift and does not reduce it; no higher moment is bounded",
        published=PUBLISHED,
    )


def reduced(name: str, quantity: Quantity, rival: str) -> Ratio:
    """The claim that Unitization has less shift than BatchNorm, or without it no normalisation."""
    against = "BatchNorm" if rival == "batch" else "no normalisation"
    return Ratio(
        identifier=f"less-{name}-unitize",
        says=f"Unitization reduces {quantity.noun}, against {against}",
        quantity=quantity,
        above=rival,
        below="unitize",
        when=lambda run, norm: rival == "batch" or "batch" not in run.norms,
        notes=functools.partial(by_layer, quantity),
        source=f"{SOURCE}: Unitization bounds the shift further",
        published=PUBLISHED,
    )


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Slope(Ratio):
    """Does the ratio of two arms grow with a layer's dimension D? By the slope of log ratio, log D.

    In a network whose D falls with depth, depth may be the cause.
    """

    def measure(self, run: Run, arms: tuple[Any, ...], quantity: Quantity) -> Measured:
        """The slope of each seed over the shown layers."""
        dims = run["earth_mover_dimension"].sel(norm=arms[0]).isel(seed=0, probe_step=0).values
        if len(np.unique(dims)) < 2:
            return Measured([], [f"all shown layers have the dimension {dims[0]:g}"])
        if not (dims > 0).all():
            return Measured([], ["a layer has no dimension"])
        ratios = layer_ratios(run, quantity, arms)
        if not (np.isfinite(ratios) & (ratios > 0)).all():
            return Measured([], ["a layer has no ratio at equal step"])
        slopes = [float(np.polyfit(np.log(dims), np.log(own), 1)[0]) for own in ratios]
        return Measured([self.scale.average("slope", slopes, self.rule.threshold)], [])

    def estimate(self, run: Run, arms: tuple[Any, ...]) -> str:
        """What is estimated, as the rule says it."""
        first, second = map(self.named, arms)
        return (
            "slope by least squares over the shown layers of the logarithm of the ratio "
            f"{first} / {second} of {self.noun(run)}, median over probed steps {EQUAL_STEP.rule}, "
            "against log D (earth_mover_dimension; in a network whose D falls with depth, depth "
            f"may be the cause); the loss is {self.noun(run, self.loss)}; inconclusive if all D "
            "are equal, or a layer has no ratio in some seed"
        )

    def tell(self, run: Run, arms: tuple[Any, ...], quantity: Quantity, found: Measured) -> str:
        """What was measured, in a sentence."""
        slope = ", ".join([*map(shown, found.numbers), *found.missing])
        return f"The slope is {slope} ({seeds(len(run.seeds))})" if found.numbers else slope


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class Far(OneArm):
    """Is a bound, in multiples of what it bounds, far above it in every layer?"""

    def decide(self, run: Run, noun: str, values: xarray.DataArray) -> Decided:
        """The median over steps of each layer and seed."""
        rule = (
            f"{noun}, median over probed steps; {RATIO.rule()}; supported if above {LOOSE:g} in "
            f"all shown layers, not supported if below {BINDING:g} in any, else inconclusive, also "
            "where BatchNorm does not bound a layer (its bound is missing) or a distance was not "
            "measured at some step"
        )
        if not np.isfinite(run["earth_mover_exact"]).all():
            why = "no distance in all dimensions was measured: --exact measures it"
            return Decided(rule, [], "", "inconclusive", why)
        medians = values.median("probe_step", skipna=False)
        numbers = [
            RATIO.average(layer, medians.sel(shown_layer=layer).values.tolist(), LOOSE)
            for layer in run.values("shown_layer")
        ]
        decision: tuple[Decision, str] = "supported", ""
        if any(RATIO.side(number, BINDING) == "not supported" for number in numbers):
            decision = "not supported", f"within a factor of {BINDING:g} in some layer"
        elif bare := [number.name for number in numbers if np.isnan(number.estimate)]:
            decision = "inconclusive", f"no BatchNorm bounds {', '.join(bare)}: choose other layers"
        elif any(RATIO.side(number, LOOSE) != "supported" for number in numbers):
            decision = "inconclusive", f"between {BINDING:g} and {LOOSE:g}, or layers differ"
        bound = [number for number in numbers if not np.isnan(number.estimate)]
        each = ", ".join(f"{number.name} {shown(number)}" for number in bound)
        measured = f"the bound is so many times the distance: {each} ({seeds(len(run.seeds))})"
        return Decided(rule, numbers, measured, *decision)


CLAIMS = (
    *(not_reduced(name, quantity) for name, quantity in SHIFTS.items()),
    *(
        reduced(name, quantity, rival)
        for rival in ("batch", "none")
        for name, quantity in SHIFTS.items()
    ),
    *(not_reduced(name, quantity, "batch") for name, quantity in MOMENTS.items()),
    Slope(
        identifier="dimension-batch",
        says="BatchNorm controls the shift the less, the more dimensions a layer has",
        quantity=SHIFTS["layer"],
        above="batch",
        below="none",
        at=(EQUAL_STEP,),
        rule=Above(0.0),
        scale=Scale(0.1),
        notes=functools.partial(by_layer, SHIFTS["layer"]),
        source=f"{SOURCE}: its bound grows with the square root of the dimension D",
        published=PUBLISHED,
    ),
    Far(
        identifier="bound-{norm}",
        says="the bound that {norm} sets by γ and β does not control the shift: it is far above",
        quantity=Quantity(
            "(√(2D)·max|γ| + ‖β − β'‖ in a dense layer, 2√D·max|γ| + √S·‖β − β'‖ with S pixels) "
            "over the earth mover distance in all dimensions",
            lambda run: run["earth_mover_norm_bound"] / run["earth_mover_exact"],
            definition="earth_mover_norm_bound over earth_mover_exact",
        ),
        only=("batch",),
        source=f"{SOURCE}: the control is effective for few dimensions only",
        published=PUBLISHED,
    ),
)
