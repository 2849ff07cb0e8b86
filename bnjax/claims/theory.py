"""The theorems of Santurkar et al. 2018, decided on the arrays of a theory run.

The equalities are decided by their residuals, the assumptions of Theorem 4.2 by how often they
hold, and the comparison of networks as in `claims.landscape`: at equal step and at equal loss, and
only where both arms train.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from bnjax.claims.claim import Claim, Comparison, Verdict, decide_ratio, format_interval, interval
from bnjax.claims.landscape import (
    MINIMUM_PAIRS,
    Quantity,
    at_equal_loss,
    at_equal_step,
    why_not_trained,
)
from bnjax.runs.results import Results

TOLERANCE = {True: 1e-10, False: 1e-3}  # of a relative residual, in float64 and in float32
USUAL = 0.95  # an assumption that holds at least so often is said to hold

RULE = (
    "median over probed steps of the ratio none/batch of {quantity} of this layer, at equal step "
    "and at equal loss, only where both arms are below 0.9 of the loss of chance and both values "
    "are above 0; geometric mean over seeds, 95 % t interval (one seed: a factor of 1.1); "
    "supported if above 1 in both comparisons, not supported if below 1 in both, else "
    "inconclusive; inconclusive if an arm is dead or diverged; the ratio in units of each layer's "
    "own deviation (‖v‖² times its variance, the curvature times its square) is shown, not decided"
)


class Theorem(NamedTuple):
    """An equality, and the field that holds its residual."""

    identifier: str
    sentence: str
    source: str
    published: str
    field: str


THEOREMS = (
    Theorem(
        "theorem-4.1",
        "‖v‖² = γ²/σ² (‖g‖² − ⟨1, g⟩²/m − ⟨g, ŷ⟩²/m)",
        "Santurkar et al. 2018, Theorem 4.1, 1/√m corrected to 1/m",
        "an inequality, with 1/√m",
        "lipschitz_residual",
    ),
    Theorem(
        "theorem-4.2",
        "vᵀĤv = γ²/σ² vᵀHv − γ/(mσ²) ⟨g, ŷ⟩ ‖v‖²",
        "Santurkar et al. 2018, Theorem 4.2, first line",
        "an inequality",
        "unit_curvature_residual",
    ),
    Theorem(
        "theorem-4.4",
        "ĝ² = γ²/σ² (‖λg‖² − λ² m μ_g² − λ²/m ⟨g, ŷ⟩²)",
        "Santurkar et al. 2018, Theorem 4.4, corrected",
        "an inequality, with the terms uncorrected",
        "unit_worst_residual",
    ),
)


def gradient_squared(results: Results, norm: str, seed: int) -> np.ndarray:
    """‖∂L/∂y‖², `[probe_step, layer]`."""
    return results.select("theory.gradient_squared", norm=norm, seed=seed)


def curvature(results: Results, norm: str, seed: int) -> np.ndarray:
    """vᵀĤv along v = ∂L/∂y, `[probe_step, layer]`."""
    return results.select("theory.curvature", norm=norm, seed=seed)


class Term(NamedTuple):
    """A term that the theorems bound, and the power of the variance that frees it of y's scale."""

    quantity: Quantity
    power: int


TERMS = (
    Term(
        Quantity(
            "lipschitz",
            "BatchNorm lowers the gradient by a layer's activations",
            "Santurkar et al. 2018, Theorem 4.1",
            "‖∂L/∂y‖²",
            "an upper bound at the same weights, no number",
            gradient_squared,
        ),
        1,
    ),
    Term(
        Quantity(
            "curvature",
            "BatchNorm lowers the curvature along the gradient by a layer's activations",
            "Santurkar et al. 2018, Theorem 4.2",
            "vᵀHv, v = ∂L/∂y",
            "an upper bound at the same weights, no number",
            curvature,
        ),
        2,
    ),
)


def claims(results: Results) -> list[Claim]:
    """The equalities and assumptions where `batch` ran; the comparison where `none` ran beside."""
    norms = [str(norm) for norm in results.axes["norm"]]
    decided: list[Claim] = []
    if "batch" in norms:
        decided += [decide_theorem(results, theorem) for theorem in THEOREMS]
        decided += [decide_printed(results), *decide_assumptions(results)]
    if {"none", "batch"} <= set(norms):
        layers = [str(layer) for layer in results.axes["probed_layer"]]
        decided += [compare(results, term, layer) for term in TERMS for layer in layers]
    return decided


