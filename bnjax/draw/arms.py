"""What a figure draws of every arm: curves over its seeds, bands, its training, its end."""

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import xarray
from scipy.ndimage import median_filter

from bnjax.draw.drawing import LOOKS, STEP, Panel
from bnjax.frame.results import Run
from bnjax.judge.compare import why_not_trained
from bnjax.judge.curves import smooth

PARTS = ("train", "test")
NETWORKS = {
    **{f"vgg{depth}": f"VGG-{depth}" for depth in (5, 11, 13, 16, 19, 38)},
    "vgg38_residual": "VGG-38 with residual connections",
    "resnet": "ResNet",
    "lenet": "LeNet",
    "alexnet": "AlexNet",
    "mlp": "Perceptron",
    "gpt": "GPT",
    "vit": "ViT",
}
SCALES = {
    "standardised": "",
    "per_image": ", each image standardised",
    "unscaled": ", pixels 0 to 255",
}
OPTIMIZERS = {
    "sgd": "SGD",
    "momentum": "SGD with momentum",
    "nesterov": "Nesterov momentum",
    "adamw": "AdamW",
}


def network(options: Mapping[str, Any]) -> str:
    from bnjax.models import FAMILIES  # imports JAX and Flax, which drawing does not need

    model, dropout = options["model"], options["dropout"]
    family = FAMILIES.get(model)  # not there: another program registered it
    depth = options["depth"] or (family.depth if family else None)
    if model == "dln":
        return f"{depth} linear layers of 10×10"
    name = NETWORKS.get(model, model)
    numbered = model not in ("gpt", "vit") and (options["depth"] or model == "resnet")
    words = f"{name}-{depth}" if numbered else name
    if family and "width" in family.options:
        words += f" ×{options['width']:g}"
    if model in ("gpt", "vit"):  # other studies have no choice of a place
        words += f", {depth} block{'s' * (depth != 1)}, {options.get('place', 'pre')}-norm"
        words += ", QK-norm" * options.get("qk_norm", False)
    if head := options.get("hidden"):  # not every network has a choice
        words += f", head {'–'.join(map(str, head))}"
    if bias := options.get("bias_init"):
        words += f", biases from {bias:g}"
    return f"{words}, dropout {dropout:g}" if dropout else words


def subject(run: Run) -> str:
    """What was trained, on what and how long: the scale of what a figure shows."""
    data = f"{run.facts['dataset']}{SCALES[run.options['pixel_scale']]}"
    return f"{network(run.options)}, {data}; {run.options['steps']:,} steps"


def setting(run: Run, *, lr: bool = True) -> str:
    rate = f" lr {run.options['lr']:g}" if lr else ""
    return f"{optimizer(run)}{rate}, batch {run.options['batch_size']}{penalty(run)}"


def penalty(run: Run) -> str:
    """The penalty of a run, and which of its losses contain it; empty where there is none."""
    factor = run.options["kernel_penalty"]
    text = f", penalty {factor:g}·Σ kernel² in the trained and probed loss, not in training curves"
    return text if factor else ""


def optimizer(run: Run) -> str:
    name = run.options["optimizer"]
    return OPTIMIZERS.get(name, name.capitalize())


def unit(run: Run) -> str:
    return "[nat]" if run.options["objective"] == "cross_entropy" else ""


def spread(run: Run) -> str:
    """What a line is of the seeds."""
    seeds = len(run.seeds)
    return "one seed" if seeds == 1 else f"median over {seeds} seeds"


def untrained(run: Run) -> list[str]:
    """Arms whose curves must not be compared, and why; at most one line."""
    reasons = filter(None, (why_not_trained(run, norm) for norm in run.norms))
    return list(filter(None, ["; ".join(reasons)]))


SHOWN_WINDOWS = 50  # of a long training curve
LEAST_WINDOW, MOST_IN_WINDOW = 10, 500  # minibatches; below the least each is drawn by itself


def curves(
    panel: Panel,
    run: Run,
    values: xarray.DataArray,
    name: str = "{}",
    *,
    kind: Literal["line", "points"] = "line",
    ends: bool = True,
    **style: Any,
) -> None:
    """A line for every arm: the median over its seeds, where one has ended over the others.

    Args:
      panel: to draw on.
      run: of the values.
      values: `(norm, seed, x)`, in any order and perhaps without `seed`; `x` is any axis, e.g.
        `run["shift_cosines"].sel(layer="conv1")`.
      name: of a series; `{}` stands for the label of the arm.
      kind: which method of the panel draws.
      ends: whether crosses mark where seeds diverged.
      style: further arguments of that method: `legend`, whose `{}` stands for that label too,
        `marker`, `linewidth`, …
    """
    legend = style.pop("legend", True)
    for norm, here in each_arm(values):
        (axis,), look = here.dims, LOOKS[norm]
        own = legend.format(look.label) if isinstance(legend, str) else legend
        series = name.format(look.label)
        getattr(panel, kind)(here[axis], here, series, look, legend=own, **style)
        if ends:
            mark_ends(panel, run, norm)


def bands(
    panel: Panel, low: xarray.DataArray, high: xarray.DataArray, name: str = "{}", **style: Any
) -> None:
    """A band for every arm, between the medians over seeds of two arrays; see `curves`.

    The range over seeds: `low=values.min("seed", skipna=False)`.
    """
    for (norm, lower), (_, upper) in zip(each_arm(low), each_arm(high), strict=True):
        (axis,), look = lower.dims, LOOKS[norm]
        panel.band(lower[axis], lower, upper, name.format(look.label), look, **style)


