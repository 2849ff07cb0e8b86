"""The figures of a spectrum run: eigenvalues, trace and gradient along training, and densities."""

from typing import Any, NamedTuple

import numpy as np

from bnjax import draw
from bnjax.draw import LOOKS, STEP, Drawing, Look, Panel
from bnjax.frame.published_curves import Published
from bnjax.frame.results import Run
from bnjax.probes.spectrum import density

KERNEL = 0.01  # standard deviation of the broadening, share of the range of a panel
GRID = 1000  # points of a density
LOWEST = 1e-7  # of the density that is shown, share of its largest value
SHOWN_STEPS = 3
# Statistics differ by marker; the arm's own line and hue stay.
MARKERS = {"batch": "s", "running": "o", "recalibrated": "^"}
SOURCE = "Ghorbani, Krishnan & Xiao 2019"


class Case(NamedTuple):
    """An arm under one kind of statistics."""

    norm: str
    data: Run
    look: Look
    fill: str  # only batch statistics are drawn full


def cases(run: Run) -> list[Case]:
    """Arms, each under every kind of statistics that makes a difference to it."""
    found = []
    for norm in run.norms:
        here = run.sel(norm=norm)
        largest = here["spectrum_largest"].transpose("statistics", ...).values
        depends = not np.array_equal(largest[0], largest[-1], equal_nan=True)
        kinds = run.values("statistics")
        for kind in kinds if depends else kinds[:1]:
            look = LOOKS[norm]._replace(marker=MARKERS[kind] if depends else "D")
            if depends:
                look = look._replace(label=f"{look.label}, {kind} statistics")
            fill = "full" if kind == "batch" else "none"
            found.append(Case(norm, here.sel(statistics=kind), look, fill))
    return found


def spectrum(run: Run, _: Published) -> Drawing:
    """Everything but the densities against the training step."""
    drawing = Drawing(
        "spectrum",
        (2, 2),
        size=(9.0, 7.0),
        title="The Hessian's spectrum along training",
        text="Greatest eigenvalues λ (Lanczos), the share of the gradient in their eigenvectors "
        "‖P∇L‖²/‖∇L‖², the trace (Hutchinson), and the training loss; for each kind of "
        "statistics that BatchNorm normalises with.",
        source=SOURCE,
        caption="\n".join(caption(run)),
    )
    eigenvalues, gradient, trace, training = drawing.panels
    steps, top = run["probe_step"], run.values("rank")[-1]
    last = f"λ{subscript(top)}"
    for norm, here, look, fill in cases(run):
        largest, share, middle, error = (
            here[f"spectrum_{field}"].median("seed")
            for field in ("largest", "gradient_fraction", "trace", "trace_error")
        )
        bold: Any = {"fillstyle": fill, "markersize": 4.5, "linewidth": 1.3}
        thin: Any = {"fillstyle": fill, "markersize": 2.5, "linewidth": 0.6, "legend": False}
        name = f"{look.label}, {last}"
        eigenvalues.line(steps, largest.isel(rank=0), look=look, marker=True, **bold)
        eigenvalues.line(steps, largest.isel(rank=-1), name, look, marker=True, **thin)
        gradient.line(steps, share.isel(rank=-1), look=look, marker=True, **bold)
        trace.ranges(steps, middle, middle - error, middle + error, look=look, fillstyle=fill)
        for panel in (eigenvalues, gradient, trace):
            draw.mark_ends(panel, run, norm)
    if run.options["optimizer"] == "sgd":
        eigenvalues.reference(2 / run.options["lr"], "2/lr, edge of stability", outside=True)
    draw.training(training, run)
    title = f"a  Eigenvalues λ₁ and {last}"
    eigenvalues.set(title=title, ylabel="λ of the Hessian", xlabel=STEP, log=True)
    title = f"b  Gradient in the top {top} eigenvectors"
    gradient.set(title=title, ylabel="‖P∇L‖² / ‖∇L‖²", ylim=(-0.03, 1.03), xlabel=STEP)
    trace.set(title="c  Trace, with standard error", ylabel="tr H", xlabel=STEP)
    training.set(title="d  Training loss", xlabel=STEP)
    trace.key("a: λ₁", color="0.35", linewidth=1.3)
    trace.key(f"a: {last}", color="0.35", linewidth=0.6)
    drawing.legend([trace], ncols=3)
    return drawing


