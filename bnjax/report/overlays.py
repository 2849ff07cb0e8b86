"""Published curves over measured ones, from the tables that figures were drawn from."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from bnjax.draw.drawing import COLUMNS
from bnjax.draw.style import LOOKS, PUBLISHED
from bnjax.errors import RunError
from bnjax.frame.messages import printable
from bnjax.report import curves
from bnjax.report.charts import is_wide
from bnjax.report.finished import Figure
from bnjax.report.pack import Numbers

MARK = f", {PUBLISHED}, "  # in the name of a published series
MOST_POINTS = 2000  # of a series
MOST_PANELS = 24
KINDS = ("line", "points", "band", "range")
Row = dict[str, str]


def has_published(figure: Figure) -> bool:
    """Whether published curves were drawn in a figure."""
    return MARK.encode() in figure.files.get(".csv", b"")


def charts(identifier: str, figures: Sequence[Figure], numbers: Numbers) -> list[dict[str, Any]]:
    """A chart for each panel in which published curves were drawn."""
    found: list[dict[str, Any]] = []
    for figure in filter(has_published, figures):
        panels: dict[str, dict[tuple[str, str], list[Row]]] = {}
        for row in read(figure.files[".csv"], figure.name):
            own = panels.setdefault(row["panel"], {})
            own.setdefault((row["series"], row["kind"]), []).append(row)
        for panel, series in panels.items():
            if len(found) < MOST_PANELS and any(MARK in name for name, _ in series):
                made = overlay(figure, panel, series, numbers)
                found.append({"id": f"{identifier}-overlay-{len(found)}", **made})
    return found


def read(table: bytes, name: str) -> Iterator[Row]:
    """The rows of a figure's table; one of another form is a `RunError`."""
    try:
        reader = csv.reader(io.StringIO(table.decode("utf-8"), newline=""))
        if tuple(next(reader, ())) != COLUMNS:
            raise ValueError("it has other columns")
        for row in reader:
            yield dict(zip(COLUMNS, row, strict=True))
    except (ValueError, csv.Error) as error:
        raise RunError(f"{name}.csv cannot be read ({error}): draw it again") from error


def overlay(
    figure: Figure, panel: str, series: dict[tuple[str, str], list[Row]], numbers: Numbers
) -> dict[str, Any]:
    """One panel: measured lines and bands, and the published ones, thin."""
    title, _, upright = panel.rpartition(" | ")
    traces: list[dict[str, Any]] = []
    values = []
    for (name, kind), rows in series.items():
        if kind not in KINDS:
            continue
        kept = rows[:: -(-len(rows) // MOST_POINTS)]
        look = next((look for look in LOOKS.values() if name.startswith(look.label)), None)
        # An arm has its own dashes, its limits and single seeds are dotted.
        is_arm = look is not None and (
            MARK in name
            or re.fullmatch(f"{re.escape(look.label)}(, lower|, upper|, training)?( edge)?", name)
        )
        colour = look.colour if look else "#666666"
        x = numbers.add(column(kept, "x"))
        for edge in ("low", "high") if kind == "band" else ("y",):
            values.append(column(kept, edge))
            # Of two edges one has a name; of measured edges the band has it.
            unnamed = name.endswith("upper edge") or edge == "high"
            unnamed |= MARK not in name and name.endswith("lower edge")
            traces.append(
                {
                    "x": x,
                    "a": numbers.add(values[-1]),
                    "n": len(kept),
                    "label": curves.shown(re.sub(", (lower|upper) edge$", "", name)),
                    "named": not unnamed,
                    "published": MARK in name,
                    "fill": edge == "high",
                    "edge": kind == "band",
                    "m": "markers" if kind == "points" else "lines",
                    "colour": colour,
                    "dark": curves.on_dark(colour),
                    "dash": curves.dash(look.line) if look and is_arm else "dot",
                }
            )
    finite = np.concatenate([part[np.isfinite(part)] for part in values] or [np.empty(0)])
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    return {
        "kind": "overlay",
        "name": f"{figure.name}.{title or upright}",
        "title": ": ".join(filter(None, (figure.title, title))),
        "short": printable(upright, 80),
        "definition": figure.text,
        "unit": "",
        "along": "training step",
        "logX": False,
        "logY": is_wide(low, high),
        "range": [low, high],
        "positive": low > 0,
        "traces": traces,
        "choices": [],
    }


def column(rows: Sequence[Row], name: str) -> np.ndarray:
    """One column as numbers; other texts are NaN."""

    def number(text: str) -> float:
        try:
            return float(text)
        except ValueError:
            return np.nan

    return np.array([number(row[name]) for row in rows])
