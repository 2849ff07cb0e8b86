"""Two arms at equal step and at equal loss, and why an arm may bear no comparison.

A network that does not train has a flat landscape: seen at lr 0.4, the standard VGG sits at ln 10
with a vanishing gradient and looks smoother than its rival. So every comparison is made at equal
loss too, only where both arms are below chance, and none rests on an arm that is dead or diverged.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import xarray

from bnjax.frame.results import Run, late
from bnjax.judge.verdict import label

TRAINED = 0.9  # of the loss of chance: an arm at or above it has not begun to train
LAST_TENTH = 0.1  # of the steps, over which an arm's end is a median
EQUAL_LOSS_FACTOR = 1.25  # two losses are called equal if neither exceeds the other by this factor
MINIMUM_PAIRS = 3
CHANCE = f"{TRAINED:g} of the loss of chance"
DIVERGED = "diverged (train_finite is 0 at a step)"
DEAD = f"dead (median train_loss of the last tenth of its steps, rounded down, not below {CHANCE})"

Field: TypeAlias = Callable[[Run], xarray.DataArray]


def why_not_trained(run: Run, arm: Any, axis: str = "norm", name: str = "") -> str:
    """Why no claim can rest on an arm, or nothing.

    Args:
      run: with the arms along `axis`; a run without this axis is one arm.
      arm: e.g. `batch`, or the place on another axis, e.g. 64.
      axis: the arms', `norm` or another factor.
      name: what a reader calls the arm; by default the normaliser's label.

    Returns:
      That it diverged, at which step of which seeds, or that its loss ends at 0.9 of that of chance
      or above, in the first such seed; else an empty text.
    """
    if reason := why_diverged(run, arm, axis, name):
        return reason
    chance = run.facts["chance_loss"]
    for losses in of_arm(run, arm, axis)["train_loss"]:
        final = float(late(losses, "step", LAST_TENTH).median(skipna=False))
        if not final < TRAINED * chance:
            return (
                f"{name or label(arm)} does not train: its loss ends at {final:.3f}, chance is "
                f"{chance:.3f}{of_seed(run, losses)}"
            )
    return ""


def why_diverged(run: Run, arm: Any, axis: str = "norm", name: str = "") -> str:
    """That an arm diverged, at which step of which seeds, or nothing; also for dead arms."""
    ends = [
        f"step {int(np.flatnonzero(finite.values == 0)[0])}{of_seed(run, finite)}"
        for finite in of_arm(run, arm, axis)["train_finite"]
        if (finite == 0).any()
    ]
    return f"{name or label(arm)} diverged at {', '.join(ends)}" if ends else ""


def of_seed(run: Run, own: xarray.DataArray) -> str:
    """Which seed a row belongs to, where there are several."""
    return f" (seed {int(own.seed)})" if len(run.seeds) > 1 else ""


def of_arm(run: Run, arm: Any, axis: str) -> Run:
    """One arm; the run itself where training has no such axis (statistics, kinds of parameter)."""
    return run.sel(**{axis: arm}) if axis in run["train_loss"].dims else run


def training_loss(run: Run) -> xarray.DataArray:
    """The loss of the step's minibatch, without any penalty, at the probed steps."""
    return run["train_loss"].isel(step=run.values("probe_step")).rename(step="probe_step")


class Pairing(NamedTuple):
    """Which probed steps of two arms are compared."""

    name: str  # as in "at equal step"
    # Losses of both arms and that of chance; rows of both, pair by pair.
    rows: Callable[[np.ndarray, np.ndarray, float], tuple[np.ndarray, np.ndarray]]
    rule: str
    minimum: int = MINIMUM_PAIRS


def equal_step(left: np.ndarray, right: np.ndarray, chance: float) -> tuple[np.ndarray, np.ndarray]:
    """Rows of the probed steps at which both arms are below chance."""
    rows = np.flatnonzero((left < TRAINED * chance) & (right < TRAINED * chance))
    return rows, rows


