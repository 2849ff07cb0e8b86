"""Loss, gradient and smoothness along a line against the training step, a panel each."""

from typing import Any

from matplotlib.axes import Axes

from bnjax.draw import numbers, style
from bnjax.draw.elements import mark_ends, over_seeds
from bnjax.draw.style import LOOKS
from bnjax.frame.results import Run as Results

FEW = 3  # arms above which bands in one panel are faint

# What else a panel of smoothness shows in the colour of each arm.
KEYS: dict[str, dict[str, Any]] = {
    "largest over η": {"linewidth": 1.4},
    "η → 0": {"linestyle": ":", "linewidth": 0.9},
    "rounding": {"linestyle": (0, (1, 4)), "linewidth": 0.8},
}


def draw_band(panel: Axes, results: Results, norms: list[str], direction: str, name: str) -> None:
    """For each of some arms the range over step sizes of one field."""
    steps, few = results.axes["probe_step"], len(norms) < FEW
    for norm in norms:
        look = LOOKS[norm]
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
        mark_ends(panel, results, norm)


def draw_smoothness(panel: Axes, results: Results, norms: list[str], direction: str) -> None:
    """For each of some arms the largest β over step sizes, its η → 0 limit, and its rounding."""
    steps, smallest = results.axes["probe_step"], float(results.axes["step_size"].min())
    for norm in norms:
        look = LOOKS[norm]
        beta = results.select("line.smoothness", norm=norm, direction=direction)
        panel.plot(
            steps,
            over_seeds(beta.max(axis=-1)),
            color=look.colour,
            linestyle=look.line,
            label=look.label,
            **KEYS["largest over η"],
        )
        limit = over_seeds(results.select("line.smoothness_limit", norm=norm, direction=direction))
        label = numbers.hidden(f"{look.label}, η → 0")
        panel.plot(steps, limit, color=look.colour, label=label, **KEYS["η → 0"])
        if "rounding.gradient_error" in results.arrays:
            error = results.select("rounding.gradient_error", norm=norm)
            length = smallest * results.select(
                "line.direction_norm", norm=norm, direction=direction
            )
            label = numbers.hidden(f"{look.label}, rounding")
            noise = over_seeds(error / length)
            panel.plot(steps, noise, color=look.colour, label=label, **KEYS["rounding"])
        mark_ends(panel, results, norm)


def mark_plateaus(panel: Axes, results: Results, *, beside: bool, named: bool) -> None:
    """The values that a plateau of β may be; named, if at all, in the panel or right of it."""
    edge = 2 / results.config["lr"] if results.config["optimizer"] == "sgd" else None
    smallest = float(results.axes["step_size"].min())
    for value, name in reference_lines(edge, 1 / smallest):
        style.reference_line(panel, value, name, beside=beside, named=named)


def reference_lines(edge: float | None, saturation: float) -> list[tuple[float, str]]:
    """The two values that a plateau of β may be, as one line where they coincide."""
    if edge is None:
        return [(saturation, "1/η_min, saturation")]
    if abs(edge / saturation - 1) < 0.01:
        return [(edge, "2/lr, edge of stability,\n= 1/η_min, saturation")]
    return [(edge, "2/lr, edge of stability"), (saturation, "1/η_min, saturation")]
