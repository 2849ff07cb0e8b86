"""The figures of a surface run: lines, contours with shared levels, the path, three dimensions."""

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from bnjax import draw
from bnjax.draw import LOOKS, Drawing, Panel, measured
from bnjax.frame.published_curves import Published
from bnjax.frame.results import Run

SOURCE = "Li et al. 2018"  # who published pictures, no curves
STATISTICS = {
    "running": "running averages of training",
    "batch": "those of each batch at each point",
    "recalibrated": "pooled over these images at the trained network",
}


def surface_lines(run: Run, _: Published) -> Iterator[Drawing]:
    """Loss and accuracy along filter-normalised lines: median and range over lines and seeds."""
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
    loss, accuracy = drawing.panels
    for (panel, field), norm in itertools.product(
        ((loss, "losses"), (accuracy, "accuracies")), run.norms
    ):
        look, values = LOOKS[norm], run[f"lines_{field}"].sel(norm=norm)
        places = run["lines_columns"].sel(norm=norm).isel(seed=0, line=0)
        low, middle, high = (
            getattr(values, of)(["seed", "line"], skipna=False) for of in ("min", "median", "max")
        )
        panel.band(places, low, high, f"{look.label}, range", look, legend=False)
        panel.line(places, middle, look=look, marker=True, markersize=3, linewidth=1.5)
    where = "coordinate [norm of each filter]"
    loss.set(title="a  Loss", xlabel=where, ylabel=f"loss  {draw.unit(run)}", log=True)
    accuracy.set(title="b  Accuracy", xlabel=where, ylabel="accuracy")
    drawing.legend([loss], ncols=5)
    yield drawing


def surface_plane(run: Run, _: Published) -> Iterator[Drawing]:
    """Contours of the plane of two filter-normalised random directions."""

    def show(panel: Panel, norm: str, *plane: Any) -> None:
        measured.contours(panel, *plane)
        first, second = (
            f"{place} direction [norm of each filter]" for place in ("first", "second")
        )
        panel.set(xlabel=second, ylabel=first, aspect="equal", grid=False)

    return planes(
        "surface_plane",
        run,
        "plane",
        show,
        "two filter-normalised random directions, the same draw for all networks; +: the trained "
        "network",
        title="Loss surface: contours",
        text="The loss on the plane of two filter-normalised random directions around the trained "
        "network, with levels that all networks share.",
    )


def surface_3d(run: Run, _: Published) -> Iterator[Drawing]:
    """The plane of the random directions in three dimensions, on one shared axis of the loss."""

    def show(panel: Panel, norm: str, *plane: Any) -> None:
        panel.surface(*plane)
        if panel.table:
            loss = f"loss  {draw.unit(run)}"
            panel.set(xlabel="second direction", ylabel="first direction", zlabel=loss)

    return planes(
        "surface_3d",
        run,
        "plane",
        show,
        "two filter-normalised random directions, coordinates in units of each filter's norm; "
        "losses beyond the axis are cut off at its end",
        title="Loss surface in three dimensions",
        text="The loss on the plane of two filter-normalised random directions around the trained "
        "network.",
        subplot_kw={"projection": "3d"},
    )


def surface_path(run: Run, _: Published) -> Iterator[Drawing]:
    """Contours of the plane of the path's principal components, and the path."""

    def show(panel: Panel, norm: str, *plane: Any) -> None:
        measured.contours(panel, *plane)
        own = run.sel(norm=norm, seed=run.seeds[0], path="principal")
        path = own["principal_coordinates"].transpose("plane_axis", "probe_step").values
        if not np.isfinite(path).all():
            return
        x, y = np.pad(path, ((0, 0), (0, 1)))  # the trained network is the origin
        panel.line(x, y, table=None, legend=False, color="white", linewidth=2.6)
        panel.line(x, y, "path", linewidth=1, marker="o", markersize=2.2, legend=False)
        first, second = own["principal_shares"].values[:2]
        panel.set(
            xlabel=f"first component, {first:.0%} of variance [parameters' unit]",
            ylabel=f"second, {second:.0%} [parameters' unit]",
            grid=False,
        )

    return planes(
        "surface_path",
        run,
        "trajectory",
        show,
        f"plane of the two principal components of {run.data.sizes.get('probe_step')} snapshots, "
        f"one each {run.options['probe_every']} steps (dots); +: the trained network",
        title="The path of training in its plane",
        text="The loss on the plane of the two principal components of the parameters along "
        "training, and the path.",
    )


FIGURES = (surface_lines, surface_plane, surface_3d, surface_path)


def planes(
    name: str, run: Run, view: str, show: Callable[..., None], what: str, **given: Any
) -> Iterator[Drawing]:
    """A drawing with a panel for each arm's first seed, where the view was measured.

    Args:
      name: of the drawing.
      run: of several arms.
      view: the plane, `plane` or `trajectory`.
      show: as for `measured.planes`.
      what: the caption's line on the plane.
      given: title, text and layout of the drawing.
    """
    if f"{view}_losses" not in run:
        return
    seed = run.seeds[0]
    arms = {}
    for norm in run.norms:
        own = run.sel(norm=norm, seed=seed)
        x, y = own[f"{view}_columns"].isel(row=0).values, own[f"{view}_row"].values
        arms[norm] = x, y, own[f"{view}_losses"].transpose("row", "column").values
    words: Any = {"source": SOURCE, "caption": caption(run, f"{what}; seed {seed}"), **given}
    yield measured.planes(name, arms, show, f"loss  {draw.unit(run)}", **words)


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
