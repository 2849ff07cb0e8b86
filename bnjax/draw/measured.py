"""What probes measured, drawn: the panels of which the figures of studies are made, and `plot`.

A panel takes a `Run`. One's own measurements become a run of one seed (`as_run`), so a figure of
one's own loop is that of the study.
"""

import math
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray

from bnjax.draw.arms import bands, curves, each_arm, mark_ends
from bnjax.draw.drawing import (
    GREY_DASHES,
    LOOKS,
    MODEL,
    STEP,
    Drawing,
    Look,
    Panel,
    quiet,
    shared_levels,
    short_names,
    styled,
)
from bnjax.draw.recorded import WATCHED, recording
from bnjax.errors import UsageError
from bnjax.fields import to_xarray
from bnjax.frame import results
from bnjax.frame.results import Run
from bnjax.probes.rounding import RESOLVED
from bnjax.probes.spectrum import density
from bnjax.recorder import Recording

MOST_LABELS = 6  # of step sizes, for which there is room
PER_ROW = 3  # panels of planes


def plot(measured: Any, *, lr: float | None = None, figure: str = "") -> Drawing:
    """Draw what was measured, as the figures of the studies draw it.

    A `Line`, `Shift`, `Spectrum` or `Plane`; many of one kind along training, as `to_xarray` takes
    them, or the `Dataset` that it returned; a flight recorder's `Dataset`; networks side by side,
    as a dict by name; a run, by its folder, its `Run`, or the `Dataset` of its `results.nc`. Of
    other probes each field gets a panel.

    Args:
      measured: what is drawn.
      lr: learning rate of plain gradient descent: for the lines at 2/lr and at η = lr.
      figure: of a run, the name of the figure, such as `gradient_difference`; by default its first.

    Returns:
      A `Drawing`: a notebook shows it, `.save(folder)` writes PNG, PDF, SVG and CSV, `.figure` is
      matplotlib's.

    Raises:
      UsageError: nothing that can be drawn, or a run without such a figure.
      RunError: a folder without results.

    Example:
      >>> import jax.numpy as jnp
      >>> from bnjax import probes
      >>> line = probes.line(lambda w: jnp.sum(w**2), jnp.ones(3), jnp.array([0.1, 0.2]))
      >>> [panel.title for panel in plot(line, lr=0.1).panels][:2]
      ['a Loss', 'b Gradient predictiveness']
    """
    if isinstance(measured, str | Path):
        measured = results.read(Path(measured))
    elif isinstance(measured, xarray.Dataset) and {"options", "facts"} <= measured.attrs.keys():
        measured = results.unpack(measured)
    with quiet(), styled():
        if isinstance(measured, Run):
            return figure_of(measured, figure)
        if lr is not None and not isinstance(lr, float | int):
            raise UsageError(f"lr={lr!r} must be a number, or None")
        data = to_xarray(measured)
        kinds = {str(values.attrs.get("probe", "")) for values in data.data_vars.values()}
        if len(kinds) != 1 or kinds == {""}:
            raise UsageError(
                f"the Dataset is of {' and '.join(filter(None, sorted(kinds))) or 'no probe'}: "
                "give what bnjax.to_xarray returned, of one probe at a time"
            )
        (kind,) = kinds
        if all(str(name).startswith(f"{kind}_") for name in data.data_vars):  # merged with others
            data = data.rename({name: str(name)[len(kind) + 1 :] for name in data.data_vars})
        run = as_run(data, kind, lr)
        along_training = "probe_step" in run.data.dims
        whole = NEEDED.get(kind, set()) <= set(data.data_vars)  # or some fields were left out
        draw = DRAWN.get((kind, along_training), fields_along) if whole else fields_along
        return draw(run, kind)


def as_run(data: xarray.Dataset, kind: str, lr: float | None) -> Run:
    """Measurements of one's own as the run of a study, with its names of variables and axes."""
    extra = {"norm": [MODEL], "seed": [0]}
    data = data.expand_dims({axis: extra[axis] for axis in extra if axis not in data.dims})
    if "step_size" in data.coords:
        data = data.sortby("step_size")
    names: dict[Any, str] = {str(name): f"{kind}_{name}" for name in data.data_vars}
    names |= {"step": "probe_step"} if "step" in data.dims else {}
    return Run(data.rename(names), {"lr": lr, "optimizer": "" if lr is None else "sgd"}, {})


