"""Names of reference lines, put where they cover no curve."""

import itertools
import textwrap

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

KIND = "_reference"  # the label of such a name among a panel's texts
# Where a name may stand along its line, and on which side of it; the first that is free is taken.
ACROSS = (
    (0.995, "right"),
    (0.005, "left"),
    *((place / 20, "center") for place in range(18, 1, -1)),
)
SIDES = ("bottom", "top")
BESIDE = 13  # characters a line of a name right of its panel
MARGIN = 5 * " "  # between such a name and the edge of the figure
GAP = 1.5  # points between a line and its name
OUTSIDE = (
    1e6  # how much worse it is to stand outside the panel, or on another name, than on a curve
)


def write(panel: Axes, value: float, name: str) -> None:
    """Name the line across a panel at `value`; `place` finds the place when all is drawn."""
    made = panel.annotate(
        name,
        xy=(ACROSS[0][0], value),
        xycoords=("axes fraction", "data"),
        xytext=(0, GAP),
        textcoords="offset points",
        ha="right",
        va="bottom",
        fontsize=7.5,
        color="0.25",
        zorder=1.5,  # below the curves, where no place is free
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5},
    )
    made.set_label(KIND)


def write_beside(panel: Axes, value: float, name: str) -> None:
    """Name the line across a panel at `value` right of it, where the layout keeps room for it."""
    panel.annotate(
        "\n".join(line + MARGIN for line in textwrap.wrap(name, BESIDE)),
        xy=(1.0, value),
        xycoords=("axes fraction", "data"),
        xytext=(3, 0),
        textcoords="offset points",
        ha="left",
        va="center",
        fontsize=7.5,
        color="0.25",
        annotation_clip=False,
    )


def place(drawn: Figure) -> None:
    """Move all names of reference lines to where they cover least; the layout must be done."""
    for panel in drawn.axes:
        taken: list[Bbox] = []
        names = [text for text in panel.texts if text.get_label() == KIND]
        curves = [points(line, panel) for line in panel.get_lines() if names]
        for name in names:
            if isinstance(name, Annotation):
                ways = list(itertools.product(ACROSS, SIDES))
                costs = [cost(move(name, *way), panel, curves, taken) for way in ways]
                taken.append(move(name, *ways[int(np.argmin(costs))]))


def move(name: Annotation, across: tuple[float, str], side: str) -> Bbox:
    """Put a name somewhere along its line; the place that it takes, in pixels."""
    fraction, align = across
    name.xy = (fraction, name.xy[1])
    name.set_position((0, GAP if side == "bottom" else -GAP))
    name.set(ha=align, va=side)
    return name.get_window_extent()


def cost(box: Bbox, panel: Axes, curves: list[np.ndarray], taken: list[Bbox]) -> float:
    """How much of curves a name would cover; more where it leaves the panel or meets another."""
    inside = panel.get_window_extent().padded(1)
    wrong = not inside.containsx(box.x0) or not inside.containsx(box.x1)
    wrong |= not inside.containsy(box.y0) or not inside.containsy(box.y1)
    wrong |= any(box.overlaps(other) for other in taken)
    return OUTSIDE * wrong + sum(int(box.count_contains(points)) for points in curves)


def points(line: Line2D, panel: Axes) -> np.ndarray:
    """Points along a curve, close to each other, in pixels; none of a line across the panel."""
    if line.get_transform() != panel.transData:
        return np.empty((0, 2))
    corners = line.get_transform().transform(np.asarray(line.get_xydata(), float))
    if len(corners) < 2:
        return corners
    place = np.arange(len(corners))
    dense = np.linspace(0, len(corners) - 1, max(len(corners), 2000))
    found = np.stack([np.interp(dense, place, corners[:, axis]) for axis in (0, 1)], axis=1)
    return found[np.isfinite(found).all(axis=1)]
