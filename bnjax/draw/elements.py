"""What the figures of all experiments share: an arm's line, its end, the words of a caption."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from scipy.ndimage import median_filter

from bnjax.draw import numbers, style
from bnjax.draw.style import LOOKS
from bnjax.frame.results import Run as Results
from bnjax.judge.pairs import why_not_trained
from bnjax.models import FAMILIES

SHOWN_WINDOWS = 50  # of a long training curve
LEAST_WINDOW, MOST_IN_WINDOW = 10, 500  # minibatches; below the least each is drawn by itself
NETWORKS = {
    **{f"vgg{depth}": f"VGG-{depth}" for depth in (11, 13, 16, 19, 38)},
    "vgg38_residual": "VGG-38 with residual connections",
    "resnet": "ResNet",
    "lenet": "LeNet",
    "alexnet": "AlexNet",
    "mlp": "Perceptron",
}


def network(config: Mapping[str, Any]) -> str:
    """The network as a caption names it."""
    model, dropout = config["model"], config["dropout"]
    family = FAMILIES.get(model)  # not there: another program registered it
    depth = config["depth"] or (family.depth if family else None)
    if model == "dln":
        return f"{depth} linear layers of 10×10"
    name = NETWORKS.get(model, model)
    words = f"{name}-{depth}" if config["depth"] or model == "resnet" else name
    if family and "width" in family.options:
        words += f" ×{config['width']:g}"
    return f"{words}, dropout {dropout:g}" if dropout else words


def subject(results: Results) -> str:
    """What was trained, on what and how long: the scale of what a figure shows."""
    config = results.config
    return f"{network(config)}, {results.facts['dataset']}; {config['steps']:,} steps"


def setting(config: Mapping[str, Any], *, with_lr: bool = True) -> str:
    """How it was trained, as a caption says it: optimiser, learning rate and batch size."""
    names = {"sgd": "SGD", "momentum": "SGD with momentum", "nesterov": "Nesterov momentum"}
    optimizer = names.get(config["optimizer"], config["optimizer"].capitalize())
    lr = f" lr {config['lr']:g}" if with_lr else ""
    return f"{optimizer}{lr}, batch {config['batch_size']}"


def unit(results: Results) -> str:
    """The loss's unit as an axis shows it."""
    return "[nat]" if results.config["objective"] == "cross_entropy" else ""


def spread(results: Results) -> str:
    """What a line is of the seeds."""
    seeds = len(results.axes["seed"])
    return "one seed" if seeds == 1 else f"median over {seeds} seeds"


def dead(results: Results) -> list[str]:
    """Arms whose curves must not be compared, and why; at most one line."""
    reasons = [why_not_trained(results, str(norm)) for norm in results.axes["norm"]]
    return ["; ".join(filter(None, reasons))] if any(reasons) else []


def over_seeds(values: np.ndarray) -> np.ndarray:
    """Median over the leading axis of seeds; where a seed has ended, over the others."""
    if values.shape[0] == 1:
        return values[0]
    gone = np.isnan(values).all(axis=0)
    return np.where(gone, np.nan, np.nanmedian(np.where(gone, 0.0, values), axis=0))


def plot(panel: Axes, results: Results, norm: str, steps: np.ndarray, values: np.ndarray) -> None:
    """One arm's line in the arm's look, with a cross where it diverged."""
    look = LOOKS[norm]
    panel.plot(
        steps, values, color=look.colour, linestyle=look.line, linewidth=1.1, label=look.label
    )
    mark_ends(panel, results, norm)


def mark_ends(panel: Axes, results: Results, norm: str) -> None:
    """A cross on the time axis where a seed of the arm diverged."""
    finite = results.select("train.finite", norm=norm)
    for steps in finite:
        ends = np.flatnonzero(steps == 0)
        if len(ends):
            panel.plot(
                ends[0],
                0,
                marker="x",
                color=LOOKS[norm].colour,
                transform=panel.get_xaxis_transform(),
                clip_on=False,
                label=numbers.hidden(f"{LOOKS[norm].label}, diverged"),
            )


def draw_loss(panel: Axes, results: Results) -> None:
    """The training loss of every arm, and that of chance."""
    for norm in map(str, results.axes["norm"]):
        draw_minibatches(panel, results, norm, LOOKS[norm].label)
        mark_ends(panel, results, norm)
    style.reference_line(panel, results.facts["chance_loss"], "chance")
    panel.set_ylabel(f"minibatch {loss_label(results)}")
    style.log_scale(panel)
    panel.grid(visible=True)


def draw_training(panel: Axes, results: Results) -> None:
    """The training loss and, marked, the test loss of every arm."""
    for norm in map(str, results.axes["norm"]):
        look = LOOKS[norm]
        draw_minibatches(panel, results, norm, f"{look.label}, minibatch")
        panel.plot(
            results.axes["test_step"],
            over_seeds(results.select("test.loss", norm=norm)),
            color=look.colour,
            marker=look.marker,
            linestyle="none",
            markersize=4,
            fillstyle="none",
            label=f"{look.label}, test set",
            zorder=3,
        )
        mark_ends(panel, results, norm)
    style.reference_line(panel, results.facts["chance_loss"], "chance")
    panel.set(title="d  Training", ylabel=loss_label(results))


def draw_minibatches(panel: Axes, results: Results, norm: str, name: str) -> None:
    """An arm's minibatch losses; of a long run faintly, and their running median under the name."""
    look, steps = LOOKS[norm], results.axes["step"]
    losses = results.select("train.loss", norm=norm)
    window = median_window(results)
    if window:
        label = numbers.hidden(f"{look.label}, every minibatch of one seed")
        panel.plot(steps, losses[0], color=look.colour, linewidth=0.4, alpha=0.25, label=label)
        losses = np.array([running_median(seed, window) for seed in losses])
    panel.plot(
        steps,
        over_seeds(losses),
        color=look.colour,
        linestyle=look.line,
        linewidth=1.1,
        label=name,
        zorder=2.5 if window else 2,  # above the minibatches of other arms
    )


def loss_label(results: Results) -> str:
    """The axis of a training loss, and what is drawn of it."""
    window = median_window(results)
    drawn = f"\nmedian of {window}, faint: each" if window else ""
    return f"loss  {unit(results)}{drawn}"


def median_window(results: Results) -> int:
    """Minibatches of the running median of a long training curve; 0 where each one is drawn.

    The deep linear network sees all examples at each step: there is no noise to see through.
    """
    window = min(len(results.axes["step"]) // SHOWN_WINDOWS, MOST_IN_WINDOW) // 2 * 2 + 1
    return window if window >= LEAST_WINDOW and results.config["model"] != "dln" else 0


def running_median(values: np.ndarray, window: int) -> np.ndarray:
    """The median of the `window` values around each; what comes after the first NaN stays NaN.

    Example:
      >>> running_median(np.array([1.0, 9.0, 2.0, 3.0, np.nan]), 3).tolist()
      [1.0, 2.0, 3.0, 3.0, nan]
    """
    gone = np.flatnonzero(np.isnan(values))
    end = gone[0] if len(gone) else len(values)
    medians = np.full_like(values, np.nan)
    medians[:end] = median_filter(values[:end], window, mode="reflect") if end else []
    return medians
