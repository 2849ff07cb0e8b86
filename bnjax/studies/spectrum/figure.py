"""The figures of a spectrum run: eigenvalues, trace and gradient along training, and densities."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from bnjax.draw import numbers, style
from bnjax.draw.elements import dead, draw_loss, mark_ends, over_seeds, setting, spread, subject
from bnjax.draw.style import LOOKS
from bnjax.frame.published_curves import Published
from bnjax.frame.results import Results
from bnjax.probes.spectrum import density
from bnjax.studies.spectrum.claims import keeps_statistics

KERNEL = 0.01  # standard deviation of the broadening, share of the range of a panel
GRID = 1000  # points of a density
LOWEST = 1e-7  # of the density that is shown, share of its largest value
SHOWN_STEPS = 3
# Statistics differ by marker; the arm's own line and hue stay.
MARKERS = {"batch": "s", "running": "o", "recalibrated": "^"}

Case = tuple[str, str]  # arm and statistics


def draw(results: Results, published: Published, folder: Path) -> Sequence[Path]:
    """Draw `spectrum` and `spectrum_density` from a run's results.

    Args:
      results: as `bnjax.frame.results.read` returns them.
      published: not used, no curves of this paper are at hand.
      folder: where the figures go.

    Returns:
      The paths of the files.
    """
    del published
    return [*draw_course(results, folder), *draw_densities(results, folder)]


def cases(results: Results) -> list[Case]:
    """Arms, each under every kind of statistics that makes a difference to it."""
    kinds = [str(kind) for kind in results.axes["statistics"]]
    return [
        (norm, kind)
        for norm in map(str, results.axes["norm"])
        for kind in (kinds if keeps_statistics(results, norm) else kinds[:1])
    ]


def name(results: Results, case: Case) -> str:
    """The case as a legend names it."""
    norm, kind = case
    label = LOOKS[norm].label
    return f"{label}, {kind} statistics" if keeps_statistics(results, norm) else label


def draw_course(results: Results, folder: Path) -> list[Path]:
    """Draw `spectrum`: everything but the densities against the training step."""
    with style.figure(2, 2, size=(9.0, 7.0)) as (drawn, panels):
        eigenvalues, gradient, trace, training = panels
        top = int(results.axes["rank"][-1])
        for case in cases(results):
            plot(eigenvalues, results, case, column(results, case, "largest")[..., 0])
            last = over_seeds(column(results, case, "largest")[..., -1])
            norm = case[0]
            eigenvalues.plot(
                results.axes["probe_step"],
                last,
                color=LOOKS[norm].colour,
                linestyle=LOOKS[norm].line,
                marker=marker(results, case),
                fillstyle=fill(case),
                markersize=2.5,
                linewidth=0.6,
                label=numbers.hidden(f"{name(results, case)}, λ{subscript(top)}"),
            )
            plot(gradient, results, case, column(results, case, "gradient_fraction")[..., -1])
            error = over_seeds(column(results, case, "trace_error"))
            plot(trace, results, case, column(results, case, "trace"), error)
        if results.config["optimizer"] == "sgd":
            style.reference_line(
                eigenvalues, 2 / results.config["lr"], "2/lr, edge of stability", beside=True
            )
        style.log_scale(eigenvalues)
        draw_loss(training, results)
        eigenvalues.set(title=f"a  Eigenvalues λ₁ and λ{subscript(top)}", ylabel="λ of the Hessian")
        gradient.set(
            title=f"b  Gradient in the top {top} eigenvectors",
            ylabel="‖P∇L‖² / ‖∇L‖²",
            ylim=(-0.03, 1.03),
        )
        trace.set(title="c  Trace, with standard error", ylabel="tr H")
        training.set_title("d  Training loss")
        for panel in panels:
            panel.set_xlabel("training step")
            panel.grid(visible=True)
        handles, labels = trace.get_legend_handles_labels()
        meanings = [
            Line2D([], [], color="0.35", linewidth=1.3),
            Line2D([], [], color="0.35", linewidth=0.6),
        ]
        drawn.legend(
            [*handles, *meanings],
            [*labels, "a: λ₁", f"a: λ{subscript(top)}"],
            loc="outside lower center",
            ncols=3,
        )
        style.caption(drawn, caption(results))
        return style.save(drawn, folder, "spectrum")


def plot(
    panel: Axes, results: Results, case: Case, values: np.ndarray, error: np.ndarray | None = None
) -> None:
    """One case's course with the arm's line and the statistics' marker, perhaps with errors."""
    norm = case[0]
    look = LOOKS[norm]
    panel.errorbar(
        results.axes["probe_step"],
        over_seeds(values),
        yerr=error,
        color=look.colour,
        linestyle=look.line,
        marker=marker(results, case),
        fillstyle=fill(case),
        markersize=4.5,
        linewidth=1.3,
        capsize=2.5,
        label=name(results, case),
    )
    mark_ends(panel, results, norm)


