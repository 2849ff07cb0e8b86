"""What a training curve is summed up by: how soon it gets to a target, and how it ends."""

import math
from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from bnjax.frame.results import Run as Results
from bnjax.frame.results import late as last_rows

EQUAL_FIT_POINTS = 0.03  # gaps are compared between arms that fit equally well
LAST_SHARE = 0.1  # of the steps, over which a final value is a median


class Quantity(NamedTuple):
    """What is measured of one arm and seed; two arms are compared by ratio or by difference."""

    name: Callable[[Results], str]
    value: Callable[[Results, str, int], float]
    is_ratio: bool
    larger_is_better: bool
    show: Callable[[float], str]


def smooth(values: np.ndarray, window: int) -> np.ndarray:
    """Median over the last `window` values, fewer at the start; NaN stays where it was.

    Args:
      values: `[steps]`.
      window: 1 or more.

    Example:
      >>> smooth(np.array([1.0, 9.0, 2.0, 3.0]), 3).tolist()
      [1.0, 5.0, 2.0, 3.0]
    """
    padded = np.concatenate([np.full(window - 1, np.nan), values])
    windows = np.lib.stride_tricks.sliding_window_view(padded, window)
    gone = np.isnan(values)
    medians = np.nanmedian(np.where(gone[:, None], 0.0, windows), axis=1)
    return np.where(gone, np.nan, medians)


def steps_to_target(results: Results, norm: str, seed: int) -> float:
    """Minibatches seen until the smoothed training curve reaches the target; inf if it does not."""
    config = results.config
    by_loss = config["target_loss"] is not None
    name = "train.loss" if by_loss else "train.accuracy"
    curve = smooth(results.select(name, norm=norm, seed=seed), config["window"])
    reached = curve <= config["target_loss"] if by_loss else curve >= config["target_accuracy"]
    return float(np.flatnonzero(reached)[0] + 1) if reached.any() else math.inf


def target_name(results: Results) -> str:
    """What steps are counted to."""
    loss = results.config["target_loss"]
    goal = f"loss {loss:g}" if loss is not None else f"accuracy {target_percent(results)}"
    return f"steps to training {goal} (median of {results.config['window']} minibatches)"


def target_percent(results: Results) -> str:
    """The target accuracy as it is read."""
    return f"{100 * results.config['target_accuracy']:g} %"


def last_loss(results: Results, norm: str, seed: int) -> float:
    """Median training loss over the last tenth of the run."""
    losses = results.select("train.loss", norm=norm, seed=seed)
    return float(np.median(losses[last_rows(len(losses), 10)]))


def test_accuracy(results: Results, norm: str, seed: int) -> float:
    """Median test accuracy over the evaluations of the last tenth of the run."""
    return late(results, results.select("test.accuracy", norm=norm, seed=seed), "test_step")


def late(results: Results, values: np.ndarray, axis: str) -> float:
    """Median over the last tenth of the run, or the last value there is."""
    steps = results.axes[axis]
    rows = steps >= (1 - LAST_SHARE) * len(results.axes["step"])
    rows[-1] = True
    return float(np.median(values[rows]))


def gap(results: Results, norm: str, seed: int) -> float:
    """Accuracy on training images minus that on the test set, both with running statistics."""
    return fitted_accuracy(results, norm, seed) - test_accuracy(results, norm, seed)


def fitted_accuracy(results: Results, norm: str, seed: int) -> float:
    """Median accuracy on training images over the last tenth of the run."""
    return late(results, results.select("fit.accuracy", norm=norm, seed=seed), "probe_step")


def why_not_equally_fitted(results: Results, arms: Sequence[str]) -> str:
    """Why gaps cannot be compared: an arm that fits less has less to lose on the test set."""
    for seed in results.axes["seed"].tolist():
        fitted = [fitted_accuracy(results, arm, seed) for arm in arms]
        if max(fitted) - min(fitted) > EQUAL_FIT_POINTS:
            shown = ", ".join(f"{arm} {percent(x)}" for arm, x in zip(arms, fitted, strict=True))
            return f"training accuracies are not equal within 3 points: {shown}"
    return ""


def percent(share: float) -> str:
    """`83.1 %`."""
    return f"{100 * share:.1f} %"


def steps_shown(steps: float) -> str:
    """A number of steps, or that there is none."""
    return f"{steps:.0f}" if math.isfinite(steps) else "never"


STEPS = Quantity(target_name, steps_to_target, True, False, steps_shown)
LOSS = Quantity(
    lambda _: "median training loss of the last tenth", last_loss, True, False, "{:.4g}".format
)
ACCURACY = Quantity(
    lambda _: "test accuracy, median of the last tenth", test_accuracy, False, True, percent
)
GAP = Quantity(
    lambda _: (
        "training minus test accuracy, running statistics, medians of the last tenth, where "
        "training accuracies differ by at most 3 points"
    ),
    gap,
    False,
    False,
    percent,
)
