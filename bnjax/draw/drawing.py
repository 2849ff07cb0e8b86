"""A figure of panels in one look, saved as pictures and as the table they were drawn from."""

import csv
import io
import itertools
import math
import textwrap
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.cm import ScalarMappable
from matplotlib.collections import QuadMesh
from matplotlib.colors import LogNorm
from matplotlib.container import Container
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.text import Annotation
from matplotlib.ticker import AutoLocator, LogLocator, MaxNLocator, NullFormatter
from matplotlib.transforms import Bbox

from bnjax.frame.disk import replacing
from bnjax.frame.published_curves import Published


class Look(NamedTuple):
    """How an arm is drawn: hue and, for prints in grey, line, marker and hatch differ too."""

    colour: str
    line: str | tuple
    marker: str
    hatch: str
    label: str


MODEL = "model"  # the arm of a network that was measured alone
# For normalisers of a user's own, in the order in which a figure asks for them.
SPARE_COLOURS = ("#999933", "#AA4499", "#661100", "#5891C8")
SPARE_LINES = ("-.", (0, (5, 1)), ":", (0, (3, 1, 1, 1)))


class Looks(dict[str, Look]):
    """Looks by the normaliser's name; an unknown name gets the next spare look."""

    def __missing__(self, name: str) -> Look:
        if name == MODEL:  # beside no other arm, so it may look like one of them
            return Look("#0072B2", "-", "o", "", MODEL)
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
    dyt=Look("#182E17", (0, (5, 1)), "*", "xx", "DyT"),
    derf=Look("#8E201A", (0, (3, 1, 1, 1)), ">", "++", "Derf"),
    skipinit=Look("#290700", "-.", "p", "--", "SkipInit"),
)
PLAIN = Look("#000000", "-", "o", "", "")  # of a series that is no arm's
PUBLISHED = "published"  # in the names of series
PUBLISHED_NOTE = "thin lines: published"
GREY_DASHES: dict[str, Any] = {"color": "0.35", "linestyle": (0, (6, 2)), "linewidth": 0.9}
RC: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "axes.grid": True,
    "axes.formatter.useoffset": False,
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
DEFAULTS = {
    name: matplotlib.rcParamsDefault[name] for name in {*matplotlib.rcParamsDefault} - {"backend"}
}
in_style = False


@contextmanager
def styled() -> Iterator[None]:
    """This look, whatever a `matplotlibrc` or a notebook has set; also a decorator.

    Every method of `Panel` and `Drawing` enters it. Enter it yourself around direct calls of
    `panel.axes`, and around a whole figure to save a millisecond a call.
    """
    global in_style
    if in_style:
        yield
        return
    with matplotlib.rc_context({**DEFAULTS, **RC}):
        in_style = True
        try:
            yield
        finally:
            in_style = False


