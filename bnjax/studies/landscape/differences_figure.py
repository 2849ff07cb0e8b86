"""The figure of the gradient difference against the step size (Santurkar et al. 2018, Fig. 11)."""

import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import numpy as np
from matplotlib.axes import Axes

from bnjax.draw import numbers, style
from bnjax.draw.elements import over_seeds, spread, subject
from bnjax.draw.style import LOOKS
from bnjax.frame.published_curves import Curve, Published
from bnjax.frame.results import Results

MOST_LABELS = 6  # of step sizes, for which there is room
NUMBER = r"\d+(?:\.\d+)?(?:e[-+]?\d+)?"
AtStepSizes: TypeAlias = Mapping[str, Mapping[float, Curve]]  # by normaliser and step size, rising


def at_step_sizes(published: Published, name: str) -> AtStepSizes:
    """The published curves over training of panels `<name>_eta<step size>`, of no others.

    Example:
      >>> curve = Curve(np.arange(2), np.ones(2), np.ones(2))
      >>> given = {("fig11_eta2e-1", "batch"): curve, ("fig11_etas", "batch"): curve}
      >>> {norm: list(curves) for norm, curves in at_step_sizes(given, "fig11").items()}
      {'batch': [0.2]}
    """
    found: dict[str, dict[float, Curve]] = {}
    for (panel, series), curve in published.items():
        size = re.fullmatch(rf"{name}_eta({NUMBER})", panel)
        if size and 0 < float(size[1]) < math.inf:
            found.setdefault(series, {})[float(size[1])] = curve
    return {series: dict(sorted(curves.items())) for series, curves in found.items()}


def draw_differences(
    results: Results, published: AtStepSizes, folder: Path, name: str
) -> Sequence[Path]:
    """Draw ‖g(η) − g‖ against η at some steps (Fig. 11), into files of this name."""
    norms, probed = results.axes["norm"], results.axes["probe_step"]
    evenly = probed[np.unique(np.linspace(0, len(probed) - 1, 5).round().astype(int))]
    steps = results.config["difference_steps"] or evenly.tolist()
    columns = len(norms)
    # One scale: what is compared is how large the difference is, not the shape alone.
    size = (1.2 + 3.2 * columns, 3.6)
    compared = False
    with style.figure(1, columns, size, sharey=True) as (drawn, panels):
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
                compared |= draw_published(panel, published.get(str(norm), {}), step, shade)
            panel.set_xscale("log")
            if len(results.axes["step_size"]) <= MOST_LABELS:
                sizes = results.axes["step_size"].tolist()
                panel.set_xticks(sizes, tick_labels(sizes))
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
        if compared:
            caption += f"; {style.PUBLISHED_NOTE}, of the nearest step that was read off"
        style.caption(drawn, caption)
        return style.save(drawn, folder, name)


def tick_labels(sizes: Sequence[float]) -> list[str]:
    """Rising step sizes as texts; empty where one would run into the last before it.

    Example:
      >>> tick_labels([0.05, 0.1, 0.2]), tick_labels([1e-8, 1e-6, 1e-5, 3e-5])
      (['0.05', '0.1', '0.2'], ['1e-08', '1e-06', '1e-05', ''])
      >>> tick_labels([1.0, 2.0, 4.0, 8.0, 16.0, 32.0])
      ['1', '2', '4', '8', '16', '32']
    """
    room = 0.19 * math.log(sizes[-1] / sizes[0])
    labels: list[str] = []
    last = 0.0
    for size in sizes:
        fits = not labels or math.log(size / last) >= room
        labels.append(f"{size:.2g}" if fits else "")
        last = size if fits else last
    return labels


def draw_published(
    panel: Axes, curves: Mapping[float, Curve], step: int, shade: tuple[float, ...]
) -> bool:
    """The published differences of the step nearest to this one; whether there is one near."""
    points = [(size, nearest(curve, step)) for size, curve in curves.items()]
    known = [(size, value) for size, value in points if np.isfinite(value)]
    if known:
        label = numbers.hidden(f"step {step}, {style.PUBLISHED}")
        panel.plot(*zip(*known, strict=True), color=shade, linewidth=0.6, label=label)
    return bool(known)


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