def marker(results: Results, case: Case) -> str:
    """The marker of a case: of its statistics, where they make a difference."""
    return MARKERS[case[1]] if keeps_statistics(results, case[0]) else "D"


def fill(case: Case) -> str:
    """Only batch statistics are drawn full."""
    return "full" if case[1] == "batch" else "none"


def column(results: Results, case: Case, field: str) -> np.ndarray:
    """A field of one case, `[seed, probe_step, …]`."""
    return results.select(f"spectrum.{field}", norm=case[0], statistics=case[1])


def draw_densities(results: Results, folder: Path) -> list[Path]:
    """Draw `spectrum_density`: a column for each case, a row for each of a few steps."""
    found = cases(results)
    rows = shown_rows(results)
    size = (0.8 + 3.0 * len(found), 1.2 + 2.1 * len(rows))
    with style.figure(len(rows), len(found), size=size) as (drawn, panels):
        for i, row in enumerate(rows.tolist()):
            for j, case in enumerate(found):
                panel = panels[i * len(found) + j]
                draw_density(panel, results, case, row)
                step = results.axes["probe_step"][row]
                panel.set_title(f"{name(results, case)}\nstep {step}" if i == 0 else f"step {step}")
                panel.grid(visible=True)
        for panel in panels[-len(found) :]:
            panel.set_xlabel("eigenvalue λ of the Hessian")
        for panel in panels[:: len(found)]:
            panel.set_ylabel("density")
        note = (
            f"Gaussian kernel, standard deviation {KERNEL:.0%} of each panel's range of λ; ticks "
            f"below: the {results.axes['rank'][-1]} largest eigenvalues; seed "
            f"{results.axes['seed'][0]}"
        )
        style.caption(drawn, f"{caption(results)}\n{note}")
        return style.save(drawn, folder, "spectrum_density")


def shown_rows(results: Results) -> np.ndarray:
    """Rows of a few probed steps from the first to the last."""
    last = len(results.axes["probe_step"]) - 1
    return np.unique(np.linspace(0, last, SHOWN_STEPS).round().astype(int))


def draw_density(panel: Axes, results: Results, case: Case, row: int) -> None:
    """The density of the first seed at one probed step, and marks of its largest eigenvalues."""
    nodes, weights, largest = (
        column(results, case, field)[0, row] for field in ("nodes", "weights", "largest")
    )
    if not np.isfinite(nodes).any():
        panel.text(0.5, 0.5, "not measured", transform=panel.transAxes, ha="center")
        return
    low, high = float(np.nanmin(nodes)), float(np.nanmax(nodes))
    span = max(high - low, float(np.finfo(np.float32).tiny))
    grid = np.linspace(low - 0.06 * span, high + 0.06 * span, GRID, dtype=nodes.dtype)
    values = np.asarray(density(nodes, weights, grid, KERNEL * span))
    look = LOOKS[case[0]]
    panel.plot(grid, values, color=look.colour, linewidth=1.1, label=numbers.hidden("density"))
    panel.set_yscale("log")
    panel.set_ylim(LOWEST * values.max(), 3 * values.max())
    marks = largest[np.isfinite(largest)]
    panel.plot(
        marks,
        np.full_like(marks, 0.035),
        transform=panel.get_xaxis_transform(),
        marker="|",
        linestyle="none",
        markersize=8,
        color="0.15",
        label=numbers.hidden("largest eigenvalues"),
    )


def subscript(number: int) -> str:
    """A number as a subscript."""
    return "".join("₀₁₂₃₄₅₆₇₈₉"[int(digit)] for digit in str(number))


def caption(results: Results) -> str:
    """What was run, on what."""
    config = results.config
    pieces = config["images"] // config["chunk"]
    parts = [
        f"{subject(results)}, {setting(config)}; {spread(results)}",
        f"Hessian of the loss on the first {config['images']} training images in {pieces} "
        f"piece{'s' if pieces > 1 else ''} of {config['chunk']} (batch statistics are those of a "
        f"piece); {config['lanczos_steps']} Lanczos steps from {config['vectors']} vector"
        f"{'s' if config['vectors'] > 1 else ''}, trace from {config['trace_vectors']}",
        *dead(results),
    ]
    return "\n".join(parts)