def each_arm(values: xarray.DataArray) -> list[tuple[str, xarray.DataArray]]:
    middle = values.median("seed") if "seed" in values.dims else values
    return [(str(norm), middle.sel(norm=norm)) for norm in values["norm"].values]


def mark_ends(panel: Panel, run: Run, norm: str) -> None:
    """A cross on the time axis for each seed of the arm that diverged."""
    if "train_finite" not in run:  # measured in a loop of one's own
        return
    for finite in run["train_finite"].sel(norm=norm).transpose("seed", "step").values:
        for step in np.flatnonzero(finite == 0)[:1]:
            panel.marks(int(step), f"{LOOKS[norm].label}, diverged", LOOKS[norm])


def training(panel: Panel, run: Run, *, test: bool = False) -> None:
    """The training loss of every arm and that of chance; of a long run faintly, and its median.

    Args:
      panel: to draw on; its y axis gets label and scale.
      run: of the losses.
      test: with the losses on the test set; series are then `<arm>, minibatch` and `<arm>, test
        set`.
    """
    window = median_window(run)
    for norm in run.norms:
        look, losses = LOOKS[norm], run["train_loss"].sel(norm=norm)
        name = f"{look.label}, minibatch" if test else look.label
        if window:
            each, first = f"{look.label}, every minibatch of one seed", losses.isel(seed=0)
            faint: Any = {"linestyle": "-", "linewidth": 0.4, "alpha": 0.25, "legend": False}
            panel.line(losses["step"], first, each, look, **faint)
            losses = running_medians(losses, window)
        # Above the minibatches of other arms.
        panel.line(losses["step"], losses.median("seed"), name, look, zorder=2.5 if window else 2)
        if test:
            found = run["test_loss"].sel(norm=norm).median("seed")
            hollow: Any = {"fillstyle": "none", "zorder": 3}
            panel.points(found["test_step"], found, f"{look.label}, test set", look, **hollow)
        mark_ends(panel, run, norm)
    panel.reference(run.facts["chance_loss"], "chance")
    panel.set(ylabel=f"{'' if test else 'minibatch '}{loss_label(run)}", log=True)


def progress(panel: Panel, run: Run, quantity: str, window: int) -> None:
    """Accuracy (in percent) or loss of every arm: minibatches, their running median, the test set.

    Series are `<arm>, training`, of several seeds with the band of their range, and `<arm>, test
    set`; faintly, `<arm>, training, every minibatch` of the first seed.
    """
    scale = 100 if quantity == "accuracy" else 1
    for norm in run.norms:
        look, name = LOOKS[norm], f"{LOOKS[norm].label}, training"
        each, test = (scale * run[f"{part}_{quantity}"].sel(norm=norm) for part in PARTS)
        each = each.transpose("seed", "step")
        smoothed, steps = each.copy(data=smooth(each.values, window)), each["step"]
        if window > 1:
            faint: Any = {"linestyle": "-", "linewidth": 0.4, "alpha": 0.3, "legend": False}
            panel.line(steps, each.isel(seed=0), f"{name}, every minibatch", look, **faint)
        if len(run.seeds) > 1:
            low, high = (end("seed", skipna=False) for end in (smoothed.min, smoothed.max))
            panel.band(steps, low, high, name, look, alpha=0.15, legend=False)
        panel.line(steps, smoothed.median("seed"), name, look, linewidth=1.3)
        name = f"{look.label}, test set"
        panel.points(test["test_step"], test.median("seed"), name, look, fillstyle="none")
        mark_ends(panel, run, norm)
    if quantity == "loss":
        panel.reference(run.facts["chance_loss"], "chance")
    label = f"{quantity}  {unit(run) if quantity == 'loss' else '[%]'}"
    panel.set(xlabel=STEP, ylabel=label, log=quantity == "loss", steps=run.data.sizes["step"])


def loss_label(run: Run) -> str:
    """The axis of a training loss, and what is drawn of it."""
    window = median_window(run)
    return f"loss  {unit(run)}" + f"\nmedian of {window}, faint: each" * bool(window)


def median_window(run: Run) -> int:
    """Minibatches of the running median of a long training curve; 0 where each one is drawn.

    The deep linear network sees all examples at each step: there is no noise to see through.
    """
    window = min(run.data.sizes["step"] // SHOWN_WINDOWS, MOST_IN_WINDOW) // 2 * 2 + 1
    return window if window >= LEAST_WINDOW and run.options["model"] != "dln" else 0


def running_medians(values: xarray.DataArray, window: int) -> xarray.DataArray:
    """Medians of the `window` steps around each; what comes after the first NaN stays NaN.

    Example:
      >>> values = xarray.DataArray([1.0, 9.0, 2.0, 3.0, np.nan], dims="step")
      >>> running_medians(values, 3).values.tolist()
      [1.0, 2.0, 3.0, 3.0, nan]
    """

    def medians(row: np.ndarray) -> np.ndarray:
        gone = np.isnan(row)
        end = int(np.argmax(gone)) if gone.any() else len(row)
        found = np.full_like(row, np.nan)
        found[:end] = median_filter(row[:end], window, mode="reflect") if end else []
        return found

    place = values.get_axis_num("step")
    return values.copy(data=np.apply_along_axis(medians, place, values.values))