def figure_of(run: Run, name: str) -> Drawing:
    """A figure of a shipped study, by its name; the first one if there is no name."""
    made_by = re.match(r"bnjax/studies/(\w+) ", str(run.facts.get("script", "")))
    if not made_by:
        raise UsageError("the run is of a study of another file: its figures lie in its folder")
    from bnjax.frame import study as studies  # needs more packages than drawing does

    known = []
    for draw in (*studies.find(made_by[1]).part("FIGURES"), *(recording,) * (WATCHED in run)):
        found = draw(run, {})
        for drawing in [found] if isinstance(found, Drawing) else found:
            if name in ("", drawing.name):
                return drawing
            known.append(drawing.name)
    raise UsageError(f"the run has no figure {name!r}: choose from {', '.join(known)}")


def last_step(run: Run) -> int:
    """Training steps that the axis of own measurements has room for."""
    return int(run["probe_step"].max()) + 1


# Along a line

LINE = {
    "loss": ("a  Loss variation", "loss L(θ − ηd)  "),
    "predictiveness": ("b  Gradient predictiveness", "‖∇L(θ − ηd) − ∇L(θ)‖₂"),
    "smoothness": ("c  Effective β-smoothness", "β = ‖Δ∇L‖₂ / ‖ηd‖₂"),
}
# What else a panel of smoothness shows in the colour of each arm.
KEYS: dict[str, Any] = {
    "largest over η": {"linewidth": 1.4},
    "η → 0": {"linestyle": ":", "linewidth": 0.9},
    "rounding": {"linestyle": (0, (1, 4)), "linewidth": 0.8},
    "unresolved": {"linestyle": "none", "marker": "s", "markersize": 4, "fillstyle": "none"},
}
LINE_TEXT = (
    "Band: least and greatest over the step sizes η of the loss L(θ − ηd) (a) and of ‖g(η) − "
    "g‖₂ (b), both on the batch of the step. (c) Effective smoothness β(η) = ‖g(η) − g‖₂ / "
    "‖ηd‖₂, the greatest over η; shaded: its range over seeds; dotted, where measured "
    "(--limits-every): its limit ‖Hd‖₂/‖d‖₂ for η → 0; squares: values that rounding may change by "
    "more than 5 %; grey: 2/lr, the edge of stability, and "
    "1/η_min, the value of a gradient that has vanished after the smallest step (saturation). "
    "(d) The loss along training."
)


def line_panels(panels: Sequence[Panel], arms: Run) -> None:
    """Loss, gradient difference and β of some arms along training (Fig. 4 of Santurkar et al.)."""
    few = len(arms.norms) < 3
    for panel, field in zip(panels, ("line_losses", "line_gradient_distances"), strict=False):
        low, high = (end("step_size", skipna=False) for end in (arms[field].min, arms[field].max))
        bands(panel, low, high, edges=True, hatch=few, alpha=0.3 if few else 0.12)
        for norm in arms.norms:
            mark_ends(panel, arms, norm)
    smoothness_panel(panels[2], arms)


def smoothness_panel(panel: Panel, arms: Run) -> None:
    """For each arm the largest β over step sizes, its η → 0 limit, and its rounding."""
    largest = arms["line_smoothness"].max("step_size", skipna=False)
    curves(panel, arms, largest, **KEYS["largest over η"])
    if arms.data.sizes["seed"] > 1:
        ends = largest.min("seed", skipna=False), largest.max("seed", skipna=False)
        over: Any = {"alpha": 0.15, "zorder": 1.6, "legend": False}  # the names of lines
        bands(panel, *ends, "{}, range of seeds", **over)
    other: Any = {"legend": False, "ends": False}
    limit = arms["line_smoothness_limit"].dropna("probe_step", how="all")
    if limit.sizes["probe_step"]:
        curves(panel, arms, limit, "{}, η → 0", **other, **KEYS["η → 0"])
    if (unresolved := rounded(arms)).any():
        floor = noise(arms) / (least_step(arms) * arms["line_direction_norm"])
        curves(panel, arms, floor, "{}, rounding", **other, **KEYS["rounding"])
        at_largest = unresolved & (arms["line_smoothness"] == largest)
        marked = largest.where(at_largest.any("step_size"))
        curves(panel, arms, marked, "{}, unresolved", **other, **KEYS["unresolved"])


