"""The figure of the sigmoid network, in the manner of Ioffe & Szegedy 2015, Fig. 1."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from bnjax.draw import numbers, style
from bnjax.draw.elements import dead, mark_ends, over_seeds, setting, subject
from bnjax.draw.style import LOOKS
from bnjax.frame.published_curves import Published
from bnjax.frame.results import Results
from bnjax.studies.sigmoid_mnist import claims

LOWEST = 70  # accuracy [%] from which the published panel shows


def draw(results: Results, published: Published, folder: Path) -> Sequence[Path]:
    """Draw `sigmoid` from a run's results.

    Args:
      results: as `bnjax.frame.results.read` returns them.
      published: unused: no number of this figure is published.
      folder: where the figures go.

    Returns:
      The paths of the files.
    """
    del published
    norms = [str(norm) for norm in results.axes["norm"]]
    with style.figure(1, 1 + len(norms), (1.2 + 3.1 * (1 + len(norms)), 4.0)) as (drawn, panels):
        cut = draw_accuracy(panels[0], results)
        for letter, panel, norm in zip("bcdefghijkl", panels[1:], norms, strict=False):
            draw_inputs(panel, results, norm)
            panel.set_title(f"{letter}  {LOOKS[norm].label}")
        for panel in panels[2:]:
            panel.sharey(panels[1])
        for panel in panels:
            panel.set_xlabel("training step")
            style.step_limits(panel, len(results.axes["step"]))
            panel.grid(visible=True)
        style.caption(drawn, "\n".join([*caption(results, cut), *dead(results)]))
        return style.save(drawn, folder, "sigmoid")


def draw_accuracy(panel: Axes, results: Results) -> bool:
    """Test accuracy of every arm against steps.

    Returns:
      Whether accuracies below `LOWEST` lie outside.
    """
    ends = []
    for norm in map(str, results.axes["norm"]):
        look = LOOKS[norm]
        steps, accuracy = (
            results.axes["test_step"],
            100 * results.select("test.accuracy", norm=norm),
        )
        if len(accuracy) > 1:
            low, high = accuracy.min(axis=0), accuracy.max(axis=0)
            label = numbers.hidden(f"{look.label}, range over seeds")
            shown: dict[str, Any] = {"color": look.colour, "alpha": 0.2, "linewidth": 0}
            panel.fill_between(steps, low, high, label=label, **shown)
        middle = over_seeds(accuracy)
        panel.plot(
            steps,
            middle,
            color=look.colour,
            linestyle=look.line,
            linewidth=1.3,
            marker=look.marker,
            markevery=max(1, len(steps) // 8),
            markersize=4,
            fillstyle="none",
            label=look.label,
        )
        ends.append(middle[-1])
        mark_ends(panel, results, norm)
    cut = bool(min(ends) > LOWEST + 10)
    if cut:
        panel.set_ylim(LOWEST, 100)
    panel.set(title="a  Test set", ylabel="test accuracy  [%]")
    panel.legend(loc="lower right")
    return cut


def draw_inputs(panel: Axes, results: Results, norm: str) -> None:
    """The percentiles of one typical unit's input along training, first seed."""
    look, seed = LOOKS[norm], int(results.axes["seed"][0])
    unit = claims.typical_unit(results, norm, seed)
    values = claims.percentiles(results, norm, seed)[:, unit]
    steps = results.axes["probe_step"]
    panel.fill_between(
        steps,
        values[:, 0],
        values[:, -1],
        color=look.colour,
        alpha=0.15,
        linewidth=0,
        label=numbers.hidden("between the outer percentiles"),
    )
    for column, level in enumerate(results.axes["percentile"]):
        is_median = level == 50
        panel.plot(
            steps,
            values[:, column],
            color=look.colour,
            linewidth=1.6 if is_median else 0.8,
            label=numbers.hidden(f"percentile {level:g}"),
        )
        shown = values[np.isfinite(values[:, column]), column]
        panel.annotate(
            f"{level:g}th",
            xy=(steps[len(shown) - 1], shown[-1]),
            xytext=(3, 3),
            textcoords="offset points",
            ha="right",
            fontsize=7.5,
            color="0.2",
        )
    mark_ends(panel, results, norm)
    panel.set_ylabel(f"input to sigmoid {unit} of the last hidden layer")


def caption(results: Results, cut: bool) -> list[str]:
    """What was run, on what, and how it is drawn."""
    config = results.config
    seeds = len(results.axes["seed"])
    deviation = config["initial_deviation"]
    start = f"deviation {deviation:g}" if deviation is not None else config["initializer"]
    own = "their own statistics" if config["statistics"] == "batch" else "running averages"
    spread = "one seed" if seeds == 1 else f"lines: median over {seeds} seeds, bands: their range"
    below = f"; accuracies below {LOWEST} % lie outside" if cut else ""
    return [
        f"{subject(results)}, {setting(config)}; initial kernels: {start}",
        f"a: {spread}{below}. Others: 15th, 50th and 85th percentile over {config['inputs']} "
        f"training images normalised with {own}, seed {results.axes['seed'][0]}, of the unit whose "
        "percentiles wander as far as the median unit's.",
    ]
