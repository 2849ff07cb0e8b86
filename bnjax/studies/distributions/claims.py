"""The claims on the stability of activations: Santurkar et al. 2018, Fig. 1c, 2, 6, 8 and 9.

Stability is measured in two ways: how far a layer's distribution moves from one probe to the next,
and how far a single step moves the mean and variance of its units. All is relative to the layer's
own deviation, since a network whose activations are small moves them little in absolute terms.
Behind BatchNorm a unit's mean and variance over its own batch are β and γ² by construction, so what
a step changes in them is its change of β and γ² alone.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from bnjax.frame.results import Results
from bnjax.judge.claim import RATIO_RULE, Claim, Comparison, Verdict, decide_ratio, ratio_bounds
from bnjax.judge.pairs import (
    BELOW_CHANCE,
    PAIRS,
    beside_none,
    describe,
    probed_loss,
    ratio_over_seeds,
    reasons_against,
)

LEVELS = tuple(float(level) for level in range(5, 100, 5))  # percentiles a drift is taken over
MARGINAL = 2.0  # a difference of stability is marginal within this factor
RULE = (
    "median over probed steps of the ratio {above}/{below} of {quantity}, in every shown layer, at "
    f"equal step and at equal loss, only where both arms are {BELOW_CHANCE}; "
    f"{RATIO_RULE}; {{verdict}}; "
    "inconclusive otherwise, or if an arm is dead or diverged"
)
ABOVE_ONE = "supported if above 1 in all of them, not supported if below 1 in all of them"
NEAR_ONE = (
    f"supported if within a factor of {MARGINAL:g} in all of them, not supported if outside in "
    "any of them"
)


class Quantity(NamedTuple):
    """Something of one probed step and layer that a claim compares; larger means less stable."""

    identifier: str
    name: str
    values: Callable[[Results, str, int, str], np.ndarray]  # of norm, seed, layer: [probe_step]


class Ratios(NamedTuple):
    """A quantity of one arm over that of another, for each layer and kind of comparison."""

    found: dict[str, Comparison]  # by layer and comparison
    reasons: list[str]  # why no claim can rest on them


def field(results: Results, name: str, norm: str, seed: int, layer: str) -> np.ndarray:
    """A measured field of one layer, `[probe_step, …]`; `name` holds the probe's name."""
    return results.select(name, norm=norm, seed=seed, shown_layer=layer)


def drift(
    results: Results, norm: str, seed: int, layer: str, levels: str = "percentiles"
) -> np.ndarray:
    r"""How far a layer's distribution moves to the next probe, in its own deviations.

    $W_1(p, q) / \bar\sigma$ with the earth mover distance $W_1 = \int_0^1 |P^{-1} - Q^{-1}| du$
    taken as the mean distance of the percentiles 5, 10, …, 95 of the two probes, and
    $\bar\sigma$ the mean of the two deviations. The batch differs from probe to probe in every arm
    alike, so a drift holds the sampling of the batches too.

    Args:
      results: of a run with the probe `distributions`.
      norm: the arm.
      seed: likewise.
      layer: one of the shown ones.
      levels: `percentiles`, or `channel_percentiles` for those of one unit.

    Returns:
      `[probe_step]`; NaN at the last one.
    """
    quantiles = field(results, f"distributions.{levels}", norm, seed, layer)
    deviation = field(results, "distributions.deviation", norm, seed, layer)
    moved = np.abs(np.diff(quantiles, axis=0)).mean(axis=-1)
    return np.append(2 * moved / (deviation[1:] + deviation[:-1]), np.nan)


def unit_drift(results: Results, norm: str, seed: int, layer: str) -> np.ndarray:
    """`drift` of one unit's activations."""
    return drift(results, norm, seed, layer, "channel_percentiles")


def mean_change(results: Results, norm: str, seed: int, layer: str) -> np.ndarray:
    """|μ'_j − μ_j| of one step, averaged over units, in the layer's deviations."""
    deviation = field(results, "distributions.deviation", norm, seed, layer)
    return field(results, "distributions.mean_change", norm, seed, layer) / deviation


def variance_change(results: Results, norm: str, seed: int, layer: str) -> np.ndarray:
    """|σ'_j² − σ_j²| of one step, averaged over units, over the layer's squared deviation."""
    deviation = field(results, "distributions.deviation", norm, seed, layer)
    return field(results, "distributions.variance_change", norm, seed, layer) / deviation**2


QUANTITIES = (
    Quantity("drift", "the earth mover distance to the next probe", drift),
    Quantity("unit", "the earth mover distance of one unit to the next probe", unit_drift),
    Quantity("mean", "a step's change of the units' means (behind batch: of β)", mean_change),
    Quantity(
        "variance",
        "a step's change of the units' variances (behind batch: of γ²)",
        variance_change,
    ),
)