def smoothness_keys(panel: Panel, line: Run) -> None:
    """What the lines of `smoothness_panel` are, as far as they are there."""
    missing = {
        "rounding": not rounded(line).any(),
        "unresolved": not rounded(line).any(),
        "η → 0": not line["line_smoothness_limit"].notnull().any(),
    }
    for key, style in KEYS.items():
        if not missing.get(key):
            panel.key(f"c: {key}", color="0.35", **style)


def noise(run: Run) -> xarray.DataArray:
    """The rounding noise of the gradient at every probe: that of the nearest that measured it."""
    if "probe_step" not in run.data.dims:
        return run["line_rounding_noise"]
    measured = run["line_rounding_noise"].dropna("probe_step", how="all")
    if not measured.sizes["probe_step"]:
        return run["line_rounding_noise"]
    nearest: xarray.DataArray = measured.sel(probe_step=run["probe_step"], method="nearest")
    return nearest.assign_coords(probe_step=run["probe_step"])


def rounded(run: Run) -> xarray.DataArray:
    """Where rounding may change a gradient difference, and β with it, by more than 5 %."""
    found: xarray.DataArray = run["line_gradient_distances"] < RESOLVED * noise(run)
    return found


def rounding_note(line: Run) -> list[str]:
    """The step sizes at which rounding may change β, in at most one line."""
    found = rounded(line)
    few = line["step_size"].values[found.any([a for a in found.dims if a != "step_size"]).values]
    shown = ", ".join(f"{size:.3g}" for size in few)
    return [f"rounding may change β by more than 5 % at some steps: η = {shown}"] * bool(len(few))


def least_step(run: Run) -> float:
    """The length of the smallest step, η_min."""
    sizes = np.abs(run["step_size"].values)
    return float(sizes[sizes > 0].min())


def plateaus(run: Run) -> list[tuple[float, str]]:
    """The values that a plateau of β may be, as one line where they coincide."""
    saturation = 1 / least_step(run)
    if run.options["optimizer"] != "sgd":
        return [(saturation, "1/η_min, saturation")]
    edge = 2 / run.options["lr"]
    if abs(edge / saturation - 1) < 0.01:
        return [(edge, "2/lr = 1/η_min")]
    return [(edge, "2/lr, edge of stability"), (saturation, "1/η_min, saturation")]


def lines_along_training(run: Run, _: str) -> Drawing:
    """Lines along training."""
    require_axis(run, "line_losses", "step_size")
    drawing = Drawing(
        "lines",
        (2, 2),
        size=(9.0, 6.8),
        title="Loss landscape along training",
        text=LINE_TEXT,
        source="Santurkar et al. 2018, Fig. 4",
    )
    *panels, centre = drawing.panels
    line_panels(panels, run)
    along_gradient = np.allclose(run["line_direction_norm"], run["line_gradient_norm"], rtol=1e-4)
    for value, plateau in plateaus(run) if along_gradient else []:
        panels[2].reference(value, plateau, outside=True)
    curves(centre, run, run["line_loss"], legend=False)
    titles = [*LINE.values(), ("d  Loss at the centre", "loss L(θ)")]
    for panel, (title, label) in zip(drawing.panels, titles, strict=True):
        panel.set(title=title, ylabel=label, xlabel=STEP, log=True, steps=last_step(run))
    smoothness_keys(panels[2], run)
    drawing.legend(panels, ncols=5)
    sizes = run["step_size"].values
    drawing.caption = "\n".join(
        [
            f"{run.data.sizes['probe_step']} probed steps, η from {sizes[0]:.3g} to "
            f"{sizes[-1]:.3g} ({len(sizes)} points)",
            *["along another direction than the gradient"] * (not along_gradient),
            *rounding_note(run),
        ]
    )
    return drawing


