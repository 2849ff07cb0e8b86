"""The figures of a spectrum run: eigenvalues, trace and gradient along training, and densities."""

from typing import NamedTuple

import numpy as np

from bnjax import draw
from bnjax.draw import LOOKS, STEP, Drawing, Look, Panel, measured
from bnjax.frame.published_curves import Published
from bnjax.frame.results import Run

SHOWN_STEPS = 3
# Statistics differ by marker; the arm's own line and hue stay.
MARKERS = {"batch": "s", "running": "o", "recalibrated": "^"}


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
        source=measured.SPECTRUM_SOURCE,
        caption="\n".join(caption(run)),
    )
    *panels, training = drawing.panels
    for norm, here, look, fill in cases(run):
        measured.spectrum_panels(panels, here, look, fill)
        for panel in panels:
            draw.mark_ends(panel, run, norm)
    measured.finish_spectrum(panels, run)
    draw.training(training, run)
    training.set(title="d  Training loss", xlabel=STEP)
    drawing.legend(panels[2:], ncols=3)
    return drawing


def spectrum_density(run: Run, _: Published) -> Drawing:
    """A column for each case, a row for each of a few steps from the first to the last."""
    found, steps = cases(run), run["probe_step"].values
    rows = np.unique(np.linspace(0, len(steps) - 1, SHOWN_STEPS).round().astype(int))
    note = (
        f"Gaussian kernel, standard deviation {measured.BROADENING:.0%} of each panel's range of "
        f"λ; ticks below: the {run.values('rank')[-1]} largest eigenvalues; seed {run.seeds[0]}"
    )
    drawing = Drawing(
        "spectrum_density",
        (len(rows), len(found)),
        size=(0.8 + 3.0 * len(found), 1.2 + 2.1 * len(rows)),
        title="Density of the Hessian's eigenvalues",
        text=measured.DENSITY_TEXT,
        source=measured.SPECTRUM_SOURCE,
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
    measured.density_panel(panel, nodes, weights, largest, LOOKS[case.norm])


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