def equal_loss(left: np.ndarray, right: np.ndarray, chance: float) -> tuple[np.ndarray, np.ndarray]:
    """Rows of pairs of steps that are each other's nearest in loss, so that arms may be swapped."""
    first, second = (np.flatnonzero((x > 0) & (x < TRAINED * chance)) for x in (left, right))
    if not len(first) or not len(second):
        return first[:0], second[:0]
    gaps = np.abs(np.log(left[first])[:, None] - np.log(right[second]))
    # Of equal losses the nearest in step.
    order = gaps + 1e-9 * np.abs(first[:, None] - second)
    nearest, back = order.argmin(axis=1), order.argmin(axis=0)
    mutual = back[nearest] == np.arange(len(first))
    near = gaps[np.arange(len(first)), nearest] <= np.log(EQUAL_LOSS_FACTOR)
    return first[mutual & near], second[nearest[mutual & near]]


def same_step(left: np.ndarray, right: np.ndarray, chance: float) -> tuple[np.ndarray, np.ndarray]:
    """Every probed step, whatever the losses: for two quantities of one arm."""
    rows = np.arange(len(left))
    return rows, rows


EQUAL_STEP = Pairing(
    "equal step", equal_step, f"at equal step, where the losses of both are below {CHANCE}"
)
EQUAL_LOSS = Pairing(
    "equal loss",
    equal_loss,
    "at equal loss (pairs of steps that are each other's nearest by the ratio of losses, of equal "
    f"ones by step, within a factor of {EQUAL_LOSS_FACTOR:g}, both above 0 and below {CHANCE}; "
    "steps without such a partner are dropped)",
)
SAME_STEP = Pairing("the same step", same_step, "at the same step", minimum=1)


def at_pairs(
    values: xarray.DataArray,
    losses: xarray.DataArray,
    arms: tuple[Any, ...],
    pairing: Pairing,
    chance: float,
    axis: str = "norm",
) -> tuple[np.ndarray, np.ndarray]:
    """A quantity of two arms of one seed at pairs of steps.

    Args:
      values: `[axis, probe_step, …]`.
      losses: `[axis, probe_step]`, or `[probe_step]` where both arms share it.
      arms: of the numerator and the denominator.
      pairing: how steps are paired.
      chance: the loss of chance.
      axis: along which the arms lie.

    Returns:
      Both arms' values, `[pairs, …]`.
    """
    paired = [losses.sel({axis: arm}) if axis in losses.dims else losses for arm in arms]
    rows = pairing.rows(paired[0].values, paired[1].values, chance)
    left, right = (values.sel({axis: arm}).transpose("probe_step", ...).values for arm in arms)
    return left[rows[0]], right[rows[1]]


def seed_ratios(
    run: Run,
    values: xarray.DataArray,
    arms: tuple[Any, ...],
    pairing: Pairing,
    *,
    losses: xarray.DataArray | None = None,
    axis: str = "norm",
) -> list[float]:
    """The ratio of a quantity in two arms, median over pairs of steps, for each seed.

    Args:
      run: with both arms.
      values: the quantity, `[axis, seed, probe_step, …]`; further axes (layers) count as more
        pairs. Ratios of values that are not both positive are left out.
      arms: of the numerator and the denominator.
      pairing: how steps are paired.
      losses: that steps are paired by, `[axis, seed, probe_step]`; by default `training_loss`.
      axis: along which the arms lie.

    Returns:
      A ratio for each seed, NaN where there are too few pairs.
    """
    losses = training_loss(run) if losses is None else losses
    chance, found = run.facts["chance_loss"], []
    for seed in run.seeds:
        own = values.sel(seed=seed), losses.sel(seed=seed)
        left, right = at_pairs(*own, arms, pairing, chance, axis)
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = left / right
        ratio = ratio[np.isfinite(ratio) & (ratio > 0) & (left > 0)]
        enough = min(len(left), ratio.size) >= pairing.minimum
        # In logarithms: of an even number, too, swapped arms have the reciprocal median.
        found.append(float(np.exp(np.median(np.log(ratio)))) if enough else np.nan)
    return found