def line_at_point(run: Run, _: str) -> Drawing:
    """One line of each arm, against η."""
    require_axis(run, "line_losses", "step_size")
    sizes = run["step_size"].values
    drawing = Drawing(
        "line",
        (2, 2),
        size=(9.0, 6.8),
        title="Loss and gradient along a line",
        text="At θ − ηd against η: the loss; ‖g(η) − g‖₂ beside ‖g‖₂, its value where the gradient "
        "has vanished; β(η) beside its limit for η → 0, and beside its value where the gradient "
        "has vanished (saturation); the cosine of both gradients.",
        source="Santurkar et al. 2018, Fig. 4 and 11",
        caption="\n".join(
            [
                "horizontal dashes: L(θ), ‖g‖ and the limit of β for η → 0"
                + "; vertical: the learning rate" * (run.options["lr"] is not None),
                *rounding_note(run),
            ]
        ),
    )
    loss, gradient, smoothness, cosine = drawing.panels
    fields = ("losses", "gradient_distances", "smoothness", "cosines")
    for panel, field in zip(drawing.panels, fields, strict=True):
        style: Any = {"marker": "o", "markersize": 3.5, "linewidth": 1.3}
        curves(panel, run, run[f"line_{field}"], **style)
    if (unresolved := rounded(run)).any():
        few: Any = {
            **KEYS["unresolved"],
            "markersize": 7,
            "legend": "rounding may change it by 5 %",
        }
        for panel, field in ((gradient, "gradient_distances"), (smoothness, "smoothness")):
            curves(panel, run, run[f"line_{field}"].where(unresolved), "{}, unresolved", **few)
    alone = len(run.norms) == 1
    for panel, field, name in (
        (loss, "loss", "L(θ)"),
        (gradient, "gradient_norm", "‖g‖₂"),
        (smoothness, "smoothness_limit", "η → 0"),
    ):
        for norm, value in each_arm(run[f"line_{field}"]):
            own: dict[str, Any] = {} if alone else {"color": LOOKS[norm].colour}
            if np.isfinite(value):
                panel.reference(float(value), name, named=alone, **own)
    if run.options["lr"] is not None:
        smoothness.reference(2 / run.options["lr"], "2/lr, edge of stability")
    gone = float((run["line_gradient_norm"] / run["line_direction_norm"]).median("seed")[0])
    smoothness.line(
        sizes[sizes != 0], gone / np.abs(sizes[sizes != 0]), "saturation, ‖g‖ / ‖ηd‖", **GREY_DASHES
    )
    titles = [("a  Loss", LINE["loss"][1]), *[*LINE.values()][1:]]
    for panel, (title, label) in zip(drawing.panels, titles, strict=False):
        step_size_axis(panel, sizes, run.options["lr"])
        panel.set(title=title, ylabel=label, log=True)
    step_size_axis(cosine, sizes, run.options["lr"])
    cosine.set(title="d  Turn of the gradient", ylabel="cos(g(η), g)", ylim=(-1.06, 1.06))
    drawing.legend([smoothness], ncols=4)
    return drawing


def step_size_axis(panel: Panel, sizes: np.ndarray, lr: float | None) -> None:
    """An axis of step sizes η: of logarithms, each η with its number where there is room."""
    if lr is not None:
        panel.vertical(lr, "learning rate")
    panel.set(xlabel="step size η")
    if sizes.min() <= 0:
        return
    panel.set(xscale="log")
    if len(sizes) <= MOST_LABELS:
        panel.set(xticks=(sizes, tick_labels(sizes.tolist())))
        panel.axes.set_xticks([], minor=True)
    panel.set(xlim=(sizes.min() / 1.2, sizes.max() * 1.2))


def tick_labels(sizes: Sequence[float]) -> list[str]:
    """Rising step sizes as texts; empty where one would run into the last before it.

    Example:
      >>> tick_labels([0.05, 0.1, 0.2]), tick_labels([1e-8, 1e-6, 1e-5, 3e-5])
      (['0.05', '0.1', '0.2'], ['1e-08', '1e-06', '1e-05', ''])
    """
    room, last = 0.19 * math.log(sizes[-1] / sizes[0]), 0.0
    labels: list[str] = []
    for size in sizes:
        fits = not labels or math.log(size / last) >= room
        labels.append(f"{size:.2g}" if fits else "")
        last = size if fits else last
    return labels


# Internal covariate shift

