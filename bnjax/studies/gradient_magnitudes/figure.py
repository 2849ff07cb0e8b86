"""The figure of gradient magnitudes: a panel for each arm, a line for each kind of parameter."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from bnjax.draw import style
from bnjax.draw.elements import dead, draw_loss, mark_ends, over_seeds, setting, subject
from bnjax.draw.elements import spread as spread_of
from bnjax.draw.style import LOOKS
from bnjax.frame.published_curves import Published
from bnjax.frame.results import Results

# By kind: its name, and how it is drawn; lines and markers differ as well as hues.
LINES: dict[str, tuple[str, dict[str, Any]]] = {
    "kernel": ("kernels", {"color": "#000000", "linestyle": "-"}),
    "bias": ("biases that none cancels", {"color": "#E69F00", "linestyle": "--", "marker": "o"}),
    "cancelled_bias": (
        "biases that a normaliser cancels",
        {"color": "#999999", "linestyle": ":", "marker": "x"},
    ),
    "scale": ("scales γ", {"color": "#0072B2", "linestyle": "-.", "marker": "s"}),
    "shift": ("shifts β", {"color": "#D55E00", "linestyle": (0, (5, 1)), "marker": "^"}),
    "other": (
        "other parameters of normalisers",
        {"color": "#009E73", "linestyle": (0, (1, 1)), "marker": "D"},
    ),
}


def draw(results: Results, published: Published, folder: Path) -> Sequence[Path]:
    """Draw `gradient_magnitudes` from a run's results.

    Args:
      results: as `bnjax.frame.results.read` returns them.
      published: unused: no curve of this figure is published.
      folder: where the figures go.

    Returns:
      The paths of the files.
    """
    del published
    norms = [str(norm) for norm in results.axes["norm"]]
    columns = min(4, len(norms) + 1)
    rows = -(-(len(norms) + 1) // columns)
    with style.figure(rows, columns, (0.8 + 3.0 * columns, 1.4 + 2.8 * rows)) as (drawn, panels):
        for panel, norm in zip(panels, norms, strict=False):
            draw_arm(panel, results, norm)
        shown = panels[: len(norms)]
        low = min(panel.get_ylim()[0] for panel in shown)
        high = max(panel.get_ylim()[1] for panel in shown)
        for panel in shown:
            panel.set_ylim(low, high)
        shown[0].set_ylabel("mean |∂L/∂θ|  [loss per unit of θ]")
        training = panels[len(norms)]
        draw_loss(training, results)
        training.set_title("Training")
        training.legend()
        for panel in panels[: len(norms) + 1]:
            panel.set_xlabel("training step")
        for panel in panels[len(norms) + 1 :]:
            panel.set_axis_off()
        keys = {
            name: line
            for panel in shown
            for line, name in zip(*panel.get_legend_handles_labels(), strict=True)
        }
        drawn.legend(keys.values(), keys.keys(), loc="outside lower center", ncols=3)
        style.caption(drawn, "\n".join(caption(results)))
        return style.save(drawn, folder, "gradient_magnitudes")


def draw_arm(panel: Axes, results: Results, norm: str) -> None:
    """All kinds of one arm that it has."""
    for kind in map(str, results.axes["kind"]):
        values = over_seeds(results.select("magnitudes.mean", norm=norm, kind=kind))
        if np.isfinite(values).any():
            name, look = LINES[kind]
            steps = results.axes["probe_step"]
            panel.plot(steps, values, label=name, linewidth=1, markevery=0.1, markersize=3, **look)
    mark_ends(panel, results, norm)
    panel.set_title(LOOKS[norm].label)
    style.log_scale(panel)
    panel.grid(visible=True)


def caption(results: Results) -> list[str]:
    """What was run, on what."""
    config = results.config
    return [
        f"{subject(results)}, {setting(config)}",
        "Mean absolute gradient of the objective over all parameters of a kind, on the step's "
        f"batch, without weight decay. Lines: {spread_of(results)}.",
        *dead(results),
    ]
