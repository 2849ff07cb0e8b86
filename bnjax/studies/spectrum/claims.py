"""The claims of Ghorbani et al. 2019 on the Hessian's spectrum, and where its edge stands."""

import numpy as np
import xarray

from bnjax.frame.results import Run
from bnjax.judge.compare import CHANCE, EQUAL_STEP, TRAINED
from bnjax.judge.kit import PLAIN_SGD, Condition, Near, Quantity, Ratio
from bnjax.judge.verdict import having

EDGE_TOLERANCE = 0.25  # how near to 1 λ₁ · lr / 2 must be
CONCENTRATED = 0.5  # a share of the gradient from which on it is called concentrated
PAPER = "Ghorbani et al. 2019 (1901.10159)"


def sharpness(run: Run) -> xarray.DataArray:
    """λ₁."""
    return run["spectrum_largest"].isel(rank=0)


def spread(run: Run) -> xarray.DataArray:
    """λ₁ in standard deviations of the spectral density."""
    nodes, weights = run["spectrum_nodes"].fillna(0), run["spectrum_weights"]
    mean = (weights * nodes).sum("node", skipna=False)
    variance = (weights * (nodes - mean) ** 2).sum("node", skipna=False)
    return sharpness(run) / np.sqrt(variance.mean("vector", skipna=False))


def keeps_statistics(run: Run, norm: str) -> bool:
    """Whether an arm's spectrum depends on the statistics at all."""
    first, last = (run["spectrum_largest"].isel(statistics=place) for place in (0, -1))
    return not first.equals(last.assign_coords(statistics=first["statistics"]))


def top(run: Run) -> int:
    """K, the number of eigenvalues that are called the top."""
    return int(run.values("rank")[-1])


def first(quantity: Quantity) -> Quantity:
    """A quantity under the first kind of statistics."""
    return quantity._replace(
        of=lambda run: quantity.of(run).isel(statistics=0),
        definition=f"{quantity.definition}, under the first kind of statistics",
    )


def medians(quantity: Quantity, noun: str, run: Run, arms: tuple[str, ...]) -> str:
    """Medians over probed steps and seeds, for each arm and kind of statistics."""
    parts = []
    for norm in arms:
        own = run.sel(norm=norm)
        kinds = own.values("statistics") if keeps_statistics(own, norm) else [""]
        for kind in kinds:
            values = quantity.of(own)
            values = values.sel(statistics=kind) if kind else values.isel(statistics=0)
            value = float(values.median()) if np.isfinite(values).any() else np.nan
            parts.append(f"{having(norm)}{f' ({kind} statistics)' if kind else ''} {value:.3g}")
    return f"Medians of {noun}: {', '.join(parts)}"


def why_still_concentrated(run: Run, arms: tuple[str, ...]) -> str:
    """That the normalised network's gradient is concentrated too, over probes below chance."""
    own = run.sel(norm=arms[1])
    below = LOSS.of(own) < TRAINED * run.facts["chance_loss"]
    shares = first(CONCENTRATION).of(own).where(below).median("probe_step")
    left = float(shares.median(skipna=False))
    if left < CONCENTRATED:
        return ""
    return f"smaller {having(arms[1])}, but {left:.2f} of it is still in the top eigenspace"


ISOLATION = Quantity(  # under each statistics
    lambda run: f"λ₁/λ{top(run)}",
    lambda run: sharpness(run) / run["spectrum_largest"].isel(rank=-1),
    definition="spectrum_largest at rank 1 over that at the last rank",
)
CONCENTRATION = Quantity(
    lambda run: f"the gradient's share in the top {top(run)} eigenvectors, ‖P∇L‖²/‖∇L‖²",
    lambda run: run["spectrum_gradient_fraction"].isel(rank=-1),
    definition="spectrum_gradient_fraction at the last rank",
)
LOSS = first(
    Quantity(
        "the probed loss (spectrum_loss under the first kind of statistics)",
        lambda run: run["spectrum_loss"],
    )
)
SPREAD = Quantity(
    "λ₁ over the density's standard deviation",
    spread,
    definition="spectrum_largest at rank 1 over the root of the variance of spectrum_nodes "
    "(missing ones are 0) by spectrum_weights, mean over vectors",
)

CLAIMS = (
    Ratio(
        identifier="outliers-{norm}",
        says="outliers of the Hessian's spectrum stand out less with {norm}",
        quantity=first(ISOLATION),
        loss=LOSS,
        shows=(first(SPREAD),),
        source=PAPER,
        published="without normalisation large isolated eigenvalues; with it almost absent; no "
        "number",
        notes=lambda run, arms: medians(ISOLATION, f"λ₁/λ{top(run)}", run, arms),
    ),
    Ratio(
        identifier="gradient-{norm}",
        says="the gradient is concentrated in the top eigenspace without {norm}, not with it",
        quantity=first(CONCENTRATION),
        loss=LOSS,
        source=PAPER,
        published="without normalisation a surprising concentration in the top eigenspace; with it "
        "almost absent; no number",
        conditions=(
            Condition(
                "it would be supported, but the normalised network's share (median over the probed "
                f"steps with a loss below {CHANCE}, then over seeds) is not below {CONCENTRATED}",
                why_still_concentrated,
                of=("supported",),
            ),
        ),
        notes=lambda run, arms: medians(CONCENTRATION, "the share", run, arms),
    ),
    *(
        Ratio(
            identifier=f"return-{{norm}}-{kind}",
            says=f"the outliers return when {{norm}} normalises with {kind} statistics",
            quantity=ISOLATION,
            above=kind,
            below="batch",
            axis="statistics",
            arm="under {arm} statistics",
            at=(EQUAL_STEP,),
            loss=Quantity(
                "the probed loss (spectrum_loss under batch statistics)",
                lambda run: run["spectrum_loss"].sel(statistics="batch"),
            ),
            shows=(Quantity("λ₁", sharpness, definition="spectrum_largest at rank 1"),),
            when=keeps_statistics,
            source=f"{PAPER}; there networks also train with population statistics",
            published="outliers as without normalisation; no number",
        )
        for kind in ("running", "frozen", "recalibrated")
    ),
    Near(
        identifier="edge-{norm}",
        says="the late largest eigenvalue of {norm} stands at the edge of stability, 2/lr",
        quantity=first(
            Quantity(
                "λ₁·lr/2",
                lambda run: sharpness(run) * run.options["lr"] / 2,
                definition="spectrum_largest at rank 1 times lr / 2",
            )
        ),
        target=1.0,
        within=EDGE_TOLERANCE,
        source="Cohen et al. 2021 (2103.00065), of full-batch gradient descent",
        published="2/lr in full-batch training; under SGD lower",
        conditions=(PLAIN_SGD,),
    ),
)
