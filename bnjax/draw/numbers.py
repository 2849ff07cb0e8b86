"""The numbers behind a drawn figure, as rows of a table: what each artist was given to draw.

Read from matplotlib's own artists when a figure is saved, so that the table holds what is drawn and
nothing else. Artists that keep no numbers (contours, surfaces) or not those that they were given
(images, steps) have them attached by `behind`; one of a kind that is not known is refused.
"""

import csv
import re
import weakref
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection, PolyCollection
from matplotlib.colors import to_hex
from matplotlib.container import BarContainer, ErrorbarContainer
from matplotlib.contour import ContourSet
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import StepPatch

from bnjax.draw.panel_names import one_line, panel_names
from bnjax.frame.disk import replacing

COLUMNS = ("panel", "series", "kind", "x", "y", "low", "high", "value")
UNNAMED = re.compile(r"_child\d+|_nolegend_|")
ATTACHED: "weakref.WeakKeyDictionary[Artist, Numbers]" = weakref.WeakKeyDictionary()


class Numbers(NamedTuple):
    """What one artist draws; columns of equal lengths by their names in `COLUMNS`."""

    kind: str  # line, points, band, bar, range, reference, mark, grid; none draws another's
    columns: Mapping[str, Any]
    series: str = ""  # its name, where the label says another


def hidden(name: str) -> str:
    """A label that names a series in the table and is in no legend."""
    return f"_{name}"


def behind(artist: Artist, kind: str, *, series: str = "", **columns: Any) -> None:
    """Attach the numbers that an artist draws but does not keep.

    Args:
      artist: as matplotlib returned it; of bars the first one stands for all.
      kind: of `Numbers`.
      series: its name, where its label says what a legend has to say.
      columns: arrays by their names in `COLUMNS`, broadcast against each other; none for an artist
        that draws what another one has (the lines of filled contours).
    """
    ATTACHED[artist] = Numbers(kind, columns, series)


