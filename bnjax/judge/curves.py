"""What a training curve is summed up by: how soon it gets to a target, and how it ends."""

import math

import numpy as np
import xarray

from bnjax.frame.results import Run, late
from bnjax.judge.compare import LAST_TENTH
from bnjax.judge.kit import Condition, Quantity
from bnjax.judge.verdict import label

EQUAL_FIT_POINTS = 0.03  # gaps are compared between arms that fit equally well


def smooth(values: np.ndarray, window: int) -> np.ndarray:
    """Median over the last `window` values, fewer at the start; NaN stays where it was.

    Example:
      >>> smooth(np.array([1.0, 9.0, 2.0, 3.0]), 3).tolist()
      [1.0, 5.0, 2.0, 3.0]
    """
    padded = np.concatenate([np.full((*values.shape[:-1], window - 1), np.nan), values], axis=-1)
    windows = np.lib.stride_tricks.sliding_window_view(padded, window, axis=-1)
    gone = np.isnan(values)
    medians = np.nanmedian(np.where(gone[..., None], 0.0, windows), axis=-1)
    return np.where(gone, np.nan, medians)


def first_step(reached: xarray.DataArray) -> xarray.DataArray:
    """Minibatches seen until a flag along `step` is set for the first time; inf if it never is."""
    return xarray.where(reached.any("step"), reached.argmax("step") + 1.0, math.inf)


def steps_to_target(run: Run) -> xarray.DataArray:
    """Minibatches until the smoothed training curve reaches the run's target, `[norm, seed]`."""
    target = run.options["target_loss"]
    curve = run["train_accuracy" if target is None else "train_loss"]
    curve = curve.copy(data=smooth(curve.values, run.options["window"]))
    goal = run.options["target_accuracy"] if target is None else target
    return first_step(curve >= goal if target is None else curve <= goal)


def target(run: Run) -> str:
    loss = run.options["target_loss"]
    accuracy = run.options["target_accuracy"]
    goal = f"accuracy {100 * accuracy:g} %" if loss is None else f"loss {loss:g}"
    window = run.options["window"]
    return f"the number of steps to training {goal} (median of {window} minibatches)"


def last_loss(run: Run) -> xarray.DataArray:
    """Median training loss over the last tenth of the run, `[norm, seed]`."""
    return late(run["train_loss"], "step", LAST_TENTH).median("step", skipna=False)


def at_end(run: Run, name: str, axis: str) -> xarray.DataArray:
    steps = np.array(run.values(axis))
    rows = steps >= (1 - LAST_TENTH) * run["train_loss"].sizes["step"]
    rows[-1] = True
    return run[name].isel({axis: rows}).median(axis, skipna=False)


def test_accuracy(run: Run) -> xarray.DataArray:
    """Median test accuracy over the evaluations of the last tenth of the run, `[norm, seed]`."""
    return at_end(run, "test_accuracy", "test_step")


def fitted_accuracy(run: Run) -> xarray.DataArray:
    """The same on training images, with running statistics too."""
    return at_end(run, "fit_accuracy", "probe_step")


def why_not_equally_fitted(run: Run, arms: tuple[str, ...]) -> str:
    """Why gaps cannot be compared: an arm that fits less has less to lose on the test set."""
    fitted = fitted_accuracy(run).sel(norm=[*arms])
    spread = fitted.max("norm") - fitted.min("norm")
    if not (spread > EQUAL_FIT_POINTS).any():
        return ""
    worst = fitted.isel(seed=int(spread.argmax("seed")))
    shown = ", ".join(f"{label(arm)} {percent(float(worst.sel(norm=arm)))}" for arm in arms)
    return f"training accuracies are not equal within 3 points: {shown}"


def chance_accuracy(run: Run) -> float:
    """The accuracy of guessing: every data set but one has ten classes."""
    return 0.01 if run.options["dataset"] == "cifar100" else 0.1


def percent(share: float) -> str:
    return f"{100 * share:.1f} %"


def count(steps: float) -> str:
    return f"{steps:.0f}" if math.isfinite(steps) else "never"


def target_definition(run: Run) -> str:
    name, way = (
        ("train_accuracy", "above")
        if run.options["target_loss"] is None
        else ("train_loss", "below")
    )
    return (
        f"the first step, counted from 1, at which the median of {name} over the last "
        f"{run.options['window']} steps (fewer at the start) is at or {way} the target; infinite "
        "if there is none"
    )


LATE = "at or after 0.9 of the number of steps, or at the last one if there is none"
STEPS = Quantity(target, steps_to_target, show=count, definition=target_definition)
LOSS = Quantity(
    "the median training loss of the last tenth",
    last_loss,
    "lower",
    "higher",
    definition="the median of train_loss over the last tenth of the steps, rounded down",
)
ACCURACY = Quantity(
    "the test accuracy (median of the last tenth)",
    test_accuracy,
    "lower",
    "higher",
    percent,
    f"the median of test_accuracy over the evaluations {LATE}",
)
GAP = Quantity(
    "training minus test accuracy (running statistics, medians of the last tenth)",
    lambda run: fitted_accuracy(run) - test_accuracy(run),
    show=percent,
    definition=f"the median of fit_accuracy over the probes {LATE}, minus that of test_accuracy "
    "over such evaluations",
)
EQUALLY_FITTED = Condition(
    f"training accuracies differ by more than {100 * EQUAL_FIT_POINTS:g} points in some seed",
    why_not_equally_fitted,
)