@contextmanager
def quiet() -> Iterator[None]:
    """Within the block no warning tells of the NaN, zeros and infinities of a diverged arm."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=RuntimeWarning)
        warnings.filterwarnings("ignore", "constrained_layout not applied", UserWarning)
        yield


def shades(count: int) -> list[tuple[float, float, float, float]]:
    """Colours from dark to light for steps in their order; in grey their lightness still rises."""
    return [matplotlib.colormaps["viridis"](0.9 * i / max(1, count - 1)) for i in range(count)]


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


def stack_up(names: list[Annotation]) -> None:
    """Move names beside a panel up until none covers the one below; the layout must be done."""
    top = -math.inf
    for name in sorted(names, key=lambda one: one.get_window_extent().y0):
        below = max(0.0, top - name.get_window_extent().y0)
        right, up = name.get_position()
        name.set_position((right, up + 72 * below / name.figure.dpi))
        top = name.get_window_extent().y1


def move(name: Annotation, across: tuple[float, str], side: str) -> Bbox:
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


STEP = "training step"  # the label of axes along which there are whole numbers only


def finish(drawn: Figure) -> None:
    """Mend the ticks of all axes that a figure has not set itself."""
    for panel in drawn.axes:
        for axis in (panel.xaxis, panel.yaxis):
            locator = axis.get_major_locator()
            low, high = sorted(axis.get_view_interval())
            if axis.get_scale() == "log" and not np.isfinite(axis.get_minpos()):
                (panel.set_xlim if axis is panel.xaxis else panel.set_ylim)(0.1, 1.0)
            elif axis.get_scale() == "log" and type(locator) is LogLocator:
                if (
                    getattr(axis.get_transform(), "base", 0) == 10
                    and low > 0
                    and decades(low, high) < 2
                ):
                    plain_log_ticks(axis)
            elif axis.get_label_text() == STEP and isinstance(locator, AutoLocator):
                axis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True))


def decades(low: float, high: float) -> int:
    return math.floor(math.log10(high)) - math.ceil(math.log10(low)) + 1


def plain_log_ticks(axis: Axis) -> None:
    """Plain numbers on a logarithmic axis: 1, 2, 5 of each decade, more on a short axis."""
    low, high = sorted(axis.get_view_interval())
    axis.set_major_locator(LogLocator(subs=parts(low, high)))
    axis.set_major_formatter(lambda value, _: f"{value:.3g}")
    axis.set_minor_formatter(NullFormatter())


def log_ticks(low: float, high: float) -> list[float]:
    """The numbers that stand along an axis of logarithms, from least to greatest."""
    subs = [1.0] if decades(low, high) >= 2 else parts(low, high)
    found = np.asarray(LogLocator(subs=subs).tick_values(low, high))
    return found[(found >= low) & (found <= high)].tolist()


LOG_PARTS = ([1, 2, 5], range(1, 10), np.arange(1, 10, 0.5), np.arange(1, 10, 0.2))
LEAST_TICKS = 4


def parts(low: float, high: float) -> list[float]:
    """Multiples of powers of ten that stand along an axis: the fewest that give four ticks."""
    powers = 10.0 ** np.arange(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for found in LOG_PARTS:
        ticks = np.outer(powers, found)
        if np.count_nonzero((low <= ticks) & (ticks <= high)) >= LEAST_TICKS:
            break
    return [float(part) for part in found]


LEVELS = 17  # of contours
LARGEST_RANGE = 1e6  # of shared levels: below the highest loss that is shown by a colour
COLOURS = "viridis"
NAME: dict[str, Any] = {"fontsize": 7.5, "color": "0.25", "textcoords": "offset points"}
LEGEND_HANDLE, LEGEND_CHARACTER = 0.55, 0.06  # inches: a sample with its gaps, a letter
LONGEST_NAME = 14  # characters of a layer's name beside a panel
OUTSIDE_WIDTH = 13  # characters a line of a name right of its panel
MARGIN = 5 * " "  # between such a name and the edge of the figure


class Series(NamedTuple):
    """What one call drew; the columns `x y low high value`, where it has them, broadcast."""

    name: str
    kind: str  # line, points, band, range, bar, grid, reference or mark
    columns: Mapping[str, np.ndarray]


class Panel:
    """One panel of a drawing.

    Arguments that its methods share:
      series: the name in the table and in the legend; by default that of the look.
      look: colour, line, marker and hatch, e.g. `LOOKS["batch"]`.
      style: properties of the matplotlib artist, which win over the look, and three of ours:
        `legend=False` keeps the series out of the legend, a text stands there instead of its name;
        `marker=True` is the look's; `table={"x": names}` replaces columns of the rows, `table=None`
        keeps none.

    Attributes:
      axes: matplotlib's. What is drawn on it directly leaves no rows, unless `keep` adds them.
      table: a `Series` for each call, in the order of the calls.
    """

    def __init__(self, axes: Axes):
        self.axes = axes
        self.table: list[Series] = []
        # Of reference lines, inside and right of the panel; placed when the layout is done.
        self.names: list[Annotation] = []
        self.outside: list[Annotation] = []
        self.compared: dict[tuple[str, str], bool] = {}  # published curves: whether they were there
        self._labels: list[str] = []  # in the order of the calls

    def keep(self, series: str, kind: str, **columns: Any) -> None:
        """Add rows: arrays by their names `x y low high value`, broadcast against each other."""
        arrays = {name: np.asarray(values) for name, values in columns.items()}
        self.table.append(Series(one_line(series), kind, arrays))

    def _keep(
        self, kind: str, series: str, look: Look, style: dict[str, Any], **columns: Any
    ) -> dict[str, Any]:
        """Keep the rows of an artist; the style that it is drawn in."""
        series = series or look.label
        table, legend = style.pop("table", {}), style.pop("legend", True)
        if table is not None:
            self.keep(series, kind, **{**columns, **table})
        if style.get("marker") is True:
            style["marker"] = look.marker
        # Matplotlib leaves what begins with _ out of legends.
        label = legend if isinstance(legend, str) else series if legend else f"_{series}"
        self._labels.append(label)
        return {"color": look.colour, "label": label, **style}

    @styled()
    def line(self, x: Any, y: Any, series: str = "", look: Look = PLAIN, **style: Any) -> None:
        """A line, without markers by default; `markevery=0.1` gives about ten of them.

        Rows of kind `line`.
        """
        x, y = np.atleast_1d(x), np.atleast_1d(y)
        style = {"linestyle": look.line, "linewidth": 1.1, **style}
        # matplotlib takes a share along the drawn path, and fails where there is none: zeros on a
        # logarithmic axis.
        if isinstance(every := style.get("markevery"), float):
            style["markevery"] = max(1, int(every * len(x)))
        self.axes.plot(x, y, **self._keep("line", series, look, style, x=x, y=y))

    @styled()
    def points(self, x: Any, y: Any, series: str = "", look: Look = PLAIN, **style: Any) -> None:
        """Markers without a line; `fillstyle="none"`: hollow. Rows of kind `points`."""
        x, y = np.atleast_1d(x), np.atleast_1d(y)
        style = {"linestyle": "none", "marker": True, "markersize": 4, **style}
        self.axes.plot(x, y, **self._keep("points", series, look, style, x=x, y=y))

    @styled()
    def ranges(
        self,
        x: Any,
        y: Any,
        low: Any,
        high: Any,
        series: str = "",
        look: Look = PLAIN,
        **style: Any,
    ) -> None:
        """Points on a line with bars from `low` to `high`. Rows of kind `range`."""
        x, y, low, high = (np.atleast_1d(values) for values in (x, y, low, high))
        style = {"linestyle": look.line, "linewidth": 1.3, "capsize": 2.5, **style}
        style = {"marker": True, "markersize": 4.5, **style}
        style = self._keep("range", series, look, style, x=x, y=y, low=low, high=high)
        self.axes.errorbar(x, y, yerr=np.stack([y - low, high - y]).clip(0), **style)

    @styled()
    def band(
        self,
        x: Any,
        low: Any,
        high: Any,
        series: str = "",
        look: Look = PLAIN,
        *,
        edges: bool = False,
        **style: Any,
    ) -> None:
        """The area between two curves, with gaps where either is not finite; rows of kind `band`.

        `hatch=True` is the look's. `edges` adds lines, `<series>, lower edge` and `… upper edge`.
        """  # fmt: skip
        x, first, second = (np.asarray(values) for values in (x, low, high))
        known = np.isfinite(first) & np.isfinite(second)
        columns = {"low": np.minimum(first, second), "high": np.maximum(first, second), "x": x}
        columns = {name: values[known] for name, values in columns.items()}
        style = {"alpha": 0.2, "linewidth": 0, **style}
        style["hatch"] = look.hatch if style.get("hatch") is True else style.get("hatch") or None
        self.axes.fill_between(
            x, first, second, **self._keep("band", series, look, style, **columns)
        )
        for side, edge in (("lower", first), ("upper", second)) if edges else ():
            name = f"{series or look.label}, {side} edge"
            self.line(x, edge, name, look, legend=False, linewidth=0.8)

    @styled()
    def bars(self, x: Any, y: Any, series: str = "", look: Look = PLAIN, **style: Any) -> None:
        """Bars from 0 to `y` around `x`, `width` wide. Rows of kind `bar`."""
        style = {"hatch": look.hatch, "edgecolor": "white", **style}
        self.axes.bar(x, y, **self._keep("bar", series, look, style, x=x, y=y))

    @styled()
    def heat(
        self, x: Any, y: Any, values: Any, series: str, missing: str = "0.8", **style: Any
    ) -> QuadMesh:
        """A map of colours of `values[y, x]`; NaN shows the colour `missing`. Rows of kind `grid`.

        `x` has the centres of the columns, `y` those of the rows, or their names, 8 to 16 of which
        then stand on the axis. `style` is that of `pcolormesh` (`cmap`, `vmin`, `vmax`) and
        `table`. `Drawing.colour_bar` takes what is returned.
        """
        names, places = np.asarray(y), np.asarray(y)
        if names.dtype.kind in "OU":
            places = np.arange(len(names))
            shown = places[:: max(1, len(names) // 8)]
            texts = short_names(names.tolist())
            self.axes.set_yticks(shown, [texts[place] for place in shown])
        self.axes.set_facecolor(missing)
        self.axes.grid(visible=False)
        columns = {"x": x, "y": names[:, None], "value": values}
        style = self._keep("grid", series, PLAIN, {"legend": False, **style}, **columns)
        del style["color"]
        edges = cells(np.asarray(x)), cells(places)
        return self.axes.pcolormesh(*edges, np.asarray(values), rasterized=True, **style)

    @styled()
    def contours(self, x: Any, y: Any, values: Any, series: str, levels: np.ndarray) -> None:
        """Filled contours of `values[y, x]` and their lines; white where nothing is finite.

        Contours are those of logarithms: between two points they lie at equal ratios. Rows of kind
        `grid`. `shared_levels` gives the levels of several panels.
        """
        if not is_plane(x, y, values):
            return self.note("nothing measured")
        shown, edges = np.ma.masked_invalid(logarithms(values)), np.log10(levels)
        self.axes.contourf(x, y, shown, edges, cmap=COLOURS, extend="both")
        thin: Any = {"colors": "black", "linewidths": 0.4, "linestyles": "solid"}
        self.axes.contour(x, y, shown, edges, **thin)
        self.axes.grid(visible=False)
        self.keep(series, "grid", x=x, y=np.asarray(y)[:, None], value=values)

    @styled()
    def surface(self, x: Any, y: Any, values: Any, series: str, levels: np.ndarray) -> None:
        """`values[y, x]` in three dimensions over logarithms, cut off at the outer levels.

        The panel needs `Drawing(…, subplot_kw={"projection": "3d"})`. Rows of kind `grid`.
        """
        if not is_plane(x, y, values):
            return self.note("nothing measured")
        axes: Any = self.axes
        low, high = np.log10(levels[[0, -1]])
        shown = np.clip(logarithms(values), low, high)
        style = {"cmap": COLOURS, "vmin": low, "vmax": high, "edgecolor": "black", "linewidth": 0.2}
        axes.plot_surface(*np.meshgrid(x, y), shown, rstride=1, cstride=1, **style)
        heights = log_ticks(10**low, 10**high)
        axes.set_zticks(np.log10(heights), [f"{height:.3g}" for height in heights])
        ends = (np.asarray(axis)[[0, len(axis) // 2, -1]] for axis in (x, y))
        axes.set(**dict(zip(("xticks", "yticks"), ends, strict=True)), zlim=(low, high))
        axes.set_box_aspect(None, zoom=0.87)  # the labels of the near axes fit as well
        self.keep(series, "grid", x=x, y=np.asarray(y)[:, None], value=values)

    @styled()
    def reference(
        self, value: float, name: str, *, outside: bool = False, named: bool = True, **style: Any
    ) -> None:
        """A grey dashed line across the panel at `value`. A row of kind `reference`.

        The name stands inside, where it covers no curve; `outside`, in several short lines, right
        of a panel whose curves would leave no room for it; or, unless `named`, nowhere.
        """
        self.axes.axhline(value, **{**GREY_DASHES, **style})
        self.keep(name, "reference", y=[float(value)])
        where: dict[str, Any] = {"xycoords": ("axes fraction", "data"), **NAME}
        if named and outside:
            text = "\n".join(line + MARGIN for line in textwrap.wrap(name, OUTSIDE_WIDTH))
            beside: Any = {"va": "center", "annotation_clip": False, **where}
            self.outside.append(self.axes.annotate(text, (1, value), (3, 0), **beside))
        elif named:
            where["bbox"] = {"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.5}
            # Below the curves, where no place is free.
            self.names.append(self.axes.annotate(name, (0, value), (0, 0), zorder=1.5, **where))

    @styled()
    def vertical(self, value: float, name: str, **style: Any) -> None:
        """A grey dashed line up the panel at `value`. A row of kind `reference`."""
        self.axes.axvline(value, **{**GREY_DASHES, **style})
        self.keep(name, "reference", x=[float(value)])

    @styled()
    def marks(
        self, x: Any, series: str, look: Look = PLAIN, *, height: float = 0.0, **style: Any
    ) -> None:
        """Marks along the x axis, at a share `height` of the panel. Rows of kind `mark`."""
        x = np.atleast_1d(x)
        style = {"marker": "x", "linestyle": "none", "legend": False, **style}
        style = self._keep("mark", series, look, style, x=x)
        across = self.axes.get_xaxis_transform()
        self.axes.plot(x, np.full(len(x), height), transform=across, clip_on=False, **style)

    def published(self, curves: Published, name: str, norms: Iterable[str]) -> bool:
        """The published curves of some arms as thin lines, both edges of each band.

        `name` is that of the published panel, e.g. `fig4a_vgg_loss`. They stand in no legend: the
        caption says what thin lines are (`PUBLISHED_NOTE`). Returns whether there was one to draw;
        `compared` records, for each arm, whether it has a published curve.
        """
        self.compared |= {(name, norm): (name, norm) in curves for norm in norms}
        known = [norm for norm in norms if self.compared[name, norm]]
        for norm in known:
            look, curve = LOOKS[norm]._replace(line="-"), curves[name, norm]
            for edge, values in (("lower", curve.low), ("upper", curve.high)):
                series = f"{look.label}, {PUBLISHED}, {edge} edge"
                thin: Any = {"linewidth": 0.5, "alpha": 0.8, "legend": False}
                self.line(curve.steps, values, series, look, **thin)
        return bool(known)

    @styled()
    def note(
        self, text: str, at: Any = (0.5, 0.5), coords: Any = "axes fraction", **style: Any
    ) -> None:
        """A text that is no measurement, as `annotate` takes it; no rows."""
        self.axes.annotate(text, at, xycoords=coords, **{"ha": "center", **style})

    def key(self, name: str, look: Look = PLAIN, **style: Any) -> None:
        """An entry of the legend for a meaning that several series share; no rows."""
        self.line([], [], name, look, table=None, **style)

    @styled()
    def set(
        self, *, log: bool = False, steps: int = 0, grid: bool | str = True, **properties: Any
    ) -> None:
        """Finish the panel: `title`, `xlabel`, `ylim`, `xscale`, … as `Axes.set` takes them.

        `log` makes the y axis logarithmic, unless nothing positive and finite was drawn (all
        diverged). Limits that are not finite, or equal, are left out. `steps` sets the limits of
        the x axis, with room for whole markers. `grid` is `False`, or
        `"x"` or `"y"` for one axis. `xticks=(places, names)` names the places.
        """
        named = {axis for axis in ("xticks", "yticks") if isinstance(properties.get(axis), tuple)}
        for axis in {"xlim", "ylim"} & {*properties}:
            ends = [end for end in properties[axis] if end is not None]
            if not np.isfinite(ends).all() or len({*ends}) < len(ends):
                del properties[axis]
        self.axes.set(**{name: properties[name] for name in properties if name not in named})
        if grid is not True:
            self.axes.grid(visible=False)
        if isinstance(grid, str):
            self.axes.grid(visible=True, axis=grid)  # type: ignore[arg-type]
        if steps:
            self.axes.set_xlim(-0.01 * steps, 1.01 * steps)
        if log and any(positive(series.columns) for series in self.table):
            self.axes.set_yscale("log", nonpositive="mask")
        for axis in named:  # last: another scale has ticks of its own
            getattr(self.axes, f"set_{axis}")(*properties[axis])

    @styled()
    def legend(self, **where: Any) -> None:
        """The panel's own legend; by default below it, where it hides nothing measured."""
        below = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.16), "ncols": 2}
        names, artists = zip(*self.entries(), strict=True) if self.entries() else ((), ())
        self.axes.legend(artists, names, **where or below)

    def entries(self) -> list[tuple[str, Artist | Container]]:
        """The entries of a legend, names and artists, in the order of the calls."""
        artists, names = self.axes.get_legend_handles_labels()
        places = {name: place for place, name in reversed([*enumerate(self._labels)])}
        found = zip(names, artists, strict=True)
        return sorted(found, key=lambda entry: places.get(entry[0], len(places)))

    def hide(self) -> None:
        self.axes.set_axis_off()

    @property
    def title(self) -> str:
        """In one line, wherever it stands."""
        return one_line("".join(self.axes.get_title(at) for at in ("left", "center", "right")))

    @property
    def label(self) -> str:
        """That of the y axis, in one line."""
        return one_line(self.axes.get_ylabel())


