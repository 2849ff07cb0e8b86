"""One look for all figures: legible in print, in grey and to the colour-blind."""

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from bnjax.draw import labels, numbers, ticks
from bnjax.frame.disk import replacing
from bnjax.frame.published_curves import Published


class Look(NamedTuple):
    """How an arm is drawn: hue and, for prints in grey, line, marker and hatch differ too."""

    colour: str
    line: str | tuple
    marker: str
    hatch: str
    label: str


# For normalisers of a user's own, in the order in which a figure asks for them.
SPARE_COLOURS = ("#999933", "#AA4499", "#661100", "#5891C8")
SPARE_LINES = ("-.", (0, (5, 1)), ":", (0, (3, 1, 1, 1)))


class Looks(dict[str, Look]):
    """Looks by the normaliser's name; one that is not known gets the next spare look."""

    def __missing__(self, name: str) -> Look:
        count = sum(look.hatch == "oo" for look in self.values())
        turn, colour = divmod(count, len(SPARE_COLOURS))
        other = (colour + turn) % len(SPARE_LINES)  # 16 looks, no two alike
        look = Look(SPARE_COLOURS[colour], SPARE_LINES[other], "*<>h"[other], "oo", name)
        self[name] = look
        return look


# Okabe & Ito's palette for the colour-blind, then Tol's muted hues, dark enough for white paper.
LOOKS = Looks(
    none=Look("#D55E00", "--", "o", "////", "no normalisation"),
    batch=Look("#0072B2", "-", "s", "", "BatchNorm"),
    l1=Look("#009E73", "-.", "^", "....", "ℓ₁ norm"),
    l2=Look("#CC79A7", (0, (5, 1)), "v", "xxxx", "ℓ₂ norm"),
    linf=Look("#E69F00", (0, (3, 1, 1, 1)), "D", "\\\\\\\\", "ℓ∞ norm"),
    noisy_batch=Look("#56B4E9", (0, (1, 1)), "P", "....", "BatchNorm + noise"),
    noise=Look("#000000", ":", "X", "xxxx", "noise alone"),
    layer=Look("#332288", (0, (5, 1)), "^", "++", "LayerNorm"),
    group=Look("#117733", "-.", "v", "--", "GroupNorm"),
    instance=Look("#5A98A7", (0, (3, 1, 1, 1)), "D", "||", "InstanceNorm"),
    rms=Look("#882255", ":", "<", "**", "RMSNorm"),
    unitize=Look("#2A9682", (0, (7, 2)), "P", "////", "Unitization"),
    weight_standard=Look("#9A9473", (0, (1, 1)), "X", "....", "weight standardisation"),
    weight_norm=Look("#E06D68", "-.", "h", "xxxx", "weight normalisation"),
)
PUBLISHED = "published"  # in the names of series
PUBLISHED_NOTE = "thin lines: published"
# What would make two equal figures differ is left out of their files.
FORMATS: dict[str, dict[str, None]] = {
    "png": {"Software": None},
    "pdf": {"CreationDate": None},
    "svg": {"Date": None, "Creator": None},
}
RC: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.5,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "figure.dpi": 100,
    "savefig.dpi": 150,
    "pdf.fonttype": 42,
    "svg.hashsalt": "bnjax",  # the same names of clips and hatches each time
    "svg.fonttype": "path",  # looks the same wherever it is shown; no font of the reader is needed
    "hatch.linewidth": 0.4,
}


@contextmanager
def figure(
    rows: int, columns: int, size: tuple[float, float], **layout: Any
) -> Iterator[tuple[Figure, list]]:
    """A figure of `rows` × `columns` panels in this look.

    Args:
      rows: of panels.
      columns: of panels.
      size: width and height in inches.
      layout: further arguments of `matplotlib.figure.Figure.subplots`.

    Yields:
      The figure and its axes, row by row.
    """
    with canvas(size) as drawn:
        yield drawn, list(drawn.subplots(rows, columns, squeeze=False, **layout).flat)


@contextmanager
def mosaic(
    names: Sequence[Sequence[str]], size: tuple[float, float]
) -> Iterator[tuple[Figure, dict[str, Axes]]]:
    """A figure of panels by their names in this look.

    Args:
      names: row by row; equal neighbours are one panel.
      size: width and height in inches.

    Yields:
      The figure and its axes by name.
    """
    with canvas(size) as drawn:
        yield drawn, drawn.subplot_mosaic([list(row) for row in names])


