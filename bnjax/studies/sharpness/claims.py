"""Whether each normaliser sits at the edge of stability, 2/lr, and when it comes there.

The rules stood here before the study ran for the first time.
"""

from collections.abc import Callable

import numpy as np
import xarray

from bnjax.frame.results import Run, late
from bnjax.judge.curves import count, smooth
from bnjax.judge.kit import EQUAL_STEP, PLAIN_SGD, Level, Quantity, Ratio
from bnjax.judge.verdict import Scale, Within
from bnjax.studies.landscape.claims import SMOOTHNESS, along

TOLERANCE = 0.25  # how near to 1, in units of an edge or an equilibrium, counts as standing there
PROBES = 5  # whose running median tells when a network comes to the edge
INVARIANT = 0.01  # κ below which weights count as scale-invariant: what an ε leaves of 0
STANDS, UNITS = Within(1 - TOLERANCE, 1 + TOLERANCE), Scale(0.1)
LATE = "median over the last quarter of the probes (rounded down)"
STOCHASTIC = "Andreyev & Beneventano 2024 (2412.20553)"
QUESTION = "the question of this study; no number is published"


def batch(run: Run) -> xarray.DataArray:
    """Batch sharpness in units of 2/lr."""
    return run["sharpness_mean"] * run["update_learning_rate"] / 2


def critical(run: Run) -> xarray.DataArray:
    """Critical sharpness of the step in units of its edge."""
    return run["update_critical_sharpness"] / run["update_edge"]


def spherical(run: Run) -> xarray.DataArray:
    """Spherical sharpness times effective rate, in units of its edge 2."""
    return run["spherical_product"] / 2


def rotation(run: Run) -> xarray.DataArray:
    """Rotation over its equilibrium, the median over layers."""
    return run["update_rotation_ratios"].median("hidden_layer", skipna=False)


def turn(run: Run) -> xarray.DataArray:
    """D(lr)/‖g‖: the change of the gradient by a step along it, in units of the gradient."""
    change = along(run, "gradient_distances").sel(step_size=run.options["lr"], method="nearest")
    return change / along(run, "gradient_norm")


def arrival(run: Run) -> xarray.DataArray:
    """Steps until batch sharpness first stands at 2/lr or above; infinite if it never does."""
    values = batch(run).transpose(..., "probe_step")
    there = values.copy(data=smooth(values.values, PROBES)) >= 1 - TOLERANCE
    return (run["probe_step"].where(there).min("probe_step") + 1).fillna(np.inf)


def apart(run: Run) -> xarray.DataArray:
    """How far the loss under other statistics is from that under the batch's own."""
    losses = run["statistics_losses"]
    return abs(losses - losses.sel(statistics="batch"))


def is_scale_invariant(run: Run, norm: str) -> bool:
    """Whether the layers of an arm are."""
    return bool(run["spherical_invariance"].median() < INVARIANT)


def keeps_statistics(run: Run, norm: str) -> bool:
    """Whether an arm has running statistics."""
    return bool(np.isfinite(run["statistics_losses"]).any())


def at_the_end(noun: str, of: Callable[[Run], xarray.DataArray], definition: str) -> Quantity:
    """A quantity of each probed step as one value a run."""
    return Quantity(
        f"the late {noun}",
        lambda run: late(of(run), "probe_step").median("probe_step", skipna=False),
        definition=f"{definition}, {LATE}",
    )


CLAIMS = (
    Level(
        identifier="edge-{norm}",
        says="the late batch sharpness of {norm} stands at 2/lr",
        quantity=at_the_end(
            "batch sharpness · lr/2", batch, "sharpness_mean times update_learning_rate / 2"
        ),
        rule=STANDS,
        scale=UNITS,
        source=STOCHASTIC,
        published="2/lr, of small batches, squared loss and plain SGD on CIFAR-10",
        conditions=(PLAIN_SGD,),
    ),
    Level(
        identifier="critical-{norm}",
        says="the late critical sharpness of {norm} stands at 2/lr − wd",
        quantity=at_the_end(
            "critical sharpness over 2/lr − wd",
            critical,
            "update_critical_sharpness over update_edge",
        ),
        rule=STANDS,
        scale=UNITS,
        source="Kalra et al. 2026 (2601.16979)",
        published="2/lr − wd, of gradient descent",
        conditions=(PLAIN_SGD,),
    ),
    Level(
        identifier="spherical-{norm}",
        says="the late spherical sharpness of {norm} stands at 2 over the effective rate",
        quantity=at_the_end(
            "spherical sharpness · effective rate / 2", spherical, "spherical_product / 2"
        ),
        rule=STANDS,
        scale=UNITS,
        when=is_scale_invariant,
        source="Lyu, Li & Arora 2022 (2206.07085)",
        published="2 over the effective rate, of gradient descent with weight decay",
        conditions=(PLAIN_SGD,),
    ),
    Level(
        identifier="rotation-{norm}",
        says="the layers of {norm} come to the rotation at which decay and growth balance",
        quantity=at_the_end(
            "rotation over its equilibrium",
            rotation,
            "update_rotation_ratios, median over layers",
        ),
        rule=STANDS,
        scale=UNITS,
        when=lambda run, norm: is_scale_invariant(run, norm) and run.options["weight_decay"] > 0,
        source="Kosson et al. 2024 (2305.17212)",
        published="√(2·lr·wd/(1 + b)) for SGD with momentum b",
    ),
    Ratio(
        identifier="later-{norm}",
        says="{norm} comes to 2/lr later than no normalisation",
        quantity=Quantity(
            "the number of steps until batch sharpness stands at 2/lr",
            arrival,
            "smaller",
            "larger",
            count,
            "the first probed step, counted from 1, at which sharpness_mean times "
            f"update_learning_rate / 2, median over the last {PROBES} probes (fewer at the start), "
            f"is at or above {1 - TOLERANCE:g}; infinite if there is none",
        ),
        above="{norm}",
        below="none",
        at=(),
        source=QUESTION,
        conditions=(PLAIN_SGD,),
    ),
    Ratio(
        identifier="lower-{norm}",
        says="{norm} lowers batch sharpness",
        quantity=Quantity(
            "batch sharpness", lambda run: run["sharpness_mean"], definition="sharpness_mean"
        ),
        shows=(
            Quantity(
                "D(lr)/‖g‖",
                turn,
                definition="line_gradient_distances at the step size nearest to lr, over "
                "line_gradient_norm, direction gradient",
            ),
            SMOOTHNESS,
        ),
        source=QUESTION,
    ),
    Ratio(
        identifier="gap-{norm}",
        says="recalibrated statistics of {norm} come nearer to the batch's loss than running ones",
        quantity=Quantity(
            "the distance from the loss under the batch's statistics",
            apart,
            definition="|statistics_losses minus that of batch|",
        ),
        axis="statistics",
        above="running",
        below="recalibrated",
        arm="under {arm} statistics",
        at=(EQUAL_STEP,),
        when=keeps_statistics,
        source="Wu & Johnson 2021 (2105.07576)",
        published="running averages lag, recalibrated ones do not; no number",
    ),
)