SHIFT = (
    ("cosines", "cos(G, G')"),
    ("distances", "‖G − G'‖₂"),
    ("relative_distances", "‖G − G'‖₂ / ‖G‖₂"),
)
SHIFT_TEXT: dict[str, str] = {
    "title": "Internal covariate shift of the layers",
    "text": "For a layer i with weights Wᵢ: G = ∇L by Wᵢ before a step; G′ = the same after the "
    "layers below took the optimiser's actual update, on the same batch. Cosine of both "
    "(ideal 1) and ‖G − G′‖₂ (ideal 0).",
    "source": "Santurkar et al. 2018, Definition 2.1 and Fig. 3",
}


def shift_panels(
    drawing: Drawing, panels: Sequence[Panel], run: Run, layers: Sequence[str], steps: int, at: str
) -> None:
    """A map of the cosines of all layers for each arm, then each measure of some layers.

    `at` ends the titles, e.g. `, lr 0.1`.
    """
    cosines = run["shift_cosines"].median("seed").transpose("norm", "layer", "probe_step")
    maps, lines = panels[: len(run.norms)], panels[len(run.norms) :]
    known = run.values("layer")
    names = dict(zip(known, short_names(known), strict=True))
    for panel, norm in zip(maps, run.norms, strict=True):
        image = panel.heat(
            run["probe_step"], known, cosines.sel(norm=norm), LOOKS[norm].label,
            cmap="RdYlBu", vmin=-1, vmax=1,
        )  # fmt: skip
        panel.set(title=f"{'all layers' if norm == MODEL else norm}{at}", xlabel=STEP, grid=False)
        panel.axes.tick_params(labelleft=panel is maps[0])
    drawing.colour_bar(maps, "cos(G, G')", image, shrink=0.8)
    for panel, (field, title) in zip(lines, SHIFT, strict=True):
        for i, layer in enumerate(layers):  # the first one is drawn thicker
            curves(
                panel, run, run[f"shift_{field}"].sel(layer=layer), f"{{}}, {layer}",
                legend=f"{{}}, {names[layer]}", linewidth=0.8 if i else 1.6,
                markersize=2 if i else 3, marker=True, markevery=0.1, ends=False,
            )  # fmt: skip
        panel.set(title=f"{title}{at}", xlabel=STEP, log=field != "cosines", steps=steps)


