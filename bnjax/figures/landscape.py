"""The figure of a landscape run: loss, gradient and smoothness along the gradient, and training."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.lines import Line2D

from bnjax.claims import landscape as claims
from bnjax.claims.published_landscape import family
from bnjax.figures import numbers, style
from bnjax.figures.differences import draw_differences
from bnjax.figures.elements import (
    draw_training,
    mark_ends,
    network,
    over_seeds,
    setting,
    spread,
    unit,
)
from bnjax.figures.style import LOOKS
from bnjax.runs.published_curves import Published
from bnjax.runs.results import Results

# The panels of the published curves that belong to panels a, b and c.
PUBLISHED = {
    "vgg": ("fig12b_vgg_loss", "fig12c_vgg_gradpred", "fig12d_vgg_beta"),
    "dln": ("fig10a_dln_loss", "fig10b_dln_gradpred", "fig10c_dln_beta"),
}

# What else is drawn in the colour of each arm.
KEYS: dict[str, Any] = {
    "c: largest over η": {"linewidth": 1.4},
    "c: η → 0": {"linestyle": ":", "linewidth": 0.9},
    "c: rounding": {"linestyle": (0, (1, 4)), "linewidth": 0.8},
    "d: test set": {"marker": "o", "linestyle": "none", "markersize": 4, "fillstyle": "none"},
}


def draw(results: Results, published: Published, folder: Path) -> Sequence[Path]:
    """Draw `landscape.png` and `.pdf` from a run's results, one figure a direction and rate.

    Args:
      results: as `bnjax.runs.results.read` returns them.
      published: curves to draw beside the measured ones; may be empty.
      folder: where the figures go.

    Returns:
      The paths of the files.
    """
    paths: list[Path] = []
    for rate, here in claims.each_rate(results):
        end = f"_{rate}" if rate else ""
        paths += draw_landscape(here, published, folder, end)
        paths += draw_differences(here, folder, f"gradient_difference{end}")
    return paths


def draw_landscape(results: Results, published: Published, folder: Path, end: str) -> list[Path]:
    """The figures at one learning rate, one a direction; `end` is that of their names."""
    paths: list[Path] = []
    for direction in results.axes["direction"]:
        name = f"landscape{end}" if direction == "gradient" else f"landscape_{direction}{end}"
        with style.figure(2, 2, size=(9.0, 6.8)) as (drawn, panels):
            loss, predictiveness, smoothness, training = panels
            along = PUBLISHED.get(family(results.config), ()) if direction == "gradient" else ()
            draw_band(loss, results, direction, "losses")
            loss.set(title="a  Loss variation", ylabel=f"loss L(θ − ηd)  {unit(results)}")
            draw_band(predictiveness, results, direction, "gradient_distances")
            predictiveness.set(title="b  Gradient predictiveness", ylabel="‖∇L(θ − ηd) − ∇L(θ)‖₂")
            draw_smoothness(smoothness, results, direction)
            draw_training(training, results)
            for panel, panel_name in zip(panels, along, strict=False):
                style.overlay(panel, results.axes["norm"], published, panel_name)
            for panel in panels:
                panel.set_xlabel("training step")
                style.step_limits(panel, len(results.axes["step"]))
                style.log_scale(panel)
                panel.grid(alpha=0.25, linewidth=0.5)
            bands, names = loss.get_legend_handles_labels()
            lines = smoothness.get_legend_handles_labels()[0]
            keys = dict(KEYS)
            if "rounding.gradient_error" not in results.arrays:
                del keys["c: rounding"]
            meanings = [Line2D([], [], color="0.35", **look) for look in keys.values()]
            handles: list[Any] = [*zip(bands, lines, strict=True), *meanings]
            drawn.legend(
                handles,
                [*names, *keys],
                loc="outside lower center",
                ncols=5,
            )
            note = f"\n{style.PUBLISHED_NOTE}" if published and along else ""
            style.caption(drawn, caption(results, direction) + note)
            paths += style.save(drawn, folder, name)
    return paths


def caption(results: Results, direction: str) -> str:
    """What was run, on what."""
    config, facts = results.config, results.facts
    low, high = results.axes["step_size"][[0, -1]]
    points = len(results.axes["step_size"])
    parts = [
        f"{network(config)}, {facts['dataset']}",
        f"{setting(config)}, {config['statistics']} "
        f"statistics, η from {low:.3g} to {high:.3g} along the {direction} ({points} points), "
        f"{spread(results)}",
    ]
    if config["parameters"] != "all":
        parts[1] += f", {config['parameters']} layer only"
    fates: dict[str, list[str]] = {}
    for norm in map(str, results.axes["norm"]):
        reason = claims.plateau(results, norm).reason.removeprefix(f"{norm} ")
        fates.setdefault(reason, []).append(LOOKS[norm].label)
    parts += [f"{', '.join(labels)}: {reason}" for reason, labels in fates.items()]
    return "\n".join(parts)


def draw_band(panel: Axes, results: Results, direction: str, name: str) -> None:
    """For each arm the range over step sizes of one field, against the step."""
    steps, few = results.axes["probe_step"], len(results.axes["norm"]) < 3
    for norm in results.axes["norm"]:
        look = LOOKS[str(norm)]
        values = results.select(f"line.{name}", norm=norm, direction=direction)
        low, high = over_seeds(values.min(axis=-1)), over_seeds(values.max(axis=-1))
        panel.fill_between(
            steps,
            low,
            high,
            color=look.colour,
            alpha=0.3 if few else 0.12,
            hatch=look.hatch if few else "",
            linewidth=0,
            label=look.label,
        )
        for side, edge in (("lower", low), ("upper", high)):
            panel.plot(
                steps,
                edge,
                color=look.colour,
                linestyle=look.line,
                linewidth=0.8,
                label=numbers.hidden(f"{look.label}, {side} edge"),
            )
        mark_ends(panel, results, str(norm))


def draw_smoothness(panel: Axes, results: Results, direction: str) -> None:
    """The largest β over step sizes, its η → 0 limit, and the two lines a plateau may be."""
    steps, smallest = results.axes["probe_step"], float(results.axes["step_size"].min())
    for norm in results.axes["norm"]:
        look = LOOKS[str(norm)]
        beta = results.select("line.smoothness", norm=norm, direction=direction)
        panel.plot(
            steps,
            over_seeds(beta.max(axis=-1)),
            color=look.colour,
            linestyle=look.line,
            linewidth=1.4,
            label=look.label,
        )
        limit = over_seeds(results.select("line.smoothness_limit", norm=norm, direction=direction))
        label = numbers.hidden(f"{look.label}, η → 0")
        panel.plot(steps, limit, color=look.colour, label=label, **KEYS["c: η → 0"])
        if "rounding.gradient_error" in results.arrays:
            error = results.select("rounding.gradient_error", norm=norm)
            length = smallest * results.select(
                "line.direction_norm", norm=norm, direction=direction
            )
            label = numbers.hidden(f"{look.label}, rounding")
            noise = over_seeds(error / length)
            panel.plot(steps, noise, color=look.colour, label=label, **KEYS["c: rounding"])
        mark_ends(panel, results, str(norm))
    edge = 2 / results.config["lr"] if results.config["optimizer"] == "sgd" else None
    for value, name in reference_lines(edge, 1 / smallest):
        style.reference_line(panel, value, name)
    panel.set(title="c  Effective β-smoothness", ylabel="β = ‖Δ∇L‖₂ / ‖ηd‖₂")


def reference_lines(edge: float | None, saturation: float) -> list[tuple[float, str]]:
    """The two values that a plateau of β may be, as one line where they coincide."""
    if edge is None:
        return [(saturation, "1/η_min, saturation")]
    if abs(edge / saturation - 1) < 0.01:
        return [(edge, "2/lr, edge of stability,\n= 1/η_min, saturation")]
    return [(edge, "2/lr, edge of stability"), (saturation, "1/η_min, saturation")]
