"""Planes of losses, one panel an arm: shared levels, filled contours, one bar of colours."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from bnjax.draw import numbers, style
from bnjax.draw.elements import unit
from bnjax.draw.style import LOOKS
from bnjax.frame.results import Run as Results

LEVELS = 17
LARGEST_RANGE = 1e6  # of shared levels: below the highest loss that is shown by a colour
PER_ROW = 3  # panels
COLOURS = "viridis"


@contextmanager
def grid(results: Results, **layout: Any) -> Iterator[tuple[Figure, list[Any]]]:
    """A figure with one panel for each arm."""
    count = len(results.axes["norm"])
    columns = min(count, PER_ROW)
    rows = -(-count // columns)
    size = (1.2 + 3.7 * columns, 1.0 + 3.5 * rows)
    with style.figure(rows, columns, size=size, **layout) as (drawn, panels):
        for panel in panels[count:]:
            panel.remove()
        yield drawn, panels[:count]


def plane(results: Results, view: str, norm: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Columns `[x]`, rows `[y]` and losses `[y, x]` of the first seed."""
    where = {"norm": norm, "seed": results.axes["seed"][0]}
    return (
        results.select(f"{view}.columns", **where)[0],
        results.select(f"{view}.row", **where),
        results.select(f"{view}.losses", **where),
    )


def shared_levels(results: Results, view: str) -> np.ndarray:
    """Levels in equal ratios over all arms' losses, so that contours can be compared."""
    losses = results.arrays[f"{view}.losses"][:, 0]
    usable = losses[np.isfinite(losses) & (losses > 0)]
    if not usable.size:
        return np.geomspace(0.1, 1.0, LEVELS)
    low = float(usable.min())
    high = max(min(float(usable.max()), low * LARGEST_RANGE), low * 1.01)
    return np.geomspace(low, high, LEVELS)


def contours(panel: Axes, results: Results, view: str, norm: str, levels: np.ndarray) -> None:
    """Filled contours and their lines; a point without a finite loss stays white."""
    panel.set_title(LOOKS[norm].label)
    columns, rows, losses = plane(results, view, norm)
    if not np.isfinite(losses).any():
        panel.text(0.5, 0.5, "nothing measured", transform=panel.transAxes, ha="center")
        return
    # Of logarithms, so that contours between two points lie at equal ratios.
    shown, edges = np.ma.masked_invalid(logarithms(losses)), np.log10(levels)
    filled = panel.contourf(columns, rows, shown, edges, cmap=COLOURS, extend="both")
    filled.set_label(numbers.hidden(LOOKS[norm].label))
    numbers.behind(filled, "grid", x=columns, y=rows[:, None], value=losses)
    lines: dict[str, Any] = {"colors": "black", "linewidths": 0.4, "linestyles": "solid"}
    numbers.behind(panel.contour(columns, rows, shown, edges, **lines), "none")


def logarithms(losses: np.ndarray) -> np.ndarray:
    """Decimal logarithms; NaN where there is none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        exponents = np.log10(losses)
    return np.where(np.isfinite(exponents), exponents, np.nan)


def colour_bar(drawn: Figure, panels: list[Axes], results: Results, levels: np.ndarray) -> None:
    """One bar of colours for all panels."""
    from matplotlib.cm import ScalarMappable

    scale = LogNorm(levels[0], levels[-1])
    bar = drawn.colorbar(
        ScalarMappable(scale, COLOURS), ax=panels, extend="both", label=f"loss  {unit(results)}"
    )
    for level in levels:
        bar.ax.axhline(level, color="black", linewidth=0.4)