def shift_along_training(run: Run, _: str) -> Drawing:
    columns = len(run.norms) + len(SHIFT)
    drawing = Drawing("shift", (1, columns), size=(3.0 * columns, 4.2), **SHIFT_TEXT)
    layers = run.values("layer")
    shown = list(dict.fromkeys([layers[len(layers) // 2], layers[-1]]))
    shift_panels(drawing, drawing.panels, run, shown, last_step(run), "")
    drawing.legend(drawing.panels[-1:])
    return drawing


def shift_at_point(run: Run, _: str) -> Drawing:
    """One step's shift of every layer, from the input to the output."""
    drawing = Drawing("shift", (1, len(SHIFT)), size=(3.6 * len(SHIFT), 3.6), **SHIFT_TEXT)
    layers = np.array(run.values("layer"))
    places = np.arange(len(layers))
    for panel, (field, title) in zip(drawing.panels, SHIFT, strict=True):
        for norm, values in each_arm(run[f"shift_{field}"]):
            style: Any = {"marker": True, "markersize": 4, "clip_on": False}
            style["table"] = {"x": layers}
            panel.line(places, values, look=LOOKS[norm], **style)
        few = places[:: -(-len(places) // 8)]
        panel.set(title=title, xticks=(few, np.array(short_names(layers.tolist()))[few]))
        if len(few) > 4:
            panel.axes.tick_params(axis="x", labelrotation=45)
        panel.set(ylim=(-1.06, 1.06) if field == "cosines" else (0, None))
    if len(run.norms) > 1:
        drawing.legend(drawing.panels[:1])
    return drawing


# The Hessian's spectrum

SPECTRUM_SOURCE = "Ghorbani, Krishnan & Xiao 2019"
BROADENING = 0.01  # standard deviation of the broadening, share of the range of a panel
GRID = 1000  # points of a density
LOWEST = 1e-7  # of the density that is shown, share of its largest value
DENSITY_TEXT = (
    "Stochastic Lanczos quadrature, broadened by a Gaussian kernel; ticks: greatest eigenvalues."
)


def spectrum_panels(panels: Sequence[Panel], arm: Run, look: Look, fill: Any = "full") -> None:
    """Outer eigenvalues, the gradient's share in the greatest, and the trace, of one arm."""
    eigenvalues, gradient, trace = panels
    steps = arm["probe_step"]
    largest, share, middle, error = (
        arm[f"spectrum_{field}"].median("seed")
        for field in ("largest", "gradient_fraction", "trace", "trace_error")
    )
    bold: Any = {"fillstyle": fill, "markersize": 4.5, "linewidth": 1.3}
    thin: Any = {"fillstyle": fill, "markersize": 2.5, "linewidth": 0.6, "legend": False}
    name = f"{look.label}, {last_eigenvalue(arm)}"
    eigenvalues.line(steps, largest.isel(rank=0), look=look, marker=True, **bold)
    eigenvalues.line(steps, largest.isel(rank=-1), name, look, marker=True, **thin)
    gradient.line(steps, share.isel(rank=-1), look=look, marker=True, **bold)
    trace.ranges(steps, middle, middle - error, middle + error, look=look, fillstyle=fill)


MATRICES = ("Hessian", "Gauss–Newton matrix", "Fisher matrix", "empirical Fisher matrix")


def matrix_of(run: Run) -> str:
    """The name of the matrix whose eigenvalues a run has; studies have the Hessian's."""
    if "spectrum_curvature" not in run.data:
        return MATRICES[0]
    known = run["spectrum_curvature"].values
    known = known[np.isfinite(known)]  # NaN where every arm has diverged before the first probe
    return MATRICES[int(known[0]) if known.size else 0]


def finish_spectrum(panels: Sequence[Panel], run: Run) -> None:
    """Titles and axes of `spectrum_panels`, and the edge of stability, which is the Hessian's."""
    eigenvalues, gradient, trace = panels
    matrix = matrix_of(run)
    if run.options["optimizer"] == "sgd" and matrix == MATRICES[0]:
        eigenvalues.reference(2 / run.options["lr"], "2/lr, edge of stability", outside=True)
    last = last_eigenvalue(run)
    title = f"a  Eigenvalues λ₁ and {last}"
    eigenvalues.set(title=title, ylabel=f"λ of the {matrix}", xlabel=STEP, log=True)
    title = f"b  Gradient in the top {run.values('rank')[-1]} eigenvectors"
    gradient.set(title=title, ylabel="‖P∇L‖² / ‖∇L‖²", ylim=(-0.03, 1.03), xlabel=STEP)
    trace.set(title="c  Trace, with standard error", ylabel=f"trace of the {matrix}", xlabel=STEP)
    trace.key("a: λ₁", color="0.35", linewidth=1.3)
    trace.key(f"a: {last}", color="0.35", linewidth=0.6)


def last_eigenvalue(run: Run) -> str:
    """λ with its rank as a subscript, the last that was measured."""
    return "λ" + "".join("₀₁₂₃₄₅₆₇₈₉"[int(digit)] for digit in str(run.values("rank")[-1]))


def density_panel(panel: Panel, nodes: Any, weights: Any, largest: Any, look: Look) -> None:
    """The density of eigenvalues, and marks of the largest."""
    if not np.isfinite(nodes).any():
        return panel.note("not measured")
    low, high = float(np.nanmin(nodes)), float(np.nanmax(nodes))
    span = max(high - low, float(np.finfo(np.float32).tiny))
    grid = np.linspace(low - 0.06 * span, high + 0.06 * span, GRID, dtype=nodes.dtype)
    values = np.asarray(density(nodes, weights, grid, BROADENING * span))
    panel.line(grid, values, "density", look._replace(line="-"), legend=False)
    top = values.max()
    if 0 < top < math.inf:
        panel.set(yscale="log", ylim=(LOWEST * top, 3 * top))
    ticks: Any = {"marker": "|", "markersize": 8, "color": "0.15", "height": 0.035}
    panel.marks(largest[np.isfinite(largest)], "largest eigenvalues", **ticks)


def spectrum_along_training(run: Run, _: str) -> Drawing:
    drawing = Drawing(
        "spectrum",
        (2, 2),
        size=(9.0, 7.0),
        title=f"Spectrum of the {matrix_of(run)} along training",
        source=SPECTRUM_SOURCE,
    )
    *panels, loss = drawing.panels
    for norm in run.norms:
        spectrum_panels(panels, run.sel(norm=norm), LOOKS[norm])
    finish_spectrum(panels, run)
    curves(loss, run, run["spectrum_loss"], legend=False)
    loss.set(title="d  Loss at the point", ylabel="loss", xlabel=STEP, log=True)
    drawing.legend(panels[2:], ncols=4)
    return drawing


def spectrum_at_point(run: Run, _: str) -> Drawing:
    """The density of each arm, its greatest eigenvalues, and the gradient's share in them."""
    norms, matrix = run.norms, matrix_of(run)
    columns = len(norms) + 2
    drawing = Drawing(
        "spectrum",
        (1, columns),
        size=(3.4 * columns, 3.6),
        title=f"Spectrum of the {matrix}",
        text=DENSITY_TEXT,
        source=SPECTRUM_SOURCE,
    )
    *densities, eigenvalues, gradient = drawing.panels
    ranks = run["rank"].values
    for panel, norm in zip(densities, norms, strict=True):
        arm, look = run.sel(norm=norm).data.isel(seed=0), LOOKS[norm]
        fields = ("nodes", "weights", "largest", "largest_residuals", "gradient_fraction")
        nodes, weights, largest, error, share = (arm[f"spectrum_{f}"].values for f in fields)
        density_panel(panel, nodes, weights, largest, look)
        title = "Density" + f", {look.label}" * (len(norms) > 1)
        panel.set(title=title, xlabel=f"eigenvalue λ of the {matrix}", ylabel="density")
        eigenvalues.ranges(ranks, largest, largest - error, largest + error, look=look)
        gradient.line(ranks, share, look=look, marker=True)
    if run.options["lr"] is not None and matrix == MATRICES[0]:
        eigenvalues.reference(2 / run.options["lr"], "2/lr, edge of stability")
    above = bool((run["spectrum_largest"] > 0).all())  # a Hessian of few positive ones has others
    title = "Greatest eigenvalues, ± residual"
    eigenvalues.set(title=title, ylabel=f"λ of the {matrix}", xlabel="rank", log=above)
    if len(ranks) <= 2 * MOST_LABELS:
        for panel in (eigenvalues, gradient):
            panel.set(xticks=(ranks, [str(rank) for rank in ranks]))
    label = "‖P∇L‖² / ‖∇L‖²"
    gradient.set(title="Gradient in their span", xlabel="rank", ylabel=label, ylim=(-0.03, 1.03))
    if len(norms) > 1:
        drawing.legend([gradient])
    return drawing


# Planes


def planes(
    name: str,
    arms: Mapping[str, tuple[Any, Any, Any]],
    show: Callable[..., None],
    label: str,
    **given: Any,
) -> Drawing:
    """A panel for each arm's plane, with levels that all share.

    Args:
      name: of the drawing.
      arms: columns `[x]`, rows `[y]` and losses `[y, x]` by the name of the arm.
      show: draws one arm: panel, name, columns, rows, losses, the arm's label and the levels.
      label: of the colours.
      given: title, text and layout of the drawing.
    """
    columns = min(len(arms), PER_ROW)
    rows = -(-len(arms) // columns)
    size = (1.2 + 3.7 * columns, 1.0 + 3.5 * rows)
    drawing = Drawing(name, (rows, columns), size=size, **given)
    levels = shared_levels([losses for *_, losses in arms.values()])
    for panel, (norm, plane) in zip(drawing.panels, arms.items(), strict=False):
        show(panel, norm, *plane, LOOKS[norm].label, levels)
        panel.set(title="" if norm == MODEL else LOOKS[norm].label)
    for panel in drawing.panels[len(arms) :]:
        panel.hide()
    if "subplot_kw" not in given:
        drawing.colour_bar(drawing.panels[: len(arms)], label, levels, shrink=0.85)
    return drawing


def contours(panel: Panel, *plane: Any) -> None:
    """Contours with shared levels, and the network that they are around."""
    panel.contours(*plane)
    panel.set(grid=False)
    trained: Any = {"marker": "+", "markersize": 9, "legend": False, "zorder": 2.1}
    panel.points(0, 0, "trained network", **trained)


def plane_at_point(run: Run, _: str) -> Drawing:
    x, y = run["column"].values, run["row"].values
    losses = run["plane_losses"].median("seed").transpose("norm", "row", "column")

    def show(panel: Panel, norm: str, *plane: Any) -> None:
        contours(panel, *plane)
        panel.axes.locator_params(nbins=4)
        square = np.ptp(x) == np.ptp(y)
        panel.set(
            xlabel="along the second direction",
            ylabel="along the first direction",
            aspect="equal" if square else "auto",
        )

    return planes(
        "plane",
        {norm: (x, y, losses.sel(norm=norm).values) for norm in run.norms},
        show,
        "loss",
        title="Loss surface: contours",
        text="The loss on a plane around the network (+).",
        source="Li et al. 2018",
    )


# Other probes

MOST_ENTRIES = 8  # of an axis whose every entry is a curve


def fields_along(run: Run, kind: str) -> Drawing:
    """A panel for each field: along training, or along its own axis; one more axis is curves."""
    along = "probe_step" if "probe_step" in run.data.dims else ""
    shown = {}
    for name, values in run.data.data_vars.items():
        inner = [axis for axis in values.dims if axis not in ("norm", "seed", along)]
        few = along and len(inner) == 1 and run.data.sizes[inner[0]] <= MOST_ENTRIES
        if len(inner) == (not along) or few:
            shown[str(name)] = str(inner[0]) if inner and along else ""
    if not shown:
        raise UsageError(
            f"no field of this {kind} has one axis to draw it along: collect it along training, or "
            "select with bnjax.to_xarray(…)"
        )
    columns = min(len(shown), PER_ROW)
    rows = -(-len(shown) // columns)
    drawing = Drawing(kind, (rows, columns), size=(3.8 * columns, 0.6 + 2.9 * rows), title=kind)
    for panel, (name, axis) in zip(drawing.panels, shown.items(), strict=False):
        values = run[name]
        entries: list[Any] = values[axis].values.tolist() if axis else [None]
        for place, entry in enumerate(entries):
            here = values.isel({axis: place}, drop=True) if axis else values
            series = "{}" + f", {axis} {entry}" * bool(axis)
            curves(panel, run, here, series, alpha=1 - 0.8 * place / len(entries))
        unit = f"  [{values.attrs['units']}]" if values.attrs.get("units") else ""
        label = STEP if along else str(here.dims[-1]).replace("_", " ")
        panel.set(title=f"{values.attrs.get('long_name', name)}{unit}", xlabel=label)
        if axis or len(run.norms) > 1:
            panel.legend()
    for panel in drawing.panels[len(shown) :]:
        panel.hide()
    return drawing


def require_axis(run: Run, name: str, axis: str) -> None:
    """Refuse lines whose step sizes differ, or of which one was taken out: they have no axis."""
    if axis not in run.data.dims:
        raise UsageError(
            f"the Dataset has no axis {axis}: give one with all {axis}s, not one of it"
        )
    if axis not in run.data.coords:
        raise UsageError(f"{axis}s differ along {', '.join(map(str, run[name].dims))}: plot one")


# The fields that the figure of a probe draws.
NEEDED: dict[str, set[str]] = {
    "line": {
        *("losses", "gradient_distances", "cosines", "smoothness", "smoothness_limit", "loss"),
        *("gradient_norm", "direction_norm", "rounding_noise"),
    },
    "shift": {field for field, _ in SHIFT},
    "spectrum": {
        *("largest", "largest_residuals", "gradient_fraction", "nodes", "weights", "loss"),
        *("trace", "trace_error"),
    },
    "plane": {"losses"},
    "recording": {*Recording._fields},
}
DRAWN: dict[tuple[str, bool], Callable[[Run, str], Drawing]] = {
    ("line", True): lines_along_training,
    ("line", False): line_at_point,
    ("shift", True): shift_along_training,
    ("shift", False): shift_at_point,
    ("spectrum", True): spectrum_along_training,
    ("spectrum", False): spectrum_at_point,
    ("plane", False): plane_at_point,
    ("recording", True): recording,
}
