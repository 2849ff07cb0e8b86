"""Names of reference lines, put where they cover no curve."""

import itertools

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D
from matplotlib.text import Annotation
from matplotlib.transforms import Bbox

# Where a name may stand along its line, and on which side of it; the first free place is taken.
ACROSS = (
    (0.995, "right"),
    (0.005, "left"),
    *((place / 20, "center") for place in range(18, 1, -1)),
)
SIDES = ("bottom", "top")
GAP = 1.5  # points between a line and its name
OUTSIDE = 1e6  # how much worse than on a curve it is outside the panel or on another name


def place(axes: Axes, names: list[Annotation]) -> None:
    """Move the names of a panel's lines to where they cover least; the layout must be done."""
    taken: list[Bbox] = []
    curves = [points(line, axes) for line in axes.get_lines() if names]
    for name in names:
        ways = list(itertools.product(ACROSS, SIDES))
        costs = [cost(move(name, *way), axes, curves, taken) for way in ways]
        taken.append(move(name, *ways[int(np.argmin(costs))]))


def move(name: Annotation, across: tuple[float, str], side: str) -> Bbox:
    """Put a name somewhere along its line; the place that it takes, in pixels."""
    fraction, align = across
    name.xy = (fraction, name.xy[1])
    name.set_position((0, GAP if side == "bottom" else -GAP))
    name.set(ha=align, va=side)
    return name.get_window_extent()


def cost(box: Bbox, axes: Axes, curves: list[np.ndarray], taken: list[Bbox]) -> float:
    """How much of curves a name would cover; more where it leaves the panel or meets another."""
    inside = axes.get_window_extent().padded(1)
    wrong = not (inside.containsx(box.x0) and inside.containsx(box.x1))
    wrong |= not (inside.containsy(box.y0) and inside.containsy(box.y1))
    wrong |= any(box.overlaps(other) for other in taken)
    return OUTSIDE * wrong + sum(int(box.count_contains(points)) for points in curves)


def points(line: Line2D, axes: Axes) -> np.ndarray:
    """Points along a curve, close to each other, in pixels; none of a line across the panel."""
    if line.get_transform() != axes.transData:
        return np.empty((0, 2))
    corners = line.get_transform().transform(np.asarray(line.get_xydata(), float))
    if len(corners) < 2:
        return corners
    position = np.arange(len(corners))
    dense = np.linspace(0, len(corners) - 1, max(len(corners), 2000))
    found = np.stack([np.interp(dense, position, corners[:, axis]) for axis in (0, 1)], axis=1)
    return found[np.isfinite(found).all(axis=1)]
