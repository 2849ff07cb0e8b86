"""The figures and tables of a theory run: residuals, assumptions, and BatchNorm beside none."""

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from bnjax.draw import drawing, style
from bnjax.draw.elements import draw_training, mark_ends, over_seeds, setting, spread, subject
from bnjax.draw.style import LOOKS
from bnjax.frame.disk import replacing
from bnjax.frame.published_curves import Published
from bnjax.frame.results import Results
from bnjax.judge import terms
from bnjax.studies.theory import claims

DASHES = ("-", "--", "-.", ":", (0, (3, 1, 1, 1)))
UNIT_TABLE, LAYER_TABLE = "theory_units.csv", "theory_layers.csv"
FIELDS = (("gradient_squared", "‖v‖²"), ("curvature", "vᵀĤv"))
RESIDUALS = (
    ("lipschitz_residual", "4.1, 1/m", "#0072B2", "s"),
    ("channel_curvature_residual", "4.2", "#D55E00", "o"),
    ("channel_worst_residual", "4.4", "#009E73", "^"),
)


def draw(results: Results, published: Published, folder: Path) -> Sequence[Path]:
    """Write `theory_layers.csv` and `theory_units.csv`, draw `theory` and `theory_comparison`.

    Args:
      results: as `bnjax.frame.results.read` returns them.
      published: unused, the paper has no figure of its theorems.
      folder: where the files go.

    Returns:
      The paths of the files.
    """
    del published
    paths = [
        write_table(folder / LAYER_TABLE, rows(results, ())),
        write_table(folder / UNIT_TABLE, rows(results, ("unit",))),
    ]
    norms = [str(norm) for norm in results.axes["norm"]]
    if "batch" in norms:
        paths += draw_theorems(results, folder)
    return [*paths, *draw_comparison(results, norms, folder)]


def rows(results: Results, inner: tuple[str, ...]) -> Iterator[Mapping[str, Any]]:
    """A row for each arm, seed, step and layer that was measured, and unit if `inner` has it."""
    axes = ("norm", "seed", "probe_step", "probed_layer", *inner)
    fields = [
        name for name, dims in results.dims.items() if name.startswith("theory.") and dims == axes
    ]
    for index in np.ndindex(*(len(results.axes[axis]) for axis in axes)):
        values = {name.removeprefix("theory."): results.arrays[name][index] for name in fields}
        if not all(np.isnan(value) for value in values.values()):
            where = zip(axes, index, strict=True)
            yield {
                **{axis: results.axes[axis][position].item() for axis, position in where},
                **{k: "" if np.isnan(v) else repr(float(v)) for k, v in values.items()},
            }


def write_table(path: Path, table: Iterator[Mapping[str, Any]]) -> Path:
    """Write rows with equal keys as CSV, whole or not at all; empty cells were not measured."""
    content = list(table)
    with replacing(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, content[0].keys() if content else [], lineterminator="\n")
        writer.writeheader()
        writer.writerows(content)
    return path


def draw_theorems(results: Results, folder: Path) -> Sequence[Path]:
    """Draw `theory`: residuals, assumptions, and what the projections take away."""
    with style.figure(1, 3, size=(11.0, 4.0)) as (drawn, panels):
        residuals, assumptions, removed = panels
        draw_residuals(residuals, results)
        draw_assumptions(assumptions, results)
        draw_removed(removed, results)
        for panel in panels:
            panel.set_xlabel("training step")
            style.step_limits(panel, len(results.axes["step"]))
            panel.grid(visible=True)
            mark_ends(panel, results, "batch")
            style.legend(panel)
        style.caption(drawn, caption(results, units=True))
        return style.save(drawn, folder, "theory")


def draw_residuals(panel: Axes, results: Results) -> None:
    """The largest relative residual of each equality over layers and units, worst seed."""
    steps = results.axes["probe_step"]
    for field, label, colour, marker in RESIDUALS:
        sizes = np.abs(results.select(f"theory.{field}", norm="batch"))
        largest = sizes.max(axis=(0, *range(2, sizes.ndim)))
        panel.plot(steps, largest, color=colour, marker=marker, markersize=3.5, label=label)
    printed = results.select("theory.printed_residual", norm="batch").max(axis=(0, 2))
    panel.plot(steps, printed, color="0.35", linestyle="--", label="4.1 as printed, 1/√m")
    style.reference_line(panel, claims.tolerance_of(results), "tolerance")
    panel.set(title="a  Residuals", ylabel="largest |left − right| / size of terms")
    style.log_scale(panel)


def draw_assumptions(panel: Axes, results: Results) -> None:
    """The share of units at which each assumption of Theorem 4.2 holds, layer by layer."""
    steps = results.axes["probe_step"]
    aligned = results.select("theory.aligned_share", norm="batch")
    quadratic = results.select("theory.channel_quadratic", norm="batch")
    convex = np.where(np.isnan(quadratic), np.nan, quadratic >= 0).mean(axis=-1)
    for i, layer in enumerate(results.axes["probed_layer"]):
        shown: Any = {"linestyle": DASHES[i % len(DASHES)], "linewidth": 1.2}
        panel.plot(
            steps,
            over_seeds(aligned[..., i]),
            color="#0072B2",
            **shown,
            label=f"⟨ŷ, g⟩ > 0, {layer}",
        )
        panel.plot(
            steps, over_seeds(convex[..., i]), color="#D55E00", **shown, label=f"vᵀHv ≥ 0, {layer}"
        )
    panel.set(title="b  Assumptions of 4.2", ylabel="share of units", ylim=(-0.03, 1.03))


