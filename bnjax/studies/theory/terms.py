"""The terms that the theorems of Santurkar et al. 2018 bound, with BatchNorm and without.

At equal step and at equal loss, and only where both arms train (`claims.pairs`).
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from bnjax.frame.results import Run as Results
from bnjax.judge.claim import RATIO_RULE, Claim, Comparison
from bnjax.judge.pairs import (
    BELOW_CHANCE,
    PAIRS,
    agreement,
    at_equal_loss,
    describe,
    ratio_over_seeds,
    reasons_against,
)

RULE = (
    "median over probed steps of the ratio none/batch of {quantity} of this layer, at equal step "
    f"and at equal loss, only where both arms are {BELOW_CHANCE} and both values "
    f"are above 0; {RATIO_RULE}; "
    "supported if above 1 in both comparisons, not supported if below 1 in both, else "
    "inconclusive; inconclusive if an arm is dead or diverged; the ratio in units of each layer's "
    "own deviation (‖v‖² times its variance, the curvature times its square) is shown, not decided"
)


def gradient_squared(results: Results, norm: str, seed: int) -> np.ndarray:
    """‖∂L/∂y‖², `[probe_step, layer]`."""
    return results.select("theory.gradient_squared", norm=norm, seed=seed)


def curvature(results: Results, norm: str, seed: int) -> np.ndarray:
    """vᵀĤv along v = ∂L/∂y, `[probe_step, layer]`."""
    return results.select("theory.curvature", norm=norm, seed=seed)


class Term(NamedTuple):
    """A term that the theorems bound; larger means steeper."""

    identifier: str
    sentence: str
    source: str
    name: str
    values: Callable[[Results, str, int], np.ndarray]  # of norm and seed: [probe_step, layer]
    power: int  # of the layer's variance, which frees the term of the scale of y


TERMS = (
    Term(
        "lipschitz",
        "BatchNorm lowers the gradient by a layer's activations",
        "Santurkar et al. 2018, Theorem 4.1",
        "‖∂L/∂y‖²",
        gradient_squared,
        1,
    ),
    Term(
        "curvature",
        "BatchNorm lowers the curvature along the gradient by a layer's activations",
        "Santurkar et al. 2018, Theorem 4.2",
        "vᵀHv, v = ∂L/∂y",
        curvature,
        2,
    ),
)


def compare(results: Results, term: Term, layer: str) -> Claim:
    """Decide whether one term of one layer is larger without normalisation."""
    reasons = reasons_against(results, ("none", "batch"))
    comparisons = [ratio(results, name, term, layer) for name in PAIRS]
    free = ratio(results, "scale-free at equal loss", term, layer, free=True)
    verdict, reasons = agreement(comparisons, reasons)
    return Claim(
        identifier=f"{term.identifier}-{layer}",
        sentence=f"{term.sentence} in {layer}",
        source=term.source,
        rule=RULE.format(quantity=term.name),
        measured=describe([*comparisons, free]),
        published="an upper bound at the same weights, no number",
        verdict=verdict,
        reason="; ".join(reasons),
    )


def ratio(results: Results, name: str, term: Term, layer: str, *, free: bool = False) -> Comparison:
    """The ratio none/batch of a term in one layer, over seeds.

    Args:
      results: of a theory run with both arms.
      name: of the comparison, see `ratio_over_seeds`.
      term: what is compared.
      layer: where.
      free: in units of each layer's own deviation.
    """
    return ratio_over_seeds(
        results,
        name,
        losses=functools.partial(loss, results, layer),
        values=functools.partial(value, results, term, layer, free=free),
        above="none",
        below="batch",
    )


def loss(results: Results, layer: str, norm: str, seed: int) -> np.ndarray:
    """The loss at the probed steps."""
    return results.select("theory.loss", norm=norm, seed=seed, probed_layer=layer)


def value(
    results: Results, term: Term, layer: str, norm: str, seed: int, *, free: bool = False
) -> np.ndarray:
    """A term at the probed steps, NaN where it is not positive: no ratio says which is flatter."""
    column = results.axes["probed_layer"].tolist().index(layer)
    found = term.values(results, norm, seed)[:, column]
    found = np.where(found > 0, found, np.nan)
    variance = results.select("theory.variance", norm=norm, seed=seed, probed_layer=layer)
    return found * variance**term.power if free else found


def at_pairs(results: Results, term: Term, layer: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Losses of BatchNorm's arm at pairs of equal loss, and a term's ratio none/batch there."""
    losses = (loss(results, layer, "none", seed), loss(results, layer, "batch", seed))
    none, batch = (value(results, term, layer, norm, seed) for norm in ("none", "batch"))
    left, right = at_equal_loss(losses[0], losses[1], results.facts["chance_loss"])
    return losses[1][right], none[left] / batch[right]
