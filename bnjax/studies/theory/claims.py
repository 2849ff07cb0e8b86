"""The theorems of Santurkar et al. 2018, decided on the arrays of a theory run.

The equalities are decided by their residuals, the assumptions of Theorem 4.2 by how often they
hold; the comparison of networks stands in `claims.terms`.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from bnjax.frame.results import Results
from bnjax.judge import terms
from bnjax.judge.claim import Claim, Verdict
from bnjax.judge.pairs import why_not_trained

TOLERANCE = {True: 1e-10, False: 1e-3}  # of a relative residual, in float64 and in float32
USUAL = 0.95  # an assumption that holds at least so often is said to hold


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
        "channel_curvature_residual",
    ),
    Theorem(
        "theorem-4.4",
        "ĝ² = γ²/σ² (‖λg‖² − λ² m μ_g² − λ²/m ⟨g, ŷ⟩²)",
        "Santurkar et al. 2018, Theorem 4.4, corrected",
        "an inequality, with the terms uncorrected",
        "channel_worst_residual",
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
        decided += [terms.compare(results, term, layer) for term in terms.TERMS for layer in layers]
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
    convex = [quadratic >= 0 for quadratic in measured_by_seed(results, "channel_quadratic")]
    aligned = [alignment > 0 for alignment in measured_by_seed(results, "channel_alignment")]
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