def draw_removed(panel: Axes, results: Results) -> None:
    """The share of γ²/σ² ‖g‖² that the two projections of Theorem 4.1 take away."""
    steps = results.axes["probe_step"]
    whole = results.select("theory.scaled_gradient_squared", norm="batch")
    left = results.select("theory.gradient_squared", norm="batch")
    for i, layer in enumerate(results.axes["probed_layer"]):
        panel.plot(
            steps,
            over_seeds(1 - left[..., i] / whole[..., i]),
            color="#0072B2",
            linestyle=DASHES[i % len(DASHES)],
            linewidth=1.2,
            label=str(layer),
        )
    panel.set(title="c  Taken away by the projections", ylabel="1 − ‖v‖² / (γ²/σ² ‖g‖²)")
    style.log_scale(panel)


def draw_comparison(results: Results, norms: Sequence[str], folder: Path) -> Sequence[Path]:
    """Draw `theory_comparison`: both terms of each layer, training, equal loss."""
    layers = results.axes["probed_layer"].tolist()
    columns = len(layers) + 1
    with style.figure(2, columns, size=(1.0 + 2.9 * columns, 7.6)) as (drawn, panels):
        for row, (field, symbol) in enumerate(FIELDS):
            for i, layer in enumerate(layers):
                panel = panels[row * columns + i]
                draw_term(panel, results, norms, f"theory.{field}", i)
                panel.set(title=f"{layer}: {symbol}", xlabel="training step")
                style.log_scale(panel)
        training, equal = panels[columns - 1], panels[-1]
        draw_training(training, results)
        style.legend(training)
        training.set(title="Training", xlabel="training step")
        style.log_scale(training)
        draw_equal_loss(equal, results, norms, layers)
        for panel in panels:
            panel.grid(visible=True)
        style.legend(panels[0])
        style.caption(drawn, caption(results, units=False))
        return style.save(drawn, folder, "theory_comparison")


def draw_term(panel: Axes, results: Results, norms: Sequence[str], field: str, layer: int) -> None:
    """One term of one layer against the step, for each arm; what is below 0 leaves a gap."""
    for norm in norms:
        look = LOOKS[norm]
        panel.plot(
            results.axes["probe_step"],
            over_seeds(results.select(field, norm=norm)[..., layer]),
            color=look.colour,
            linestyle=look.line,
            marker=look.marker,
            markersize=3,
            linewidth=1.2,
            label=look.label,
        )
        mark_ends(panel, results, norm)


def draw_equal_loss(
    panel: Axes, results: Results, norms: Sequence[str], layers: Sequence[str]
) -> None:
    """The ratio none/batch of both terms at pairs of steps with equal loss, all seeds."""
    compared = {"none", "batch"} <= set(norms)
    found = 0
    for term, colour, marker in zip(terms.TERMS, ("#000000", "#CC79A7"), "s^", strict=True):
        for i, layer in enumerate(layers if compared else []):
            points = [
                terms.at_pairs(results, term, layer, seed) for seed in results.axes["seed"].tolist()
            ]
            loss, ratio = (np.concatenate(column) for column in zip(*points, strict=True))
            found += np.isfinite(ratio).sum()
            order = np.argsort(loss)
            panel.plot(
                loss[order],
                ratio[order],
                color=colour,
                marker=marker,
                markersize=3,
                linestyle=DASHES[i % len(DASHES)],
                linewidth=0.8,
                label=f"{term.identifier}, {layer}",
            )
    panel.set(title="none / BatchNorm at equal loss", xlabel="loss (training goes right)")
    if not found:
        where: Any = {"transform": panel.transAxes, "ha": "center", "va": "center", "fontsize": 8}
        panel.text(0.5, 0.5, "no pair of probed steps\nhas equal loss in both arms", **where)
        panel.set(xticks=[], yticks=[])
        return
    panel.set(xscale="log", yscale="log")
    drawing.plain_log_ticks(panel.xaxis)
    panel.invert_xaxis()
    style.reference_line(panel, 1.0, "equal")
    style.legend(panel)


def caption(results: Results, *, units: bool) -> str:
    """What was run, on what."""
    config = results.config
    precision = "float64" if config["float64"] else "float32"
    lines = [
        subject(results),
        f"{setting(config)}, batch statistics, "
        f"ε = {config['epsilon']:g}, probe in {precision}, {spread(results)}",
    ]
    if units:
        lines.append(
            "a: worst seed, layer and unit. ⟨ŷ, g⟩ and 4.1: all units of a layer; "
            f"vᵀHv, 4.2 and 4.4: units {' '.join(map(str, results.axes['unit']))}"
        )
    else:
        lines.append(
            "v = ∂L/∂y by all of a layer's activations y (before BatchNorm, where there is one); "
            "gaps: curvature below 0"
        )
    return "\n".join(lines)