def measured_by_seed(results: Results, field: str) -> list[np.ndarray]:
    """A field of BatchNorm's arm, for each seed the values at the steps that were reached."""
    every = [
        results.select(f"theory.{field}", norm="batch", seed=seed)
        for seed in results.axes["seed"].tolist()
    ]
    return [values[~np.isnan(values).all(axis=tuple(range(1, values.ndim)))] for values in every]


def decide_theorem(results: Results, theorem: Theorem) -> Claim:
    """Whether an equality holds within rounding."""
    tolerance, epsilon = tolerance_of(results), results.config["epsilon"]
    residuals = np.abs(
        np.concatenate([r.ravel() for r in measured_by_seed(results, theorem.field)])
    )
    verdict: Verdict = "inconclusive"
    reason = ""
    if not residuals.size or np.isnan(residuals).any():
        reason = "no finite residual: BatchNorm's arm has ended, or a unit has no variance"
    elif residuals.max() <= tolerance:
        verdict = "supported"
    elif epsilon > 0:
        reason = f"an equality at ε = 0 only, and ε is {epsilon:g}"
    else:
        verdict = "not supported"
    largest, median = (residuals.max(), np.median(residuals)) if residuals.size else (np.nan,) * 2
    return Claim(
        identifier=theorem.identifier,
        sentence=theorem.sentence,
        source=theorem.source,
        rule=(
            "|left − right| over the sum of the sizes of the terms on the right, at every probed "
            f"step, layer and unit: supported if at most {tolerance:g} "
            f"({'float64' if results.config['float64'] else 'float32'}); above it not supported, "
            "but inconclusive if ε > 0 or a value is not finite"
        ),
        measured=f"largest {largest:.2g}, median {median:.2g} of {residuals.size} residuals",
        published=theorem.published,
        verdict=verdict,
        reason=reason,
    )


def tolerance_of(results: Results) -> float:
    """What counts as rounding at the precision of the run's probe."""
    return TOLERANCE[bool(results.config["float64"])]


def decide_printed(results: Results) -> Claim:
    """How often Theorem 4.1 holds as an inequality with its printed coefficient."""
    return decide_share(
        results,
        "printed-4.1",
        "‖v‖² ≤ γ²/σ² (‖g‖² − ⟨1, g⟩²/m − ⟨g, ŷ⟩²/√m), as printed, holds",
        "Santurkar et al. 2018, Theorem 4.1",
        "all units",
        [values.ravel() for values in measured_by_seed(results, "printed_share")],
    )


def decide_assumptions(results: Results) -> list[Claim]:
    """How often the two assumptions of Theorem 4.2 hold, each alone and both together."""
    convex = [quadratic >= 0 for quadratic in measured_by_seed(results, "unit_quadratic")]
    aligned = [alignment > 0 for alignment in measured_by_seed(results, "unit_alignment")]
    both = [a & b for a, b in zip(convex, aligned, strict=True)]
    source = "Santurkar et al. 2018, assumptions of Theorem 4.2"
    everywhere = [values.ravel() for values in measured_by_seed(results, "aligned_share")]
    return [
        decide_share(results, "convex", "vᵀHv ≥ 0 at the output", source, "chosen units", convex),
        decide_share(
            results, "aligned", "⟨ŷ, g⟩ = ∂L/∂γ is above 0", source, "all units", everywhere
        ),
        decide_share(
            results,
            "assumptions",
            "both assumptions of Theorem 4.2 hold",
            source,
            "chosen units",
            both,
        ),
    ]


