"""A figure of panels, saved as pictures and as the table that they were drawn from."""

import csv
import io
import textwrap
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.cm import ScalarMappable
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from bnjax.draw import labels, ticks
from bnjax.draw.panel import COLOURS, Panel, Series
from bnjax.draw.style import styled
from bnjax.frame.disk import replacing

COLUMNS = ("panel", "series", "kind", "x", "y", "low", "high", "value")
# What would make two equal figures differ is left out of their files.
FORMATS: dict[str, dict[str, None]] = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None},
    "svg": {"Date": None, "Creator": None},
}


class Drawing:
    """One figure.

    Attributes:
      panels: row by row; `drawing["training"]` is one by its name, `drawing.rows` those of a grid.
      figure: matplotlib's.
      name: of its files.
      title, text, source: what is drawn, in words and formulas, and where it is defined.
      caption: what was run, on what; stands above the panels, lines broken where the figure ends.

    The constructor takes rows and columns of a grid of panels, or their names row by row, where
    equal neighbours are one panel; the size in inches; and `sharex`, `sharey`, `subplot_kw`, … of
    matplotlib's `Figure.subplots` or `.subplot_mosaic`.

    Example:
      >>> drawing = Drawing("losses", (1, 2), size=(6, 3))
      >>> drawing.panels[0].line([0, 1], [2.3, 0.5], "minibatch")
      >>> drawing.panels[0].set(title="a  Loss", ylabel="loss  [nat]")
      >>> for row in drawing.table():
      ...     print(*row, sep=",")
      a Loss | loss [nat],minibatch,line,0,2.3,,,
      a Loss | loss [nat],minibatch,line,1,0.5,,,
    """

    @styled()
    def __init__(
        self,
        name: str,
        panels: tuple[int, int] | Sequence[Sequence[str]] = (1, 1),
        size: tuple[float, float] = (6.0, 4.0),
        *,
        title: str = "",
        text: str = "",
        source: str = "",
        caption: str = "",
        **layout: Any,
    ):
        self.name, self.title, self.text, self.source = name, title, text, source
        self.caption, self._finished = caption, False
        # Not by pyplot, whose one state for all belongs to whoever has a notebook open. Files only:
        # no window system is needed or asked for.
        self.figure = Figure(figsize=size, layout="constrained")
        count = panels[0] if isinstance(panels[0], int) else 0
        grid = [[f"{row} {column}" for column in range(panels[-1])] for row in range(count)]  # type: ignore[arg-type]
        self._names: list[list[str]] = grid or [list(row) for row in panels]  # type: ignore[arg-type]
        mosaic: Any = self._names  # matplotlib's own type has no public name
        found = self.figure.subplot_mosaic(mosaic, **layout)
        self._panels = {key: Panel(axes) for key, axes in found.items()}
        self.rows = [[self[key] for key in dict.fromkeys(row)] for row in self._names]
        self.panels = list(self._panels.values())

    def __getitem__(self, name: str) -> Panel:
        return self._panels[name]

    @styled()
    def legend(
        self, panels: Sequence[Panel] | None = None, loc: str = "outside lower center", **style: Any
    ) -> None:
        """One legend for several panels; a name that a band and a line have shows both.

        Args:
          panels: by default all.
          loc: where it stands.
          style: of `Figure.legend`; by default in one row.
        """
        found: dict[str, list[Any]] = {}
        for panel in self.panels if panels is None else panels:
            for name, artist in panel.entries():
                found.setdefault(name, []).append(artist)
        shown: Any = [
            every[0] if type(every[0]) is type(every[-1]) else (every[0], every[-1])
            for every in found.values()
        ]
        self.figure.legend(shown, list(found), **{"loc": loc, "ncols": len(found), **style})

    @styled()
    def colour_bar(
        self, panels: Sequence[Panel], text: str, shown: Any, *, shrink: float = 1.0
    ) -> None:
        """One bar of colours next to some panels.

        Args:
          panels: that it belongs to.
          text: of its axis.
          shown: what `Panel.heat` returned, or the levels of contours, which it then shows.
          shrink: its height as a share of theirs.
        """
        axes = [panel.axes for panel in panels]
        if not isinstance(shown, np.ndarray):
            self.figure.colorbar(shown, ax=axes, label=text, shrink=shrink)
            return
        scale = ScalarMappable(LogNorm(shown[0], shown[-1]), COLOURS)
        bar = self.figure.colorbar(scale, ax=axes, extend="both", label=text, shrink=shrink)
        for level in shown:
            bar.ax.axhline(level, color="black", linewidth=0.4)

    def table(self) -> Iterator[tuple[str, ...]]:
        """The rows behind the figure, as texts in the order of `COLUMNS`.

        `nan` is what was not measured, an empty cell is what a kind does not have. Each number has
        as few digits as tell it from all others of its precision.
        """
        for place, (key, panel) in enumerate(self._panels.items()):
            i = next(i for i, row in enumerate(self._names) if key in row)
            j = self._names[i].index(key)
            above = (self[row[j]].title for row in self._names[i::-1])
            left = (self[name].label for name in self._names[i][j::-1])
            heads = (next(filter(None, texts), "") for texts in (above, left))
            name = " | ".join(dict.fromkeys(filter(None, heads))) or f"{place + 1}"
            for series in panel.table:
                yield from ((name, *row) for row in rows(series))

    @styled()
    def finish(self) -> Figure:
        """The figure with its caption, ticks and names in their places, ready to be shown."""
        if self._finished:
            return self.figure
        per_line = int(15.5 * self.figure.get_figwidth())  # characters of this size that fit
        lines = [textwrap.fill(line, per_line) for line in self.caption.splitlines()]
        if lines:
            self.figure.suptitle("\n".join(lines), fontsize=8, x=0.01, ha="left")
        ticks.finish(self.figure)
        # Laid out once: each format would do it again, which takes as long as to write it.
        self.figure.draw_without_rendering()
        self.figure.set_layout_engine("none")
        for panel in self.panels:
            labels.place(panel.axes, panel.names)
        self._finished = True
        return self.figure

    @styled()
    def save(self, folder: Path) -> list[Path]:
        """Write `<name>.png`, `.pdf`, `.svg` and the table as `.csv`, each whole or not at all.

        Returns:
          Their paths. Equal figures are equal files: none of them has a date.
        """
        figure, paths = self.finish(), []
        for suffix, metadata in FORMATS.items():
            paths.append(folder / f"{self.name}.{suffix}")
            with replacing(paths[-1]) as temporary:
                figure.savefig(temporary, format=suffix, metadata=metadata)
        paths.append(folder / f"{self.name}.csv")
        write(paths[-1], [COLUMNS, *self.table()])
        return paths

    def _repr_png_(self) -> bytes:
        """A notebook shows the figure."""
        content = io.BytesIO()
        with styled():
            self.finish().savefig(content, format="png")
        return content.getvalue()


class Table(NamedTuple):
    """A table that goes with the figures: `save` writes `<name>.csv`; rows have equal keys."""

    name: str
    content: Sequence[Mapping[str, Any]]

    def save(self, folder: Path) -> list[Path]:
        """Write the file, whole or not at all."""
        path = folder / f"{self.name}.csv"
        write(path, [list(self.content[0]), *(row.values() for row in self.content)])
        return [path]


def write(path: Path, content: Iterable[Iterable[Any]]) -> None:
    """Write rows as CSV, whole or not at all."""
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(content)


def rows(series: Series) -> Iterator[tuple[str, ...]]:
    """The rows of one series, as texts."""
    columns = {name: series.columns[name] for name in COLUMNS[3:] if name in series.columns}
    texts = (each.astype(str).flat for each in np.broadcast_arrays(*columns.values()))
    for row in zip(*texts, strict=True):
        found = dict(zip(columns, row, strict=True))
        yield series.name, series.kind, *(str(found.get(name, "")) for name in COLUMNS[3:])