def claims(results: Results) -> list[Claim]:
    """The claims of Fig. 1c, 6, 8 and 9 for every normaliser that ran beside `none`."""
    compared = beside_none(results)
    stable = [decide(results, quantity, norm) for norm in compared for quantity in QUANTITIES]
    return [*stable, *([marginal(results)] if "batch" in compared else [])]


def decide(results: Results, quantity: Quantity, norm: str) -> Claim:
    """Decide whether a normaliser has more stable activations, or for ℓp norms less stable ones."""
    if norm in ("l1", "l2", "linf"):
        return compare(
            results,
            quantity,
            above=norm,
            below="none",
            identifier=f"fig6-{quantity.identifier}-{norm}",
            sentence=f"{norm} has less stable activations than no normalisation",
            source="Santurkar et al. 2018, §3.3 and Fig. 6",
        )
    return compare(
        results,
        quantity,
        above="none",
        below=norm,
        identifier=f"stable-{quantity.identifier}-{norm}",
        sentence=f"{norm} has more stable activations than no normalisation",
        source="Ioffe & Szegedy 2015, Fig. 1b, c; Santurkar et al. 2018, Fig. 1c, 8, 9 doubts it",
    )


def measure(results: Results, quantity: Quantity, above: str, below: str) -> Ratios:
    """The ratio of a quantity in every shown layer, at equal step and at equal loss."""
    reasons = reasons_against(results, (above, below))
    found = {
        f"{layer} {name}": ratio_over_seeds(
            results,
            name,
            losses=functools.partial(probed_loss, results),
            values=functools.partial(of_layer, results, quantity, str(layer)),
            above=above,
            below=below,
        )
        for layer in results.axes["shown_layer"]
        for name in PAIRS
    }
    return Ratios(found, reasons or sorted({c.reason for c in found.values() if c.reason}))


def of_layer(results: Results, quantity: Quantity, layer: str, norm: str, seed: int) -> np.ndarray:
    """A quantity of one layer, `[probe_step]`."""
    return quantity.values(results, norm, seed, layer)


def compare(
    results: Results,
    quantity: Quantity,
    *,
    above: str,
    below: str,
    identifier: str,
    sentence: str,
    source: str,
) -> Claim:
    """Decide whether a quantity is larger in one arm than in another."""
    found, reasons = measure(results, quantity, above, below)
    verdicts = {
        name: decide_ratio(c.ratio) if c.ratio else "inconclusive" for name, c in found.items()
    }
    verdict: Verdict = "inconclusive"
    if not reasons and len(set(verdicts.values())) == 1:
        verdict = next(iter(verdicts.values()))
    if not reasons and verdict == "inconclusive":
        grouped = {
            each: ", ".join(name for name, own in verdicts.items() if own == each)
            for each in dict.fromkeys(verdicts.values())
        }
        reasons = [f"{each} for {names}" for each, names in grouped.items()]
    described = describe(c._replace(name=name) for name, c in found.items())
    return Claim(
        identifier=identifier,
        sentence=f"{sentence}, by {quantity.name}",
        source=source,
        rule=RULE.format(above=above, below=below, quantity=quantity.name, verdict=ABOVE_ONE),
        measured=f"{above}/{below}: {described}",
        published="curves without numbers",
        verdict=verdict,
        reason="; ".join(reasons),
    )


def marginal(results: Results) -> Claim:
    """Decide whether BatchNorm's difference in stability is marginal."""
    quantities = [quantity for quantity in QUANTITIES if quantity.identifier != "unit"]
    measured = {q.identifier: measure(results, q, "none", "batch") for q in quantities}
    reasons = list(dict.fromkeys(r for ratios in measured.values() for r in ratios.reasons))
    bounds = {
        f"{identifier} in {name}": ratio_bounds(c.ratio)
        for identifier, ratios in measured.items()
        for name, c in ratios.found.items()
        if c.ratio
    }
    outside = [
        name for name, (low, high) in bounds.items() if low > MARGINAL or high < 1 / MARGINAL
    ]
    inside = all(low > 1 / MARGINAL and high < MARGINAL for low, high in bounds.values())
    verdict: Verdict = "inconclusive"
    if not reasons and (inside or outside):
        verdict = "supported" if inside else "not supported"
        reasons = [] if inside else [f"beyond a factor of {MARGINAL:g}: {', '.join(outside)}"]
    elif not reasons:
        reasons = [f"an interval holds a factor of {MARGINAL:g}"]
    extremes = [value for pair in bounds.values() for value in pair]
    return Claim(
        identifier="fig1c-batch",
        sentence="the difference in distributional stability that batch makes is marginal",
        source="Santurkar et al. 2018, §2 and Fig. 1c",
        rule=RULE.format(
            above="none",
            below="batch",
            quantity=", ".join(quantity.name for quantity in quantities),
            verdict=NEAR_ONE,
        ),
        measured=f"none/batch from {min(extremes):.3g} to {max(extremes):.3g}, with intervals"
        if extremes
        else "not measured",
        published="'marginal', without a number",
        verdict=verdict,
        reason="; ".join(reasons),
    )
