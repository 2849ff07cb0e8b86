"""The figures of a landscape run: loss, gradient and smoothness along a line; their differences."""

import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import xarray
from matplotlib.ticker import MaxNLocator

from bnjax import draw
from bnjax.draw import LOOKS, STEP, Drawing, Panel, measured
from bnjax.frame.published_curves import Curve, Published
from bnjax.frame.results import Run
from bnjax.studies.landscape import claims

# By network: the published panels beside a, b and c, those of the differences (with the step size
# at the end, `fig11a_vgg_difference_eta0.05`), and the learning rate of their runs.
PUBLISHED = {
    "vgg": (
        ("fig12b_vgg_loss", "fig12c_vgg_gradpred", "fig12d_vgg_beta"), "fig11a_vgg_difference", 0.1
    ),
    "dln": (
        ("fig10a_dln_loss", "fig10b_dln_gradpred", "fig10c_dln_beta"), "fig11b_dln_difference", 1e-6
    ),
}  # fmt: skip
ALONG = {  # title and source
    "gradient": ("the gradient", "Santurkar et al. 2018, Fig. 4, 10, 12, 13"),
    "random": (
        "random directions of the gradient's norm",
        "Santurkar et al. 2018, Section 3.1 (claimed there, not shown)",
    ),
}


def each_rate(run: Run) -> Iterator[tuple[str, str, Run]]:
    """What ends names and titles, and the run at one rate, `step_size` in units of parameters."""
    if "lr" not in run.data.dims:
        yield "", "", run
        return
    for lr in run.values("lr"):
        here = run.sel(lr=lr)
        sizes = (lr * here["step_size"]).astype("f4")
        scaled = Run(here.data.assign_coords(step_size=sizes), here.options, here.facts)
        yield f"_lr{lr:g}", f", learning rate {lr:g}", scaled


def landscape(run: Run, published: Published) -> Iterator[Drawing]:
    """A figure for each direction and rate: bands over η, and training (Fig. 4)."""
    for name, title, here in each_rate(run):
        for direction in here.values("direction"):
            along, source = ALONG[direction]
            stem = "landscape" if direction == "gradient" else f"landscape_{direction}"
            heading = f"Loss landscape along {along}{title}"
            what = {"title": heading, "text": measured.LINE_TEXT, "source": source}
            yield along_line(here, direction, published, f"{stem}{name}", what)


def along_line(
    run: Run, direction: str, published: Published, name: str, what: Mapping[str, str]
) -> Drawing:
    """One direction at one rate. Two arms share panels; of more, each has a column with `none`."""
    columns = side_by_side(run.norms)
    several = len(columns) > 1
    grid = [[f"{row} {i}" for i in range(len(columns))] for row in measured.LINE]
    if several:
        layout, size = [*grid, ["training"] * len(columns)], (1.5 + 2.8 * len(columns), 10.5)
    else:
        layout, size = [[*grid[0], *grid[1]], [*grid[2], "training"]], (9.0, 6.8)
    drawing = Drawing(name, layout, size, **what)
    names, _, lr = PUBLISHED.get(run.options["model"][:3], ((), "", 0.0))
    shown = published if direction == "gradient" else {}
    line = run.sel(direction=direction)
    for row in grid:  # before anything is drawn, so that each scale is that of all columns
        for key in row[1:]:
            drawing[key].axes.sharey(drawing[row[0]].axes)
    for i, norms in enumerate(columns):
        panels = [drawing[f"{row} {i}"] for row in measured.LINE]
        arms = Run(line.data.sel(norm=norms), line.options, line.facts)
        measured.line_panels(panels, arms)
        for value, plateau in measured.plateaus(run):
            panels[2].reference(value, plateau, outside=True, named=norms == columns[-1])
        for panel, curve in zip(panels, names, strict=False):
            panel.published(shown, curve, norms)
        for panel, (title, label) in zip(panels, measured.LINE.values(), strict=True):
            label += draw.unit(run) if panel is panels[0] else ""
            if not several:
                panel.set(title=title, ylabel=label, xlabel=STEP)
                continue
            panel.set(ylabel="" if i else f"{title}\n{label}")
            panel.axes.tick_params(labelleft=i == 0)
            panel.axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
        if several:
            panels[0].set(title=LOOKS[norms[-1]].label)
    draw.training(drawing["training"], run, test=True)
    drawing["training"].set(title="d  Training", xlabel=STEP)
    for panel in drawing.panels:
        panel.set(log=True, steps=run.data.sizes["step"])
    measured.smoothness_keys(panels[2], line)
    test: Any = {"marker": "o", "linestyle": "none", "markersize": 4, "fillstyle": "none"}
    panels[2].key("d: test set", color="0.35", **test)
    drawing.legend([panel for panel in drawing.panels if panel is not drawing["training"]], ncols=5)
    note = f"\n{draw.PUBLISHED_NOTE}, lr {lr:g}" if shown and names else ""
    drawing.caption = caption(run, direction) + note
    return drawing