def spectrum_density(run: Run, _: Published) -> Drawing:
    """A column for each case, a row for each of a few steps from the first to the last."""
    found, steps = cases(run), run["probe_step"].values
    rows = np.unique(np.linspace(0, len(steps) - 1, SHOWN_STEPS).round().astype(int))
    note = (
        f"Gaussian kernel, standard deviation {KERNEL:.0%} of each panel's range of λ; ticks "
        f"below: the {run.values('rank')[-1]} largest eigenvalues; seed {run.seeds[0]}"
    )
    drawing = Drawing(
        "spectrum_density",
        (len(rows), len(found)),
        size=(0.8 + 3.0 * len(found), 1.2 + 2.1 * len(rows)),
        title="Density of the Hessian's eigenvalues",
        text="Stochastic Lanczos quadrature, broadened by a Gaussian kernel; ticks: greatest "
        "eigenvalues.",
        source=SOURCE,
        caption="\n".join([*caption(run), note]),
    )
    for panels, step in zip(drawing.rows, steps[rows].tolist(), strict=True):
        for panel, case in zip(panels, found, strict=True):
            draw_density(panel, case, step)
            head = f"{case.look.label}\n" if step == steps[0] else ""
            panel.set(title=f"{head}step {step}")
    for panel in drawing.rows[-1]:
        panel.set(xlabel="eigenvalue λ of the Hessian")
    for panels in drawing.rows:
        panels[0].set(ylabel="density")
    return drawing


def draw_density(panel: Panel, case: Case, step: int) -> None:
    """The density of the first seed at one probed step, and marks of its largest eigenvalues."""
    nodes, weights, largest = (
        case.data[f"spectrum_{field}"].isel(seed=0).sel(probe_step=step).values
        for field in ("nodes", "weights", "largest")
    )
    if not np.isfinite(nodes).any():
        return panel.note("not measured")
    low, high = float(np.nanmin(nodes)), float(np.nanmax(nodes))
    span = max(high - low, float(np.finfo(np.float32).tiny))
    grid = np.linspace(low - 0.06 * span, high + 0.06 * span, GRID, dtype=nodes.dtype)
    values = np.asarray(density(nodes, weights, grid, KERNEL * span))
    panel.line(grid, values, "density", LOOKS[case.norm]._replace(line="-"), legend=False)
    panel.set(yscale="log", ylim=(LOWEST * values.max(), 3 * values.max()))
    ticks: Any = {"marker": "|", "markersize": 8, "color": "0.15", "height": 0.035}
    panel.marks(largest[np.isfinite(largest)], "largest eigenvalues", **ticks)


def subscript(number: int) -> str:
    """A number as a subscript."""
    return "".join("₀₁₂₃₄₅₆₇₈₉"[int(digit)] for digit in str(number))


def caption(run: Run) -> list[str]:
    """What was run, on what."""
    options = run.options
    chunks = options["images"] // options["chunk"]
    return [
        f"{draw.subject(run)}, {draw.setting(run)}; {draw.spread(run)}",
        f"Hessian of the loss on the first {options['images']} training images in {chunks} "
        f"piece{'s' * (chunks > 1)} of {options['chunk']} (batch statistics are those of a "
        f"piece); {options['lanczos_steps']} Lanczos steps from {options['vectors']} vector"
        f"{'s' * (options['vectors'] > 1)}, trace from {options['trace_vectors']}",
        *draw.untrained(run),
    ]


FIGURES = (spectrum, spectrum_density)
