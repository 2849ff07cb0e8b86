"""The figure of the sigmoid network, in the manner of Ioffe & Szegedy 2015, Fig. 1."""

from typing import Any

import numpy as np

from bnjax import draw
from bnjax.draw import LOOKS, STEP, Drawing, Panel
from bnjax.frame.published_curves import Published
from bnjax.frame.results import Run
from bnjax.studies.sigmoid_mnist import claims

LOWEST = 70  # accuracy [%] from which the published panel shows


def sigmoid(run: Run, published: Published) -> Drawing:
    """Test accuracy of all arms, and the inputs to a typical sigmoid of each."""
    del published  # no number of this figure is published
    columns = 1 + len(run.norms)
    drawing = Drawing(
        "sigmoid",
        (1, columns),
        size=(1.2 + 3.1 * columns, 4.0),
        title="The sigmoid network",
        text="(a) Test accuracy against the step. Others: 15th, 50th and 85th percentile of the "
        "input to one typical sigmoid of the last hidden layer.",
        source="Ioffe & Szegedy 2015, Fig. 1",
    )
    first, *others = drawing.panels
    cut = draw_accuracy(first, run)
    for panel in others[1:]:
        panel.axes.sharey(others[0].axes)
    for letter, panel, norm in zip("bcdefghijklmno", others, run.norms, strict=False):
        draw_inputs(panel, run, norm)
        panel.set(title=f"{letter}  {LOOKS[norm].label}")
    for panel in drawing.panels:
        panel.set(xlabel=STEP, steps=run.data.sizes["step"])
    drawing.caption = "\n".join([*caption(run, cut), *draw.untrained(run)])
    return drawing


def draw_accuracy(panel: Panel, run: Run) -> bool:
    """Test accuracy of every arm against steps.

    Returns:
      Whether accuracies below `LOWEST` lie outside.
    """
    accuracy = 100 * run["test_accuracy"]
    if len(run.seeds) > 1:
        low, high = (end("seed", skipna=False) for end in (accuracy.min, accuracy.max))
        draw.bands(panel, low, high, "{}, range over seeds", legend=False)
    style: Any = {"linewidth": 1.3, "marker": True, "markersize": 4, "fillstyle": "none"}
    draw.curves(panel, run, accuracy, markevery=1 / 8, **style)
    cut = bool((accuracy.median("seed").isel(test_step=-1) > LOWEST + 10).all())
    if cut:
        panel.set(ylim=(LOWEST, 100))
    panel.set(title="a  Test set", ylabel="test accuracy  [%]")
    panel.legend(loc="lower right")
    return cut


def typical_sigmoid(run: Run, norm: str) -> int:
    """The sigmoid that wanders as far as the median one, first seed; the lower of two medians."""
    far = claims.wander(run).sel(norm=norm).isel(seed=0).values
    known = int(np.isfinite(far).sum())
    return int(np.argsort(far)[max(0, (known - 1) // 2)])


def draw_inputs(panel: Panel, run: Run, norm: str) -> None:
    """The percentiles of one typical sigmoid's input along training, first seed."""
    look, place = LOOKS[norm]._replace(line="-"), typical_sigmoid(run, norm)
    values = run["inputs_percentiles"].sel(norm=norm).isel(seed=0, channel=place)
    steps, low, high = run["probe_step"].values, *(values.isel(percentile=end) for end in (0, -1))
    name = "between the outer percentiles"
    panel.band(steps, low, high, name, look, alpha=0.15, legend=False)
    small: Any = {"xytext": (3, 3), "textcoords": "offset points", "ha": "right"}
    small |= {"fontsize": 7.5, "color": "0.2"}
    for own in values.transpose("percentile", "probe_step"):
        level, shown = float(own["percentile"]), own[np.isfinite(own)]
        width = 1.6 if level == 50 else 0.8
        panel.line(steps, own, f"percentile {level:g}", look, linewidth=width, legend=False)
        if len(shown):
            at = float(shown["probe_step"][-1]), float(shown[-1])
            panel.note(f"{level:g}th", at, "data", **small)
    draw.mark_ends(panel, run, norm)
    panel.set(ylabel=f"input to sigmoid {place} of the last hidden layer")


def caption(run: Run, cut: bool) -> list[str]:
    """What was run, on what, and how it is drawn."""
    options, seeds = run.options, len(run.seeds)
    deviation = options["initial_deviation"]
    start = f"deviation {deviation:g}" if deviation is not None else options["initializer"]
    own = "their own statistics" if options["statistics"] == "batch" else "running averages"
    spread = "one seed" if seeds == 1 else f"lines: {draw.spread(run)}, bands: their range"
    below = f"; accuracies below {LOWEST} % lie outside" if cut else ""
    return [
        f"{draw.subject(run)}, {draw.setting(run)}; initial kernels: {start}",
        f"a: {spread}{below}. Others: 15th, 50th and 85th percentile over {options['inputs']} "
        f"training images normalised with {own}, seed {run.seeds[0]}, of the sigmoid whose "
        "percentiles wander as far as the median sigmoid's.",
    ]


FIGURES = (sigmoid,)