def side_by_side(norms: list[str]) -> list[list[str]]:
    """The arms of each column of panels.

    Example:
      >>> side_by_side(["none", "batch"]), side_by_side(["none", "batch", "l1"])
      ([['none', 'batch']], [['none', 'batch'], ['none', 'l1']])
    """
    if len(norms) < 3 or "none" not in norms:
        return [norms]
    return [["none", norm] for norm in norms if norm != "none"]


def caption(run: Run, direction: str) -> str:
    """What was run, on what, and how each arm's β ends."""
    sizes, options = run["step_size"].values, run.options
    part = "" if options["parameters"] == "all" else f", {options['parameters']} layer only"
    fates: dict[str, list[str]] = {}
    for norm, edge in zip(run.norms, claims.CLAIMS[-1](run), strict=True):
        reason = edge.reason.removeprefix(f"{LOOKS[norm].label} ")
        fates.setdefault(reason, []).append(LOOKS[norm].label)
    lines = [
        draw.subject(run),
        f"{draw.setting(run)}, {options['statistics']} statistics, η from {sizes[0]:.3g} to "
        f"{sizes[-1]:.3g} along the {direction} ({len(sizes)} points), {draw.spread(run)}{part}",
        *(f"{', '.join(labels)}: {reason}" for reason, labels in fates.items()),
    ]
    lines += measured.rounding_note(run.sel(direction=direction))
    return "\n".join(lines)


def differences(run: Run, published: Published) -> Iterator[Drawing]:
    """‖g(η) − g‖ against η at some steps (Fig. 11): a figure for each rate, a panel an arm."""
    for name, title, here in each_rate(run):
        _, paper, _ = PUBLISHED.get(run.options["model"][:3], ((), "", 0.0))
        curves = at_step_sizes(published, paper) if paper else {}
        probed, sizes = here["probe_step"].values, here["step_size"].values
        evenly = probed[np.unique(np.linspace(0, len(probed) - 1, 5).round().astype(int))]
        steps = run.options["difference_steps"] or evenly.tolist()
        # One scale: what is compared is how large the difference is, not the shape alone.
        drawing = Drawing(
            f"gradient_difference{name}",
            (1, len(run.norms)),
            size=(1.2 + 3.2 * len(run.norms), 3.6),
            sharey=True,
            title=f"Gradient difference against the step size{title}",
            text="‖g(η) − g‖₂ against η at some training steps; it grows linearly at an edge of "
            "stability and stays at ‖g‖ where the gradient has vanished.",
            source="Santurkar et al. 2018, Fig. 11",
        )
        compared = False
        middle = here["line_gradient_distances"].sel(direction="gradient").median("seed")
        for panel, norm in zip(drawing.panels, run.norms, strict=True):
            for step, shade in zip(steps, draw.shades(len(steps)), strict=True):
                style: Any = {"color": shade, "marker": "o", "markersize": 3.5}
                panel.line(sizes, middle.sel(norm=norm, probe_step=step), f"step {step}", **style)
                known = [(eta, nearest(c, step)) for eta, c in curves.get(norm, {}).items()]
                x, y = np.reshape([point for point in known if np.isfinite(point[1])], (-1, 2)).T
                if len(x):
                    series, compared = f"step {step}, {draw.PUBLISHED}", True
                    panel.line(x, y, series, legend=False, color=shade, linewidth=0.6)
                    panel.compared[paper, norm] = True
            measured.step_size_axis(panel, sizes, here.options["lr"])
            panel.set(title=LOOKS[norm].label, log=True)
        drawing.panels[0].set(ylabel="‖∇L(θ − ηd) − ∇L(θ)‖₂")
        drawing.legend(drawing.panels[:1])
        drawing.caption = (
            f"{draw.subject(run)}; along the gradient, {draw.spread(run)}; dashed: the learning "
            "rate" + f"; {draw.PUBLISHED_NOTE}, of the nearest step that was read off" * compared
        )
        yield drawing


def at_step_sizes(published: Published, name: str) -> Mapping[str, Mapping[float, Curve]]:
    """The published curves of panels `<name>_eta<step size>` by arm and step size, rising.

    Example:
      >>> curve = Curve(np.arange(2), np.ones(2), np.ones(2))
      >>> given = {("fig11_eta2e-1", "batch"): curve, ("fig11_etas", "batch"): curve}
      >>> {norm: list(curves) for norm, curves in at_step_sizes(given, "fig11").items()}
      {'batch': [0.2]}
    """
    found: dict[str, dict[float, Curve]] = {}
    for (panel, series), curve in published.items():
        size = re.fullmatch(rf"{name}_eta(\d+(?:\.\d+)?(?:e[-+]?\d+)?)", panel)
        if size and 0 < float(size[1]) < math.inf:
            found.setdefault(series, {})[float(size[1])] = curve
    return {series: dict(sorted(curves.items())) for series, curves in found.items()}


