"""The theorems of Santurkar et al. 2018: equalities, assumptions, and the terms of both networks.

Residuals decide the equalities; the assumptions of Theorem 4.2 by how often they hold; the terms
that the theorems bound are compared with those of the network without normalisation, which no
theorem is about.
"""

from collections.abc import Iterator
from typing import Any

import xarray

from bnjax.frame.results import Run
from bnjax.judge.compare import Field
from bnjax.judge.kit import AtMost, Condition, Gate, Quantity, Ratio, Share
from bnjax.judge.verdict import Verdict

USUAL = 0.95  # an assumption that holds at least so often is said to hold
PAPER = "Santurkar et al. 2018"
PROBED_LOSS = Quantity("the probed loss (theory_loss)", lambda run: run["theory_loss"])
WHEREVER = Gate(lambda *arm: "", "networks that do not train are judged too")


def tolerance(run: Run) -> float:
    """What counts as rounding in a relative residual at the precision of the run's probe."""
    return 1e-10 if run.options["float64"] else 1e-3


def reached(values: xarray.DataArray) -> xarray.DataArray:
    """Whether a probed step was measured at all."""
    return values.notnull().any(
        [axis for axis in values.dims if axis not in ("seed", "probe_step")]
    )


def convex(run: Run) -> xarray.DataArray:
    """Flags of vᵀHv ≥ 0."""
    values = run["theory_channel_quadratic"]
    return (values >= 0).where(reached(values))


def aligned(run: Run) -> xarray.DataArray:
    """Flags of ⟨ŷ, g⟩ > 0."""
    values = run["theory_channel_alignment"]
    return (values > 0).where(reached(values))


def positive(field: str, power: int = 0) -> Field:
    """A term, in units of the layer's own deviation if its power of the variance of y is given.

    No ratio says which of two is flatter where one is not positive.
    """
    return lambda run: run[field].where(run[field] > 0) * run["theory_variance"] ** power


def why_not_exact(run: Run, arms: tuple[Any, ...]) -> str:
    """That the equality is none."""
    epsilon = run.options["epsilon"]
    return f"an equality at ε = 0 only, and ε is {epsilon:g}" if epsilon else ""


def theorem(number: str, says: str, corrected: str, published: str, field: str) -> AtMost:
    """The claim that an equality holds within rounding."""

    def why_not_finite(run: Run, arms: tuple[Any, ...]) -> str:
        gone = (run[field].isnull() & reached(run[field])).any()
        return "a residual is not finite: a channel has no variance" if gone else ""

    return AtMost(
        identifier=f"theorem-{number}",
        says=f"Theorem {number} holds, {corrected}: {says}",
        quantity=Quantity(
            "the residual of a channel (|left − right| over the sizes of the terms on the right)",
            lambda run: abs(run[field]),
            definition=f"|{field}|",
        ),
        limit=tolerance,
        only=("batch",),
        gate=WHEREVER,
        conditions=(
            Condition("a channel has no value at a step that was measured", why_not_finite),
            Condition("it would not be supported, but ε > 0", why_not_exact, of=("not supported",)),
        ),
        source=f"{PAPER}, Theorem {number}, {corrected}",
        published=published,
    )


def lowers(run: Run) -> Iterator[Verdict]:
    """The terms that the theorems bound, in each layer."""
    for identifier, what, noun, field, power, number in TERMS:
        for layer in run.values("probed_layer"):
            own = f"{noun} in units of the layer's own deviation"
            claim = Ratio(
                identifier=f"{identifier}-{layer}",
                says=f"BatchNorm lowers {what} by a layer's activations in {layer}",
                quantity=Quantity(noun, positive(field), definition=field),
                loss=PROBED_LOSS,
                above="none",
                below="batch",
                shows=(
                    Quantity(
                        own,
                        positive(field, power),
                        definition=f"{field} times theory_variance to the power {power}",
                    ),
                ),
                source=f"{PAPER}, Theorem {number}",
                published="an upper bound at the same weights, no number",
            )
            yield from claim(run.sel(probed_layer=layer))


TERMS = (  # name, words, symbols, variable, power of the variance of y in its unit, theorem
    ("lipschitz", "the gradient", "‖∂L/∂y‖²", "theory_gradient_squared", 1, "4.1"),
    (
        "curvature",
        "the curvature along the gradient",
        "the curvature vᵀHv along v = ∂L/∂y",
        "theory_curvature",
        2,
        "4.2",
    ),
)
ASSUMED = "assumptions of Theorem 4.2"
CONVEX = "theory_channel_quadratic at or above 0"
NO_NUMBER = "a channel without a number at a step that was measured does not count as such"
# Name, sentence, noun, flags, where, how they are taken from the arrays.
USUALLY: tuple[tuple[str, str, str, Field, str, str], ...] = (
    (
        "printed-4.1",
        "‖v‖² ≤ γ²/σ² (‖g‖² − ⟨1, g⟩²/m − ⟨g, ŷ⟩²/√m), as printed, holds",
        "channels at which Theorem 4.1 holds as printed",
        lambda run: run["theory_printed_share"],
        "Theorem 4.1",
        "the mean of theory_printed_share",
    ),
    (
        "convex",
        "the curvature vᵀHv by the layer's output is 0 or more",
        "chosen channels with vᵀHv ≥ 0",
        convex,
        ASSUMED,
        f"{CONVEX}; {NO_NUMBER}",
    ),
    (
        "aligned",
        "the slope ⟨ŷ, g⟩ = ∂L/∂γ is above 0",
        "channels with ⟨ŷ, g⟩ > 0",
        lambda run: run["theory_aligned_share"],
        ASSUMED,
        "the mean of theory_aligned_share",
    ),
    (
        "assumptions",
        "both assumptions of Theorem 4.2 hold",
        "chosen channels with vᵀHv ≥ 0 and ⟨ŷ, g⟩ > 0",
        lambda run: convex(run) * aligned(run),
        ASSUMED,
        f"{CONVEX} and theory_channel_alignment above 0; {NO_NUMBER}",
    ),
)
CLAIMS = (
    theorem(
        "4.1",
        "‖v‖² = γ²/σ² (‖g‖² − ⟨1, g⟩²/m − ⟨g, ŷ⟩²/m)",
        "with 1/√m corrected to 1/m",
        "an inequality, with 1/√m",
        "theory_lipschitz_residual",
    ),
    theorem(
        "4.2",
        "vᵀĤv = γ²/σ² vᵀHv − γ/(mσ²) ⟨g, ŷ⟩ ‖v‖²",
        "as its first line is printed",
        "an inequality",
        "theory_channel_curvature_residual",
    ),
    theorem(
        "4.4",
        "ĝ² = γ²/σ² (‖λg‖² − λ² m μ_g² − λ²/m ⟨g, ŷ⟩²)",
        "with its terms corrected",
        "an inequality, with the terms uncorrected",
        "theory_channel_worst_residual",
    ),
    *(
        Share(
            identifier=identifier,
            says=says,
            quantity=Quantity(noun, flags, definition=definition),
            at_least=USUAL,
            only=("batch",),
            source=f"{PAPER}, {where}",
            published="not measured",
        )
        for identifier, says, noun, flags, where, definition in USUALLY
    ),
    lowers,
)
