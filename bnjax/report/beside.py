"""Published curves beside the measured ones, from the numbers that a figure was drawn with."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from bnjax.draw.drawing import COLUMNS
from bnjax.draw.style import LOOKS, PUBLISHED, Look
from bnjax.errors import RunError
from bnjax.frame.messages import printable
from bnjax.report import captions, curves, palette
from bnjax.report.content import Figure
from bnjax.report.pack import Numbers

MARK = f", {PUBLISHED}, "  # in the name of a published series
MOST_POINTS = 2000  # of a series
MOST_PANELS = 24
KINDS = ("line", "points", "band", "range")


class Row(NamedTuple):
    """One row of a figure's table."""

    panel: str
    series: str
    kind: str
    x: str
    y: str
    low: str
    high: str
    value: str


def charts(identifier: str, figures: Sequence[Figure], numbers: Numbers) -> list[dict[str, Any]]:
    """A chart for each panel in which published curves were drawn.

    Args:
      identifier: of the run, for the page.
      figures: with their tables.
      numbers: takes the arrays.

    Raises:
      RunError: a table is damaged.
    """
    found: list[dict[str, Any]] = []
    for figure in figures:
        if not has_published(figure):
            continue
        panels: dict[str, dict[tuple[str, str], list[Row]]] = {}
        for row in read(figure.files[".csv"], figure.name):
            panels.setdefault(row.panel, {}).setdefault((row.series, row.kind), []).append(row)
        for panel, series in panels.items():
            if len(found) < MOST_PANELS and any(MARK in name for name, _ in series):
                place = f"{identifier}-beside-{len(found)}"
                found.append(chart(place, figure.name, panel, series, numbers))
    return found


def has_published(figure: Figure) -> bool:
    """Whether published curves were drawn in a figure."""
    return MARK.encode() in figure.files.get(".csv", b"")


def read(table: bytes, name: str) -> Iterator[Row]:
    """The rows of a table.

    Raises:
      RunError: it is no table of a figure.
    """
    try:
        reader = csv.reader(io.StringIO(table.decode("utf-8"), newline=""))
        if tuple(next(reader, ())) != COLUMNS:
            raise ValueError("it has other columns")
        for row in reader:
            yield Row(*row)
    except (ValueError, TypeError, csv.Error) as error:
        raise RunError(f"{name}.csv cannot be read ({error}): draw it again") from error


def chart(
    identifier: str,
    figure: str,
    panel: str,
    series: dict[tuple[str, str], list[Row]],
    numbers: Numbers,
) -> dict[str, Any]:
    """One panel: measured lines and bands, and the published ones, thin and dotted."""
    title, _, upright = panel.rpartition(" | ")
    known = captions.caption(figure)
    by_label = {look.label: look for look in LOOKS.values()}
    traces: list[dict[str, Any]] = []
    values = []
    for (name, kind), rows in series.items():
        if kind not in KINDS:
            continue
        kept = rows[:: -(-len(rows) // MOST_POINTS)]
        look = next((look for label, look in by_label.items() if name.startswith(label)), None)
        colour = look.colour if look else "#666666"
        plain = look is not None and (MARK in name or name.removesuffix(" edge") in names(look))
        dash = curves.dash(look.line) if plain and look else "dot"
        x = column(kept, "x")
        for edge in ("low", "high") if kind == "band" else ("y",):
            y = column(kept, edge)
            values.append(y)
            traces.append(
                {
                    "x": numbers.add(x),
                    "a": numbers.add(y),
                    "n": len(kept),
                    "label": curves.shown(re.sub(", (lower|upper) edge$", "", name)),
                    # Of the edges of a band one is named, of a measured one the band itself.
                    "named": not name.endswith("upper edge")
                    and (MARK in name or not name.endswith("lower edge"))
                    and edge != "high",
                    "published": MARK in name,
                    "fill": edge == "high",
                    "edge": kind == "band",
                    "m": "markers" if kind == "points" else "lines",
                    "colour": colour,
                    "dash": dash,
                    "dark": palette.on_dark(colour),
                }
            )
    finite = np.concatenate([part[np.isfinite(part)] for part in values] or [np.empty(0)])
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    return {
        "id": identifier,
        "kind": "beside",
        "name": f"{figure}.{title or upright}",
        "definition": known.text if known else "",
        "title": ": ".join(filter(None, (known.title if known else figure, title))),
        "short": printable(upright, 80),
        "along": "training step",
        "logX": False,
        "logY": low > 0 and high / low > 50,
        "positive": low > 0,
        "range": [low, high],
        "traces": traces,
        "choices": [],
        "unit": "",
    }


def names(look: Look) -> tuple[str, ...]:
    """What the series of an arm itself are called, without those of its limits or seeds."""
    return look.label, f"{look.label}, lower", f"{look.label}, upper", f"{look.label}, training"


def column(rows: Sequence[Row], name: str) -> np.ndarray:
    """One column as numbers; what is none is NaN."""

    def number(text: str) -> float:
        try:
            return float(text)
        except ValueError:
            return np.nan

    return np.array([number(getattr(row, name)) for row in rows])
