"""The figures of a surface run: lines, contours with shared levels, the path, three dimensions."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bnjax.draw import drawing, numbers, style
from bnjax.draw.contours import (
    COLOURS,
    colour_bar,
    contours,
    grid,
    logarithms,
    plane,
    shared_levels,
)
from bnjax.draw.elements import dead, setting, subject, unit
from bnjax.draw.style import LOOKS
from bnjax.frame.published_curves import Published
from bnjax.frame.results import Results

TRAINED = numbers.hidden("trained network")
MEANINGS = {
    "running": "running averages of training",
    "batch": "those of each batch at each point",
    "recalibrated": "pooled over these images at the trained network",
}


def draw(results: Results, published: Published, folder: Path) -> Sequence[Path]:
    """Draw `surface_lines`, `surface_plane`, `surface_3d` and `surface_path`, as views allow.

    Args:
      results: as `bnjax.frame.results.read` returns them.
      published: not used: Li et al. 2018 published pictures, no curves.
      folder: where the figures go.

    Returns:
      The paths of the files.
    """
    del published
    paths: list[Path] = []
    if "lines.losses" in results.arrays:
        paths += draw_lines(results, folder)
    if "plane.losses" in results.arrays:
        paths += draw_plane(results, folder)
        paths += draw_surface(results, folder)
    if "trajectory.losses" in results.arrays:
        paths += draw_path(results, folder)
    return paths


def draw_lines(results: Results, folder: Path) -> list[Path]:
    """Loss and accuracy along filter-normalised lines: median and range over lines and seeds."""
    with style.figure(1, 2, size=(8.6, 3.9)) as (drawn, panels):
        fields = {"losses": f"loss  {unit(results)}", "accuracies": "accuracy"}
        for panel, (field, label) in zip(panels, fields.items(), strict=True):
            for norm in map(str, results.axes["norm"]):
                look = LOOKS[norm]
                values = results.select(f"lines.{field}", norm=norm)
                values = values.reshape(-1, values.shape[-1])
                columns = results.select("lines.columns", norm=norm)[0, 0]
                low, high = values.min(axis=0), values.max(axis=0)
                panel.fill_between(
                    columns,
                    low,
                    high,
                    color=look.colour,
                    alpha=0.2,
                    linewidth=0,
                    label=numbers.hidden(f"{look.label}, range"),
                )
                middle = np.median(values, axis=0)
                panel.plot(
                    columns,
                    middle,
                    color=look.colour,
                    linestyle=look.line,
                    marker=look.marker,
                    markersize=3,
                    label=look.label,
                )
            panel.set(xlabel="coordinate [norm of each filter]", ylabel=label)
            panel.grid(visible=True)
        style.log_scale(panels[0])
        panels[0].set_title("a  Loss")
        panels[1].set_title("b  Accuracy")
        handles, labels = panels[0].get_legend_handles_labels()
        drawn.legend(handles, labels, loc="outside lower center", ncols=5)
        count = len(results.axes["line"])
        lines = f"{count} filter-normalised random lines an arm and seed: median and full range"
        style.caption(drawn, caption(results, lines))
        return style.save(drawn, folder, "surface_lines")


def draw_plane(results: Results, folder: Path) -> list[Path]:
    """Contours of the plane of two filter-normalised random directions."""
    with grid(results) as (drawn, panels):
        levels = shared_levels(results, "plane")
        for panel, norm in zip(panels, map(str, results.axes["norm"]), strict=False):
            contours(panel, results, "plane", norm, levels)
            panel.plot(0, 0, marker="+", color="black", markersize=9, label=TRAINED)
            panel.set(
                xlabel="second direction [norm of each filter]",
                ylabel="first direction [norm of each filter]",
                aspect="equal",
            )
        colour_bar(drawn, panels, results, levels)
        what = "two filter-normalised random directions, the same draw in all arms; +: the trained"
        style.caption(drawn, caption(results, f"{what} network; {of_seed(results)}"))
        return style.save(drawn, folder, "surface_plane")


def draw_path(results: Results, folder: Path) -> list[Path]:
    """Contours of the plane of the path's principal components, and the path."""
    with grid(results) as (drawn, panels):
        levels = shared_levels(results, "trajectory")
        for panel, norm in zip(panels, map(str, results.axes["norm"]), strict=False):
            contours(panel, results, "trajectory", norm, levels)
            seed = results.axes["seed"][0]
            where = {"norm": norm, "seed": seed, "path": "principal"}
            path = results.select("principal.coordinates", **where)
            shares = results.select("principal.shares", **where)
            if not np.isfinite(path).all():
                continue
            closed = np.vstack([path, np.zeros(2)])  # the trained network is the origin
            halo = panel.plot(*closed.T, color="white", linewidth=2.6)
            numbers.behind(halo[0], "none")
            shown: dict[str, Any] = {"linewidth": 1, "marker": "o", "markersize": 2.2}
            panel.plot(*closed.T, color="black", label=numbers.hidden("path"), **shown)
            panel.plot(0, 0, marker="+", color="black", markersize=9, label=TRAINED)
            panel.set(
                xlabel=f"first component, {shares[0]:.0%} of variance [parameters' unit]",
                ylabel=f"second, {shares[1]:.0%} [parameters' unit]",
            )
        colour_bar(drawn, panels, results, levels)
        count = len(results.axes["probe_step"])
        what = (
            f"plane of the two principal components of {count} snapshots, one each "
            f"{results.config['probe_every']} steps (dots); +: the trained network"
        )
        style.caption(drawn, caption(results, f"{what}; {of_seed(results)}"))
        return style.save(drawn, folder, "surface_path")


