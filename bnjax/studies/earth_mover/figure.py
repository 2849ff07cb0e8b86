"""The figure of an earth mover run: distances with their bounds, units, moments, and training."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.lines import Line2D

from bnjax.draw import numbers, style
from bnjax.draw.elements import (
    dead,
    draw_loss,
    mark_ends,
    over_seeds,
    plot,
    setting,
    spread,
    subject,
)
from bnjax.draw.style import LOOKS
from bnjax.frame.published_curves import Published
from bnjax.frame.results import Results
from bnjax.studies.earth_mover.earth_mover_terms import field

TITLES = (
    "a  Earth mover distance\nof the layer and bounds",
    "b  Sliced distance\nover the layer's deviation",
    "c  Distance of units\nover their mean deviation",
    "d  Change of units'\nhigher moments",
)
DOTTED: dict[str, Any] = {"linestyle": "-", "marker": ".", "markersize": 4, "markevery": 4}
MEANINGS: dict[str, Any] = {
    "a: distance; d: skewness": {"linewidth": 1.4},
    "a: bounds by moments; d: kurtosis": {"linewidth": 0.6},
    "a: bound by γ and β of BatchNorm": {"linewidth": 0.6, **DOTTED},
}


def draw(results: Results, published: Published, folder: Path) -> Sequence[Path]:
    """Draw `earth_mover` from a run's results.

    Args:
      results: as `bnjax.frame.results.read` returns them.
      published: unused: no curve of these figures is published.
      folder: where the figures go.

    Returns:
      The paths of the files.
    """
    del published
    layers = [str(layer) for layer in results.axes["shown_layer"]]
    rows, columns = len(layers) + 1, len(TITLES)
    size = (0.8 + 2.5 * columns, 1.6 + 1.8 * rows)
    with style.figure(rows, columns, size, sharex=True) as (drawn, panels):
        grid = np.array(panels).reshape(rows, columns)
        for row, layer in zip(grid, layers, strict=False):
            draw_layer(row, results, layer)
        for panel, title in zip(grid[0], TITLES, strict=True):
            panel.set_title(title)
        draw_loss(grid[-1, 0], results)
        grid[-1, 0].set_title("e  Training")
        for panel in grid[-1, 1:]:
            panel.set_axis_off()
        for panel in (*grid[-2, 1:], grid[-1, 0]):
            panel.set_xlabel("training step")
            panel.tick_params(labelbottom=True)
        handles, names = grid[0, 1].get_legend_handles_labels()
        lines = [Line2D([], [], color="0.35", **look) for look in MEANINGS.values()]
        meanings = list(MEANINGS) if "batch" in results.axes["norm"] else list(MEANINGS)[:2]
        keys = grid[-1, 1].legend([*handles, *lines], [*names, *meanings], loc="center left")
        keys.set_in_layout(False)  # it may reach into the empty panel beside it
        style.caption(drawn, "\n".join(caption(results)))
        return style.save(drawn, folder, "earth_mover")


def caption(results: Results) -> list[str]:
    """What was run, on what, and what the lines are."""
    config = results.config
    distance = "in all dimensions" if config["exact"] else "sliced, scaled to all dimensions"
    return [
        f"{subject(results)}, {setting(config)}",
        "Outputs of a layer on the step's batch before and after the step's actual update. "
        f"a: {distance}, units of the output; D: dimension. b: mean over {config['slices']} "
        "directions, over c_D. c: median over units, shaded: 15th to 85th percentile. "
        "d: mean over units of the absolute change of standardised moments, no unit.",
        f"Lines: {spread(results)}.",
        *dead(results),
    ]


def draw_layer(row: np.ndarray, results: Results, layer: str) -> None:
    """One layer for every arm: distance with bounds, sliced, units, moments."""
    full, slices, units, higher = row
    steps = results.axes["probe_step"]
    distance = "exact" if results.config["exact"] else "scaled"
    for norm in map(str, results.axes["norm"]):
        look = LOOKS[norm]
        thin: dict[str, Any] = {"color": look.colour, "linestyle": look.line, "linewidth": 0.6}

        def of(name: str, arm: str = norm) -> np.ndarray:
            """A field over the seeds, `[seed, probe_step, …]`."""
            return results.select(f"earth_mover.{name}", norm=arm, shown_layer=layer)

        plot(full, results, norm, steps, over_seeds(of(distance)))
        for bound in ("lower", "upper"):
            label = numbers.hidden(f"{look.label}, {bound} bound by moments")
            full.plot(steps, over_seeds(of(bound)), label=label, **thin)
        label = numbers.hidden(f"{look.label}, bound by γ and β")
        full.plot(steps, over_seeds(of("norm_bound")), label=label, **thin | DOTTED)
        plot(slices, results, norm, steps, over_seeds(of("scaled") / of("deviation")))
        quantiles = over_seeds(of("channel_percentiles") / of("channel_deviation")[..., None])
        plot(units, results, norm, steps, quantiles[:, 1])
        units.fill_between(
            steps,
            quantiles[:, 0],
            quantiles[:, 2],
            facecolor=look.colour,
            alpha=0.2,
            hatch=look.hatch,
            edgecolor=look.colour,
            linewidth=0,
            label=numbers.hidden(f"{look.label}, 15th to 85th percentile"),
        )
        plot(higher, results, norm, steps, over_seeds(of("skewness_change")))
        label = numbers.hidden(f"{look.label}, kurtosis")
        higher.plot(steps, over_seeds(of("kurtosis_change")), label=label, **thin)
        mark_ends(higher, results, norm)
    for panel in row:
        style.log_scale(panel)
        panel.grid(visible=True)
    dimension = field(results, "dimension", norm, results.axes["seed"].tolist()[0])
    index = results.axes["shown_layer"].tolist().index(layer)
    full.set_ylabel(f"{layer}, D = {dimension[0, index]:.0f}")