def legend_columns(names: Sequence[str], inches: float) -> int:
    """The number of columns of a legend that has as few rows as the width of its figure allows.

    Example:
      >>> legend_columns(["training", "test"], 6.0), legend_columns(["a" * 30] * 4, 6.0)
      (2, 2)
    """
    widths = np.array([LEGEND_HANDLE + LEGEND_CHARACTER * len(name) for name in names])
    fitting = (
        columns
        for columns in range(len(names), 1, -1)
        if sum(part.max() for part in np.array_split(widths, columns)) <= inches
    )
    rows = -(-len(names) // next(fitting, 1))
    return -(-len(names) // rows) if rows else 1


def short_names(names: Sequence[str]) -> list[str]:
    """Names for the side of a panel, all different where they were.

    Without the parts of a path that all share; in a long one `…` stands for its middle.

    Example:
      >>> short_names(["net/stage1/block1/conv1", "net/stage1/block1/conv2", "net/output"])
      ['stage1/…/conv1', 'stage1/…/conv2', 'output']
    """
    whole = unshared(names)
    for length in range(LONGEST_NAME, max(map(len, whole)) + 1):
        first, last = length // 2, (length - 1) // 2
        cut = [name if len(name) <= length else f"{name[:first]}…{name[-last:]}" for name in whole]
        if len(set(cut)) == len(set(whole)):
            return cut
    return whole


def unshared(names: Sequence[str]) -> list[str]:
    """Paths without the leading parts that all of them share."""
    paths = [str(name).split("/") for name in names]
    same = itertools.takewhile(lambda parts: len(set(parts)) == 1, zip(*paths, strict=False))
    shared = min([len(list(same)), *(len(path) - 1 for path in paths)])
    return ["/".join(path[shared:]) for path in paths]


def one_line(text: str) -> str:
    return " ".join(text.split())


def positive(columns: Mapping[str, np.ndarray]) -> bool:
    found = [columns[name] for name in ("y", "low", "high") if name in columns]
    numbers = [each for each in found if each.dtype.kind in "fiu"]
    return any(bool(np.any(np.isfinite(each) & (each > 0))) for each in numbers)


def is_plane(x: Any, y: Any, values: Any) -> bool:
    """Whether something was measured over axes that have places, and more than one."""
    known = all(np.isfinite(axis).all() and np.ptp(axis) > 0 for axis in map(np.asarray, (x, y)))
    return known and bool(np.isfinite(values).any())


def cells(centres: np.ndarray) -> np.ndarray:
    """The edges of cells half-way between their centres; a single one is 1 wide.

    Example:
      >>> cells(np.array([0, 2, 6])).tolist(), cells(np.array([3])).tolist()
      ([-1.0, 1.0, 4.0, 8.0], [2.5, 3.5])
    """
    half = np.diff(centres) / 2 if len(centres) > 1 else np.array([0.5])
    return np.concatenate(
        [centres[:1] - half[0], centres[:-1] + half[: len(centres) - 1], centres[-1:] + half[-1]]
    )


def shared_levels(values: Any) -> np.ndarray:
    """Levels in equal ratios over all arms' values, so that their contours can be compared."""
    found = np.asarray(values)
    usable = found[np.isfinite(found) & (found > 0)]
    if not usable.size:
        return np.geomspace(0.1, 1.0, LEVELS)
    low = float(usable.min())
    return np.geomspace(low, max(min(float(usable.max()), low * LARGEST_RANGE), low * 1.01), LEVELS)


def logarithms(values: Any) -> np.ndarray:
    """Decimal logarithms; NaN where there is none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        exponents = np.log10(np.asarray(values))
    return np.where(np.isfinite(exponents), exponents, np.nan)


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
      caption: network, data and settings of the run. It stands above the panels.

    The constructor takes rows and columns of a grid of panels, or their names row by row, where
    equal neighbours are one panel and no place is empty; the size in inches; and `sharex`,
    `sharey`, `subplot_kw`, … of matplotlib's `Figure.subplots` or `.subplot_mosaic`.

    Example:
      >>> drawing = Drawing("losses", (1, 2), size=(6.0, 3.0))
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
        # pyplot would change the figures of a user's notebook, and may ask for a window system.
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
        """One legend for several panels, by default all of them, in as few rows as have room.

        A name that a band and a line have shows both. `style` is that of `Figure.legend`.
        """
        found: dict[str, list[Any]] = {}
        for panel in self.panels if panels is None else panels:
            for name, artist in panel.entries():
                found.setdefault(name, []).append(artist)
        shown: Any = [
            every[0] if type(every[0]) is type(every[-1]) else (every[0], every[-1])
            for every in found.values()
        ]
        columns = legend_columns(list(found), self.figure.get_figwidth())
        self.figure.legend(shown, list(found), **{"loc": loc, "ncols": columns, **style})

    @styled()
    def colour_bar(
        self, panels: Sequence[Panel], text: str, shown: Any, *, shrink: float = 1.0
    ) -> None:
        """One bar of colours next to some panels, a share `shrink` of their height.

        It shows what `Panel.heat` returned, or the levels of contours.
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

        A cell is `nan` where nothing was measured, and empty where the kind has no such column.
        Each number has as few digits as tell it from all others of its precision.
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
        finish(self.figure)
        # Laid out once: each format would do it again, which takes as long as to write it.
        self.figure.draw_without_rendering()
        self.figure.set_layout_engine("none")
        for panel in self.panels:
            place(panel.axes, panel.names)
            stack_up(panel.outside)
        self._finished = True
        return self.figure

    @styled()
    def save(self, folder: Path | str) -> list[Path]:
        """Write `<name>.png`, `.pdf`, `.svg` and the table as `.csv` into a folder, each whole.

        Equal figures are equal files: none of them has a date.
        """
        figure, paths, folder = self.finish(), [], Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
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
            self.finish().savefig(content, format="png", dpi="figure")
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
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, lineterminator="\n").writerows(content)


def rows(series: Series) -> Iterator[tuple[str, ...]]:
    columns = {name: series.columns[name] for name in COLUMNS[3:] if name in series.columns}
    texts = (each.astype(str).flat for each in np.broadcast_arrays(*columns.values()))
    for row in zip(*texts, strict=True):
        found = dict(zip(columns, row, strict=True))
        yield series.name, series.kind, *(str(found.get(name, "")) for name in COLUMNS[3:])