def draw_surface(results: Results, folder: Path) -> list[Path]:
    """The plane of the random directions in three dimensions, on one shared axis of the loss."""
    with grid(results, subplot_kw={"projection": "3d"}) as (drawn, panels):
        levels = shared_levels(results, "plane")
        low, high = (math.log10(level) for level in levels[[0, -1]])
        for panel, norm in zip(panels, map(str, results.axes["norm"]), strict=False):
            columns, rows, losses = plane(results, "plane", norm)
            panel.set_title(LOOKS[norm].label)
            if not np.isfinite(losses).any():
                panel.text2D(0.5, 0.5, "nothing measured", transform=panel.transAxes, ha="center")
                continue
            across, along = np.meshgrid(columns, rows)
            shown = panel.plot_surface(
                across,
                along,
                np.clip(logarithms(losses), low, high),
                cmap=COLOURS,
                vmin=low,
                vmax=high,
                edgecolor="black",
                linewidth=0.2,
                rstride=1,
                cstride=1,
                label=numbers.hidden(LOOKS[norm].label),
            )
            numbers.behind(shown, "grid", x=columns, y=rows[:, None], value=losses)
            shown_losses = drawing.log_ticks(10**low, 10**high)
            panel.set_zticks(np.log10(shown_losses), [f"{loss:.3g}" for loss in shown_losses])
            panel.set(
                xlabel="second direction",
                ylabel="first direction",
                xticks=columns[[0, len(columns) // 2, -1]],
                yticks=rows[[0, len(rows) // 2, -1]],
                zlabel=f"loss  {unit(results)}",
                zlim=(low, high),
            )
            panel.set_box_aspect(None, zoom=0.87)  # the labels of the near axes fit as well
        what = (
            "two filter-normalised random directions, coordinates in units of each filter's norm; "
            "losses beyond the axis are cut off at its end"
        )
        style.caption(drawn, caption(results, f"{what}; {of_seed(results)}"))
        return style.save(drawn, folder, "surface_3d")


def of_seed(results: Results) -> str:
    """Which seed is shown."""
    return f"seed {results.axes['seed'][0]}"


def caption(results: Results, what: str) -> str:
    """What was run, on what, and what the surface is of."""
    config = results.config
    lines = [
        f"{subject(results)}, {setting(config)}",
        f"Loss on the first {config['images']} training images, in batches of "
        f"{config['batch_size']}; statistics that BatchNorm normalises with: "
        f"{MEANINGS[config['statistics']]}",
        what,
        *dead(results),
    ]
    return "\n".join(lines)
