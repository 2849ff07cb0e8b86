"""The figures of a surface run: lines, contours with shared levels, the path, three dimensions."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from bnjax import draw
from bnjax.draw import LOOKS, Drawing, Panel
from bnjax.frame.published_curves import Published
from bnjax.frame.results import Run

SOURCE = "Li et al. 2018"
PER_ROW = 3  # panels
TRAINED = "trained network"
STATISTICS = {
    "running": "running averages of training",
    "batch": "those of each batch at each point",
    "recalibrated": "pooled over these images at the trained network",
}


def surface_lines(run: Run, published: Published) -> Iterator[Drawing]:
    """Loss and accuracy along filter-normalised lines: median and range over lines and seeds."""
    del published  # Li et al. 2018 published pictures, no curves
    if "lines_losses" not in run:
        return
    drawing = Drawing(
        "surface_lines",
        (1, 2),
        size=(8.6, 3.9),
        title="Loss and accuracy on random lines",
        text="Along Gaussian directions normalised filter by filter, dᵢⱼ ← dᵢⱼ/‖dᵢⱼ‖ · ‖θᵢⱼ‖, "
        "around the trained network; biases and parameters of normalisers are not moved.",
        source=SOURCE,
        caption=caption(
            run,
            f"{run.data.sizes['line']} filter-normalised random lines for each network and seed: "
            "median and full range",
        ),
    )
    for panel, field in zip(drawing.panels, ("losses", "accuracies"), strict=True):
        for norm in run.norms:
            look, values = LOOKS[norm], run[f"lines_{field}"].sel(norm=norm)
            places = run["lines_columns"].sel(norm=norm).isel(seed=0, line=0)
            low, middle, high = (
                getattr(values, of)(["seed", "line"], skipna=False)
                for of in ("min", "median", "max")
            )
            panel.band(places, low, high, f"{look.label}, range", look, legend=False)
            panel.line(places, middle, look=look, marker=True, markersize=3, linewidth=1.5)
    loss, accuracy = drawing.panels
    where = "coordinate [norm of each filter]"
    loss.set(title="a  Loss", xlabel=where, ylabel=f"loss  {draw.unit(run)}", log=True)
    accuracy.set(title="b  Accuracy", xlabel=where, ylabel="accuracy")
    drawing.legend([loss], ncols=5)
    yield drawing


def surface_plane(run: Run, published: Published) -> Iterator[Drawing]:
    """Contours of the plane of two filter-normalised random directions."""
    del published
    if "plane_losses" not in run:
        return
    drawing = one_each(
        run,
        "surface_plane",
        "two filter-normalised random directions, the same draw for all networks; +: the trained "
        "network",
        title="Loss surface: contours",
        text="The loss on the plane of two filter-normalised random directions around the trained "
        "network, with levels that all networks share.",
    )
    for panel in contours(drawing, run, "plane"):
        panel.set(
            xlabel="second direction [norm of each filter]",
            ylabel="first direction [norm of each filter]",
            aspect="equal",
            grid=False,
        )
    yield drawing


def surface_3d(run: Run, published: Published) -> Iterator[Drawing]:
    """The plane of the random directions in three dimensions, on one shared axis of the loss."""
    del published
    if "plane_losses" not in run:
        return
    drawing = one_each(
        run,
        "surface_3d",
        "two filter-normalised random directions, coordinates in units of each filter's norm; "
        "losses beyond the axis are cut off at its end",
        title="Loss surface in three dimensions",
        text="The loss on the plane of two filter-normalised random directions around the trained "
        "network.",
        subplot_kw={"projection": "3d"},
    )
    levels = draw.shared_levels(run["plane_losses"].isel(seed=0))
    for panel, norm in zip(drawing.panels, run.norms, strict=False):
        panel.surface(*plane(run, "plane", norm), LOOKS[norm].label, levels)
        panel.set(title=LOOKS[norm].label)
        if panel.table:
            loss = f"loss  {draw.unit(run)}"
            panel.set(xlabel="second direction", ylabel="first direction", zlabel=loss)
    yield drawing


def surface_path(run: Run, published: Published) -> Iterator[Drawing]:
    """Contours of the plane of the path's principal components, and the path."""
    del published
    if "trajectory_losses" not in run:
        return
    drawing = one_each(
        run,
        "surface_path",
        f"plane of the two principal components of {run.data.sizes['probe_step']} snapshots, one "
        f"each {run.options['probe_every']} steps (dots); +: the trained network",
        title="The path of training in its plane",
        text="The loss on the plane of the two principal components of the parameters along "
        "training, and the path.",
    )
    for panel, norm in zip(contours(drawing, run, "trajectory"), run.norms, strict=True):
        here = run.sel(norm=norm, path="principal", seed=run.seeds[0])
        path = here["principal_coordinates"].transpose("plane_axis", "probe_step").values
        first, second = here["principal_shares"].values[:2]
        if not np.isfinite(path).all():
            continue
        x, y = np.pad(path, ((0, 0), (0, 1)))  # the trained network is the origin
        dots: Any = {"linewidth": 1, "marker": "o", "markersize": 2.2, "legend": False}
        panel.line(x, y, table=None, legend=False, color="white", linewidth=2.6)
        panel.line(x, y, "path", **dots)
        panel.set(
            xlabel=f"first component, {first:.0%} of variance [parameters' unit]",
            ylabel=f"second, {second:.0%} [parameters' unit]",
            grid=False,
        )
    yield drawing


FIGURES = (surface_lines, surface_plane, surface_3d, surface_path)


def one_each(run: Run, name: str, what: str, **given: Any) -> Drawing:
    """A drawing with a panel for each arm, of the first seed."""
    count = len(run.norms)
    columns = min(count, PER_ROW)
    rows = -(-count // columns)
    drawing = Drawing(
        name,
        (rows, columns),
        size=(1.2 + 3.7 * columns, 1.0 + 3.5 * rows),
        source=SOURCE,
        caption=caption(run, f"{what}; seed {run.seeds[0]}"),
        **given,
    )
    for panel in drawing.panels[count:]:
        panel.hide()
    return drawing


def contours(drawing: Drawing, run: Run, view: str) -> list[Panel]:
    """Draw each arm's plane with shared levels, and the trained network; the panels in use."""
    levels = draw.shared_levels(run[f"{view}_losses"].isel(seed=0))
    panels = drawing.panels[: len(run.norms)]
    for panel, norm in zip(panels, run.norms, strict=True):
        panel.contours(*plane(run, view, norm), LOOKS[norm].label, levels)
        panel.set(title=LOOKS[norm].label, grid=False)
        panel.points(0, 0, TRAINED, marker="+", markersize=9, legend=False, zorder=2.1)
    drawing.colour_bar(panels, f"loss  {draw.unit(run)}", levels)
    return panels


def plane(run: Run, view: str, norm: str) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Columns `[x]`, rows `[y]` and losses `[y, x]` of the first seed."""
    here = run.sel(norm=norm, seed=run.seeds[0])
    losses = here[f"{view}_losses"].transpose("row", "column")
    return here[f"{view}_columns"].isel(row=0).values, here[f"{view}_row"].values, losses.values


def caption(run: Run, what: str) -> str:
    """What was run, on what, and what the surface is of."""
    options = run.options
    lines = [
        f"{draw.subject(run)}, {draw.setting(run)}",
        f"Loss on the first {options['images']} training images, in batches of "
        f"{options['batch_size']}; statistics that BatchNorm normalises with: "
        f"{STATISTICS[options['statistics']]}",
        what,
        *draw.untrained(run),
    ]
    return "\n".join(lines)
