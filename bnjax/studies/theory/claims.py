"""The theorems of Santurkar et al. 2018: equalities, assumptions, and the terms of both networks.

Residuals decide the equalities; the assumptions of Theorem 4.2 by how often they hold; the terms
that the theorems bound are compared with those of the network without normalisation, which no
theorem is about.
"""

from collections.abc import Callable, Iterator
from typing import Any

import xarray

from bnjax.frame.results import Run
from bnjax.judge.kit import AtMost, Condition, Gate, Quantity, Ratio, Share
from bnjax.judge.verdict import Verdict

USUAL = 0.95  # an assumption that holds at least so often is said to hold
PAPER = "Santurkar et al. 2018"
PROBED_LOSS = Quantity("the probed loss", lambda run: run["theory_loss"])
WHEREVER = Gate(lambda *arm: "", "networks that do not train are judged too")


def tolerance(run: Run) -> float:
    """What counts as rounding in a relative residual at the precision of the run's probe."""
    return 1e-10 if run.options["float64"] else 1e-3


def reached(values: xarray.DataArray) -> xarray.DataArray:
    """Whether a probed step was measured at all."""
    return values.notnull().any(
        [axis for axis in values.dims if axis not in ("seed", "probe_step")]
    )


def theorem(number: str, says: str, corrected: str, published: str, field: str) -> AtMost:
    """The claim that an equality holds within rounding."""
    name = f"theory_{field}"

    def why_not_finite(run: Run, arms: tuple[Any, ...]) -> str:
        values = run[name]
        gone = (values.isnull() & reached(values)).any()
        return "a residual is not finite: a channel has no variance" if gone else ""

    def why_not_exact(run: Run, arms: tuple[Any, ...]) -> str:
        epsilon = run.options["epsilon"]
        return f"an equality at ε = 0 only, and ε is {epsilon:g}" if epsilon else ""

    return AtMost(
        identifier=f"theorem-{number}",
        says=f"Theorem {number} holds, {corrected}: {says}",
        quantity=Quantity(
            "the residual of a channel (|left − right| over the sizes of the terms on the right)",
            lambda run: abs(run[name]),
        ),
        limit=tolerance,
        only=("batch",),
        gate=WHEREVER,
        conditions=(
            Condition("a value is not finite at a step that was measured", why_not_finite),
            Condition("it would not be supported, but ε > 0", why_not_exact, of=("not supported",)),
        ),
        source=f"{PAPER}, Theorem {number}, {corrected}",
        published=published,
    )


def holds(identifier: str, says: str, noun: str, of: Any, source: str) -> Share:
    """The claim that something holds usually."""
    return Share(
        identifier=identifier,
        says=says,
        quantity=Quantity(noun, of),
        at_least=USUAL,
        only=("batch",),
        source=f"{PAPER}, {source}",
        published="not measured",
    )


def convex(run: Run) -> xarray.DataArray:
    """Flags of vᵀHv ≥ 0."""
    values = run["theory_channel_quadratic"]
    return (values >= 0).where(reached(values))


def aligned(run: Run) -> xarray.DataArray:
    """Flags of ⟨ŷ, g⟩ > 0."""
    values = run["theory_channel_alignment"]
    return (values > 0).where(reached(values))


def lowers(
    identifier: str, what: str, noun: str, field: str, power: int, number: str
) -> Callable[[Run], Iterator[Verdict]]:
    """The claims on one term that the theorems bound, one for each layer.

    Args:
      identifier: of the claims, before the name of the layer.
      what: the term in words.
      noun: the term in symbols.
      field: its variable.
      power: of the variance of y, which frees the term of the scale of y.
      number: of the theorem.
    """

    def term(run: Run) -> xarray.DataArray:
        # No ratio says which of two is flatter where one is not positive.
        return run[field].where(run[field] > 0)

    def claims(run: Run) -> Iterator[Verdict]:
        for layer in run.values("probed_layer"):
            own = Quantity(
                f"{noun} in units of the layer's own deviation",
                lambda run: term(run) * run["theory_variance"] ** power,
            )
            claim = Ratio(
                identifier=f"{identifier}-{layer}",
                says=f"BatchNorm lowers {what} by a layer's activations in {layer}",
                quantity=Quantity(noun, term),
                loss=PROBED_LOSS,
                above="none",
                below="batch",
                shows=(own,),
                source=f"{PAPER}, Theorem {number}",
                published="an upper bound at the same weights, no number",
            )
            yield from claim(run.sel(probed_layer=layer))

    return claims


ASSUMED = "assumptions of Theorem 4.2"
CLAIMS = (
    theorem(
        "4.1",
        "‖v‖² = γ²/σ² (‖g‖² − ⟨1, g⟩²/m − ⟨g, ŷ⟩²/m)",
        "with 1/√m corrected to 1/m",
        "an inequality, with 1/√m",
        "lipschitz_residual",
    ),
    theorem(
        "4.2",
        "vᵀĤv = γ²/σ² vᵀHv − γ/(mσ²) ⟨g, ŷ⟩ ‖v‖²",
        "as its first line is printed",
        "an inequality",
        "channel_curvature_residual",
    ),
    theorem(
        "4.4",
        "ĝ² = γ²/σ² (‖λg‖² − λ² m μ_g² − λ²/m ⟨g, ŷ⟩²)",
        "with its terms corrected",
        "an inequality, with the terms uncorrected",
        "channel_worst_residual",
    ),
    holds(
        "printed-4.1",
        "‖v‖² ≤ γ²/σ² (‖g‖² − ⟨1, g⟩²/m − ⟨g, ŷ⟩²/√m), as printed, holds",
        "channels at which Theorem 4.1 holds as printed",
        lambda run: run["theory_printed_share"],
        "Theorem 4.1",
    ),
    holds(
        "convex",
        "the curvature vᵀHv by the layer's output is 0 or more",
        "chosen channels with vᵀHv ≥ 0",
        convex,
        ASSUMED,
    ),
    holds(
        "aligned",
        "the slope ⟨ŷ, g⟩ = ∂L/∂γ is above 0",
        "channels with ⟨ŷ, g⟩ > 0",
        lambda run: run["theory_aligned_share"],
        ASSUMED,
    ),
    holds(
        "assumptions",
        "both assumptions of Theorem 4.2 hold",
        "chosen channels with vᵀHv ≥ 0 and ⟨ŷ, g⟩ > 0",
        lambda run: convex(run) * aligned(run),
        ASSUMED,
    ),
    lowers("lipschitz", "the gradient", "‖∂L/∂y‖²", "theory_gradient_squared", 1, "4.1"),
    lowers(
        "curvature",
        "the curvature along the gradient",
        "the curvature vᵀHv along v = ∂L/∂y",
        "theory_curvature",
        2,
        "4.2",
    ),
)