def write(drawn: Figure, path: Path, names: Mapping[str, str]) -> None:
    """Write the table of a figure, whole or not at all.

    Args:
      drawn: the figure.
      path: of the CSV file, with the columns `COLUMNS`; `nan` is what was not measured, an empty
        cell is what a kind does not have.
      names: of arms by their colour, for artists without a label.

    Raises:
      TypeError: an artist of a kind that is not known, without attached numbers.
    """
    with replacing(path) as temporary, open(temporary, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        for panel, name in zip(drawn.axes, panel_names(drawn), strict=True):
            if panel.get_label() == "<colorbar>":
                continue
            for series, numbers in of_panel(panel, names):
                writer.writerows(rows(name, numbers.series or series, numbers))


def rows(panel: str, series: str, numbers: Numbers) -> Iterator[Sequence[str]]:
    """The lines of one artist, each number with as few digits as tell it from all others."""
    if not numbers.columns:
        return
    given = {name: np.asarray(values) for name, values in numbers.columns.items()}
    shape = np.broadcast_shapes(*(values.shape for values in given.values()))
    texts = [
        np.broadcast_to(given[name], shape).astype(str).ravel().tolist() if name in given else None
        for name in COLUMNS[3:]
    ]
    for i in range(int(np.prod(shape))):
        yield (
            panel,
            series,
            numbers.kind,
            *("" if column is None else column[i] for column in texts),
        )


def of_panel(panel: Axes, names: Mapping[str, str]) -> Iterator[tuple[str, Numbers]]:
    """Series and numbers of all artists of a panel, in the order in which they were drawn."""
    taken: set[Artist] = set()
    for container in panel.containers:
        parts = [part for part in flatten(container) if part is not None]
        taken.update(parts)
        if isinstance(container, BarContainer):
            series = name_of(container, names) or name_of(parts[0], names)
            yield series, bars(container)
        elif isinstance(container, ErrorbarContainer):
            series = name_of(container, names) or name_of(parts[0], names)
            yield series, ranges(container)
        else:
            raise TypeError(f"no numbers are known of a {type(container).__name__}")
    for artist in (*panel.lines, *panel.collections, *panel.images, *panel.patches):
        if artist not in taken:
            yield name_of(artist, names), of_artist(artist, panel)


def flatten(container: Any) -> Iterator[Any]:
    """The artists of a container, those of tuples in it too."""
    for part in container:
        if isinstance(part, tuple | list):
            yield from flatten(part)
        else:
            yield part


def name_of(artist: Any, names: Mapping[str, str]) -> str:
    """The name of a series: its label, hidden or not, else the arm of its colour."""
    label = str(artist.get_label() or "")
    if not UNNAMED.fullmatch(label):
        return one_line(label.removeprefix("_"))
    for get in ("get_color", "get_facecolor", "get_edgecolor"):
        if hasattr(artist, get):
            colours = getattr(artist, get)()
            try:
                colour = to_hex(colours)
            except ValueError:  # of several things
                colour = to_hex(colours[0]) if len(colours) else ""
            return names.get(colour, "")
    return ""


def of_artist(artist: Artist, panel: Axes) -> Numbers:
    """The numbers of one artist."""
    if artist in ATTACHED:
        return ATTACHED[artist]
    if isinstance(artist, Line2D):
        return line(artist, panel)
    if isinstance(artist, PathCollection):
        x, y = np.ma.getdata(artist.get_offsets()).T
        return Numbers("points", {"x": x, "y": y})
    if isinstance(artist, PolyCollection):
        return band(artist)
    if isinstance(artist, StepPatch):
        values, edges, _ = artist.get_data()
        return Numbers("bar", {"x": (edges[1:] + edges[:-1]) / 2, "y": values})
    if isinstance(artist, LineCollection) and not artist.get_segments():
        return Numbers("line", {"x": [], "y": []})
    kind = "contours" if isinstance(artist, ContourSet) else type(artist).__name__
    raise TypeError(f"no numbers are known of {kind}: attach them with numbers.behind")


def line(artist: Line2D, panel: Axes) -> Numbers:
    """A line, its markers, a straight line across the panel, or marks along an axis."""
    x, y = (np.atleast_1d(values) for values in (artist.get_xdata(), artist.get_ydata()))
    transform = artist.get_transform()
    if transform == panel.get_yaxis_transform():
        return Numbers("reference", {"y": np.unique(y)})
    if transform == panel.get_xaxis_transform():
        across = len(x) == 2 and x[0] == x[1] and list(y) == [0, 1]
        return Numbers("reference", {"x": x[:1]}) if across else Numbers("mark", {"x": x})
    kind = "points" if artist.get_linestyle() in ("None", "none", "", " ") else "line"
    return Numbers(kind, {"x": x, "y": y})


def band(artist: PolyCollection) -> Numbers:
    """What `fill_between` filled: a polygon for each stretch without a gap."""
    parts = []
    for path in artist.get_paths():
        # A start, the first edge forth, an end, the second edge back, and the start again.
        vertices = np.asarray(path.vertices)
        count = (len(vertices) - 3) // 2
        forth, back = vertices[1 : count + 1], vertices[count + 2 : 2 * count + 2][::-1]
        if not np.array_equal(forth[:, 0], back[:, 0]):
            raise TypeError("no numbers are known of this polygon: attach them with numbers.behind")
        edges = np.sort(np.stack([forth[:, 1], back[:, 1]]), axis=0)
        parts.append(np.vstack([forth[:, 0], edges]))
    x, low, high = np.hstack([np.empty((3, 0)), *parts])
    return Numbers("band", {"x": x, "low": low, "high": high})


def bars(container: BarContainer) -> Numbers:
    """The centres and heights of bars."""
    if container.patches and container.patches[0] in ATTACHED:
        return ATTACHED[container.patches[0]]
    boxes = [patch.get_bbox() for patch in container.patches]
    return Numbers(
        "bar", {"x": [(box.x0 + box.x1) / 2 for box in boxes], "y": [box.y1 for box in boxes]}
    )


def ranges(container: ErrorbarContainer) -> Numbers:
    """Points with the ends of their bars."""
    points, _, lines = container
    if points is None or len(lines) > 1:
        raise TypeError("no numbers are known of these bars: attach them with numbers.behind")
    x, y = (np.atleast_1d(values) for values in (points.get_xdata(), points.get_ydata()))
    if not lines:
        return Numbers("line", {"x": x, "y": y})
    ends = np.reshape([np.asarray(part)[:, 1] for part in lines[0].get_segments()], (-1, 2))
    return Numbers("range", {"x": x, "y": y, "low": ends[:, 0], "high": ends[:, 1]})
