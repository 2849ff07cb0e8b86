"""The figure of the gradient difference against the step size (Santurkar et al. 2018, Fig. 11)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bnjax.figures import numbers, style
from bnjax.figures.elements import over_seeds, spread, subject
from bnjax.figures.style import LOOKS
from bnjax.runs.results import Results

MOST_LABELS = 6  # of step sizes, for which there is room


def draw_differences(results: Results, folder: Path, name: str) -> Sequence[Path]:
    """Draw ‖g(η) − g‖ against η at some steps (Fig. 11), into files of this name."""
    norms, probed = results.axes["norm"], results.axes["probe_step"]
    evenly = probed[np.unique(np.linspace(0, len(probed) - 1, 5).round().astype(int))]
    steps = results.config["difference_steps"] or evenly.tolist()
    columns = len(norms)
    with style.figure(1, columns, size=(1.2 + 3.2 * columns, 3.6)) as (drawn, panels):
        for panel, norm in zip(panels, norms, strict=True):
            shades = style.shades(len(steps))
            for step, shade in zip(steps, shades, strict=True):
                distances = results.select(
                    "line.gradient_distances", norm=norm, direction="gradient", probe_step=step
                )
                panel.plot(
                    results.axes["step_size"],
                    over_seeds(distances),
                    color=shade,
                    marker="o",
                    markersize=3.5,
                    linewidth=1.1,
                    label=f"step {step}",
                )
            panel.set_xscale("log")
            if len(results.axes["step_size"]) <= MOST_LABELS:
                sizes = results.axes["step_size"].tolist()
                panel.set_xticks(sizes, [f"{size:.2g}" for size in sizes])
                panel.set_xticks([], minor=True)
            smallest, largest = results.axes["step_size"][[0, -1]].astype(float)
            panel.set_xlim(smallest / 1.2, largest * 1.2)
            style.log_scale(panel)  # before the line below, whose ends are no measurement
            panel.axvline(
                results.config["lr"],
                color="0.35",
                linestyle=(0, (6, 2)),
                linewidth=0.9,
                label=numbers.hidden("learning rate"),
            )
            panel.set(title=LOOKS[str(norm)].label, xlabel="step size η")
            panel.grid(visible=True)
        panels[0].set_ylabel("‖∇L(θ − ηd) − ∇L(θ)‖₂")
        handles, names = panels[0].get_legend_handles_labels()
        drawn.legend(handles, names, loc="outside lower center", ncols=len(names))
        caption = (
            f"{subject(results)}; along the gradient, {spread(results)}; dashed: the learning rate"
        )
        style.caption(drawn, caption)
        return style.save(drawn, folder, name)