def decide_share(
    results: Results,
    identifier: str,
    sentence: str,
    source: str,
    units: str,
    by_seed: Sequence[np.ndarray],
) -> Claim:
    """Whether something holds usually; `by_seed` has shares or flags of BatchNorm's arm."""
    shares = [float(np.mean(values)) for values in by_seed if values.size]
    verdict: Verdict = "inconclusive"
    reason = why_not_trained(results, "batch")
    if not shares:
        reason = reason or "nothing was measured"
    elif min(shares) >= USUAL:
        verdict = "supported"
    elif max(shares) < USUAL:
        verdict = "not supported"
    else:
        reason = reason or "the seeds do not agree"
    if why_not_trained(results, "batch"):
        verdict = "inconclusive"
    spread = "one seed" if len(shares) == 1 else f"{len(shares)} seeds"
    shown = f"{min(shares):.1%}" if len(shares) == 1 else ""
    if len(shares) > 1:
        shown = f"{np.mean(shares):.1%}, from {min(shares):.1%} to {max(shares):.1%}"
    return Claim(
        identifier=identifier,
        sentence=sentence,
        source=source,
        rule=(
            f"share of {units} at all probed steps and layers of BatchNorm's arm: supported if "
            f"{USUAL:.0%} or more in every seed, not supported if less in every seed, else "
            "inconclusive; inconclusive if the arm is dead or diverged"
        ),
        measured=f"{shown} of {units} ({spread})" if shares else "not measured",
        published="not measured",
        verdict=verdict,
        reason=reason,
    )


def compare(results: Results, term: Term, layer: str) -> Claim:
    """Decide whether one term of one layer is larger without normalisation."""
    quantity = term.quantity
    reasons = [reason for arm in ("none", "batch") if (reason := why_not_trained(results, arm))]
    comparisons = [
        across_seeds("equal step", results, term, layer, at_equal_step),
        across_seeds("equal loss", results, term, layer, at_equal_loss),
    ]
    free = across_seeds("scale-free at equal loss", results, term, layer, at_equal_loss, free=True)
    verdicts = {decide_ratio(c.ratio) if c.ratio else "inconclusive" for c in comparisons}
    verdict: Verdict = verdicts.pop() if len(verdicts) == 1 else "inconclusive"
    if reasons:
        verdict = "inconclusive"
    else:
        reasons = [comparison.reason for comparison in comparisons if comparison.reason]
        if verdict == "inconclusive" and not reasons:
            reasons = ["the two comparisons do not agree, or an interval holds 1"]
    return Claim(
        identifier=f"{quantity.identifier}-{layer}",
        sentence=f"{quantity.sentence} in {layer}",
        source=quantity.source,
        rule=RULE.format(quantity=quantity.name),
        measured="; ".join(
            f"{c.name} {format_interval(c.ratio) if c.ratio else 'not measured'}"
            for c in (*comparisons, free)
        ),
        published=quantity.published,
        verdict=verdict,
        reason="; ".join(reasons),
    )


def across_seeds(
    name: str,
    results: Results,
    term: Term,
    layer: str,
    pairs: Callable[[np.ndarray, np.ndarray, float], tuple[np.ndarray, np.ndarray]],
    *,
    free: bool = False,
) -> Comparison:
    """The ratio none/batch of a term, median over pairs of steps, over seeds."""
    ratios = []
    for seed in results.axes["seed"].tolist():
        _, ratio = ratio_at_pairs(results, term, layer, seed, pairs, free=free)
        ratio = ratio[np.isfinite(ratio) & (ratio > 0)]
        if len(ratio) < MINIMUM_PAIRS:
            return Comparison(name, None, f"fewer than {MINIMUM_PAIRS} pairs of steps at {name}")
        ratios.append(float(np.median(ratio)))
    return Comparison(name, interval(ratios))


def ratio_at_pairs(
    results: Results,
    term: Term,
    layer: str,
    seed: int,
    pairs: Callable[[np.ndarray, np.ndarray, float], tuple[np.ndarray, np.ndarray]],
    *,
    free: bool = False,
) -> tuple[np.ndarray, np.ndarray]:
    """Losses of BatchNorm's arm at pairs of steps, and the ratio none/batch of a term there.

    Args:
      results: of a theory run with both arms.
      term: what is compared.
      layer: where.
      seed: of the run.
      pairs: `at_equal_step` or `at_equal_loss`.
      free: in units of each layer's own deviation.
    """
    column = results.axes["probed_layer"].tolist().index(layer)
    losses, values = [], []
    for norm in ("none", "batch"):
        losses.append(results.select("theory.loss", norm=norm, seed=seed)[:, column])
        value = term.quantity.values(results, norm, seed)[:, column]
        variance = results.select("theory.variance", norm=norm, seed=seed)[:, column]
        # A ratio of a term to a negative one says nothing of which is flatter.
        value = np.where(value > 0, value, np.nan)
        values.append(value * variance**term.power if free else value)
    left, right = pairs(losses[0], losses[1], results.facts["chance_loss"])
    return losses[1][right], values[0][left] / values[1][right]