def nearest(curve: Curve, step: int) -> float:
    """The middle of a published band at its nearest step; NaN farther than from step to step.

    Example:
      >>> curve = Curve(np.array([0.0, 300.0, 600.0]), np.arange(3.0), np.arange(3.0))
      >>> nearest(curve, 310), nearest(curve, 1000)
      (1.0, nan)
    """
    distances = np.abs(curve.steps - step)
    if np.min(distances) > np.max(np.diff(curve.steps), initial=0):
        return float("nan")
    i = int(np.argmin(distances))
    return float((curve.low[i] + curve.high[i]) / 2)


def as_published(run: Run, published: Published) -> Iterator[Drawing]:
    """Published and measured curves side by side, both on the axes of the published ones."""
    names, _, rate = PUBLISHED.get(run.options["model"][:3], ((), "", 0.0))
    norms = [norm for norm in run.norms if all((name, norm) in published for name in names)]
    if not names or not norms or "gradient" not in run.values("direction"):
        return
    for name, title, here in each_rate(run):
        line = here.sel(direction="gradient")
        arms = Run(line.data.sel(norm=norms), line.options, line.facts)
        drawing = Drawing(
            f"landscape_as_published{name}",
            (len(measured.LINE), 2),
            size=(8.6, 9.6),
            title=f"Published and measured, on the published axes{title}",
            text="Left: the published curves. Right: this run. Both columns have the axes of the "
            "left one; how much of the right one lies outside is said there. (a) Loss and (b) "
            "‖g(η) − g‖₂, least to greatest over the step sizes η. (c) The greatest β(η).",
            source="Santurkar et al. 2018, Fig. 4, 10, 12",
        )
        for panels, curve, row in zip(drawing.rows, names, measured.LINE, strict=True):
            draw_beside(panels, arms, {norm: published[curve, norm] for norm in norms}, row)
        drawing.legend(drawing.panels[:1])
        drawing.caption = f"{caption(here, 'gradient')}\npublished: lr {rate:g}"
        yield drawing


FIELDS = ("low", "high")  # of a published curve


def draw_beside(panels: Sequence[Panel], arms: Run, curves: Mapping[str, Curve], row: str) -> None:
    """One quantity: the published curves in the first panel, the run's in the second."""
    left, right = panels
    heading, label = measured.LINE[row]
    ends = run_ends(arms, row)
    wide = arms.options["model"] == "dln" or row == "loss"
    for norm, curve in curves.items():
        look = LOOKS[norm]
        low, high = (end.sel(norm=norm).median("seed") for end in ends)
        for panel, x, lower, upper in (
            (left, curve.steps, curve.low, curve.high),
            (right, low["probe_step"], low, high),
        ):
            if row == "smoothness":
                panel.line(x, upper, look.label, look, linewidth=1.0)
            else:
                panel.band(x, lower, upper, look.label, look, edges=True, alpha=0.3, hatch=True)
    lows, highs = (np.concatenate([getattr(c, end) for c in curves.values()]) for end in FIELDS)
    limits = axis_limits(lows, highs, log=wide)
    steps = int(max(curve.steps.max() for curve in curves.values()))
    for panel, what in ((left, "published"), (right, "this run")):
        panel.set(title=f"{heading}, {what}", xlabel=STEP, ylabel=label, log=wide, steps=steps)
        panel.set(ylim=limits)
    values = np.concatenate([end.values[np.isfinite(end.values)] for end in ends])
    outside = np.mean((values < limits[0]) | (values > limits[1])) if values.size else 0.0
    if outside:
        text = f"{100 * outside:.2g} % of it lies outside"
        right.note(text, (0.98, 0.95), ha="right", fontsize=7.5)


def run_ends(run: Run, row: str) -> tuple[xarray.DataArray, xarray.DataArray]:
    """The two edges of a quantity over the step sizes; of β the greatest, twice."""
    field = {"loss": "losses", "predictiveness": "gradient_distances", "smoothness": "smoothness"}
    values = run[f"line_{field[row]}"]
    high = values.max("step_size", skipna=False)
    return (high if row == "smoothness" else values.min("step_size", skipna=False)), high


def axis_limits(low: np.ndarray, high: np.ndarray, *, log: bool) -> tuple[float, float]:
    """Limits around all values with a little room; of logarithms around the positive ones.

    Example:
      >>> axis_limits(np.array([1.0]), np.array([11.0]), log=False)
      (0.5, 11.5)
    """
    if log:
        least, most = (np.log10(values[values > 0]) for values in (low, high))
        room = 0.05 * (most.max() - least.min())
        return float(10 ** (least.min() - room)), float(10 ** (most.max() + room))
    room = 0.05 * float(high.max() - low.min())
    return float(low.min() - room), float(high.max() + room)


FIGURES = (landscape, differences, as_published)