@contextmanager
def canvas(size: tuple[float, float]) -> Iterator[Figure]:
    """An empty figure, drawn in this look as long as the context lasts."""
    # Not by pyplot, whose one state for all belongs to whoever has a notebook open. Files only: no
    # window system is needed or asked for.
    with matplotlib.rc_context(RC):
        yield Figure(figsize=size, layout="constrained")


def log_scale(panel: Axes) -> None:
    """A logarithmic y axis, unless nothing positive and finite was drawn (an arm that diverged)."""
    drawn = [np.asarray(line.get_ydata(), dtype=float) for line in panel.get_lines()]
    values = np.concatenate([np.empty(0), *drawn])
    if np.any(np.isfinite(values) & (values > 0)):
        panel.set_yscale("log", nonpositive="mask")


def step_limits(panel: Axes, count: int) -> None:
    """The axis of so many training steps, with room for whole markers at both ends."""
    panel.set_xlim(-0.01 * count, 1.01 * count)


def caption(drawn: Figure, text: str) -> None:
    """Text above all panels, its lines broken where the figure ends."""
    per_line = int(15.5 * drawn.get_figwidth())  # characters of this size that fit
    wrapped = [part for line in text.splitlines() for part in textwrap.wrap(line, per_line)]
    drawn.suptitle("\n".join(wrapped), fontsize=8, x=0.01, ha="left")


def legend(panel: Axes, columns: int = 2) -> None:
    """A legend below the panel, where it hides nothing that was measured.

    Args:
      panel: whose curves it names.
      columns: entries beside each other.
    """
    panel.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16), ncols=columns)


def reference_line(
    panel: Axes, value: float, name: str, *, beside: bool = False, named: bool = True
) -> None:
    """A grey dashed line at `value`.

    Args:
      panel: where it is drawn.
      value: on the y axis.
      name: what the value is.
      beside: the name stands right of the panel, in several short lines, where curves would leave
        no room for it; else inside, where it covers no curve.
      named: whether it stands there at all; it is in the table of numbers in any case.
    """
    panel.axhline(
        value, color="0.35", linestyle=(0, (6, 2)), linewidth=0.9, label=numbers.hidden(name)
    )
    if named:
        (labels.write_beside if beside else labels.write)(panel, value, name)


def overlay(panel: Axes, norms: Iterable[object], published: Published, panel_name: str) -> None:
    """Published curves of some arms as thin lines of the arm's hue, both edges of a band.

    They get no entry in the legend: the caption says what thin lines are (`PUBLISHED_NOTE`).
    """
    for norm in norms:
        curve = published.get((panel_name, str(norm)))
        if curve is not None:
            look = LOOKS[str(norm)]
            shown: dict[str, Any] = {"color": look.colour, "linewidth": 0.5, "alpha": 0.8}
            for edge, values in (("lower", curve.low), ("upper", curve.high)):
                label = numbers.hidden(f"{look.label}, {PUBLISHED}, {edge} edge")
                panel.plot(curve.steps, values, label=label, **shown)


def shades(count: int) -> list[tuple[float, float, float, float]]:
    """Colours from dark to light for steps in their order; in grey their lightness still rises."""
    return [matplotlib.colormaps["viridis"](0.9 * i / max(1, count - 1)) for i in range(count)]


def save(drawn: Figure, folder: Path, name: str) -> list[Path]:
    """Write a figure as `.png`, `.pdf` and `.svg`, and its numbers as `.csv`, each whole or not.

    Args:
      drawn: the figure.
      folder: where the files go.
      name: of the files.

    Returns:
      Their paths. Equal figures are equal files: none of them has a date.

    Raises:
      TypeError: something is drawn whose numbers are not known (`numbers.behind`).
    """
    arms = {look.colour.lower(): look.label for look in LOOKS.values()}
    table = folder / f"{name}.csv"
    numbers.write(drawn, table, arms)
    ticks.finish(drawn)
    # Laid out once: each format would do it again, which takes as long as to write it.
    drawn.draw_without_rendering()
    drawn.set_layout_engine("none")
    labels.place(drawn)
    paths = []
    for suffix, metadata in FORMATS.items():
        path = folder / f"{name}.{suffix}"
        with replacing(path) as temporary:
            drawn.savefig(temporary, format=suffix, metadata=metadata)
        paths.append(path)
    return [*paths, table]
