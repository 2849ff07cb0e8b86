"""The figure of a flight recorder: one's own loop, or the arms of a run with `--watch`."""

import itertools
from typing import Any

import numpy as np
import xarray

from bnjax.draw.drawing import GREY_DASHES, LOOKS, STEP, Drawing, Panel, shades
from bnjax.frame.results import Run

WATCHED = "recording_loss"  # in a run with `--watch`
BY_GROUP = (
    ("gradient_norms", "b  Gradient norm", "‖g‖ before clipping"),
    ("weight_norms", "c  Weight norm", "‖w‖"),
    ("update_ratios", "d  Update over weight", "‖Δw‖ / ‖w‖"),
    ("rotation_ratios", "e  Rotation over equilibrium", "angle / angle at equilibrium"),
)
TEXT = (
    "(a) Loss on the batch of the step. (b–e) Of each group of weights: norm of the gradient "
    "before any transformation; norm of the weights; update over weight; angle from w to the next "
    "w, over its equilibrium √(2·lr·wd/(1+b)) of SGD, √(2·lr·wd·(1−b₁)/(1+b₁)) of AdamW, or in "
    "radians where none is known. (f) Critical sharpness 2/η_c, η_c the least step along the "
    "optimiser's own direction Δ that raises the loss; dotted ΔᵀHΔ/Δᵀg; above 2/lr − wd a step "
    "raises the loss of its batch. Several networks: median of groups, band over all groups."
)
SOURCE = "Kosson et al. 2024 (2305.17212); Kalra et al. 2026 (2601.16979)"


def recording(run: Run, _: Any = None) -> Drawing:
    """Norms, updates and rotation of groups, and the critical sharpness, along training."""
    data = one_axis_of_arms(run.data)
    axis = steps_axis(data)
    wide = 4 if "recording_saturation" in data else 3
    drawing = Drawing(
        "recording", (2, wide), (3.6 * wide, 6.6), title="Flight recorder", text=TEXT, source=SOURCE
    )
    loss, *by_group, sharpness = drawing.panels[:6]
    of_arms(loss, data[WATCHED], axis, marker=True, markersize=3)
    loss.set(title="a  Loss", ylabel="L(θ)", xlabel=STEP, log=True)
    for panel, (field, title, label) in zip(by_group, BY_GROUP, strict=True):
        values = data[f"recording_{field}"]
        if field == "rotation_ratios":
            if values.isnull().all():
                values, title, label = data["recording_rotations"], "e  Rotation", "angle  [rad]"
            else:
                panel.reference(1.0, "equilibrium")
        of_groups(panel, values, axis)
        panel.set(title=title, ylabel=label, xlabel=STEP, log=True)
    sharpness_panel(sharpness, data, axis)
    if wide == 4:
        saturation, last = drawing.panels[6:]
        of_groups(saturation, data["recording_saturation"].rename(activation="group"), axis)
        saturation.set(title="g  Saturation", ylabel="share of |x| > 2", xlabel=STEP)
        saturation.set(ylim=(-0.03, 1.03))
        saturation.legend()
        last.hide()
    drawing.legend([sharpness, by_group[0]], ncols=6)
    return drawing


def one_axis_of_arms(data: xarray.Dataset) -> xarray.Dataset:
    """The data of the recorder, with all factors of a run but the seeds as one axis `norm`."""
    data = data[[name for name in data.data_vars if str(name).startswith("recording_")]]
    own = (steps_axis(data), "seed")
    factors = [str(axis) for axis in data[WATCHED].dims if axis not in own]
    if factors == ["norm"]:
        return data
    values = [data[factor].values.tolist() for factor in factors]
    names = [" ".join(map(str, chosen)) for chosen in itertools.product(*values)]
    stacked = data.rename({"norm": "of_norm"} if "norm" in factors else {})
    factors = ["of_norm" if factor == "norm" else factor for factor in factors]
    stacked = stacked.stack(norm=factors, create_index=False).drop_vars(factors)
    return stacked.assign_coords(norm=names)


def steps_axis(data: xarray.Dataset) -> str:
    """The axis of the rows: of a run, or of one's own loop."""
    return "watch_step" if "watch_step" in data.dims else "probe_step"


def of_arms(
    panel: Panel, values: xarray.DataArray, axis: str, name: str = "{}", **style: Any
) -> None:
    """A line for each arm: the median over seeds, at the steps where there is a value."""
    known = values.dropna(axis, how="all")
    if not known.sizes[axis]:
        return panel.note("not measured: no loss was given")
    for norm in known["norm"].values:
        look = LOOKS[str(norm)]
        middle = known.sel(norm=norm).median("seed")
        panel.line(known[axis], middle, name.format(look.label), look, **style)


def of_groups(panel: Panel, values: xarray.DataArray, axis: str) -> None:
    """Of one arm a line for each group, from dark to light; of several a band and a median."""
    middle = values.median("seed").transpose("norm", "group", axis)
    steps = middle[axis]
    if middle.sizes["norm"] == 1:
        count = middle.sizes["group"]
        named = {0, count // 2, count - 1} if count > MOST_NAMED else range(count)
        for place, colour in enumerate(shades(count)):
            group = str(middle["group"].values[place])
            style: Any = {"color": colour, "linewidth": 1.0, "legend": place in named}
            panel.line(steps, middle[0, place], group, **style)
        return
    for norm in middle["norm"].values:
        own, look = middle.sel(norm=norm), LOOKS[str(norm)]
        if own.notnull().any():
            over = own.min("group"), own.max("group")
            panel.band(steps, *over, f"{look.label}, all groups", look, alpha=0.15, legend=False)
        panel.line(steps, own.median("group"), look=look)


MOST_NAMED = 6  # groups in a legend; of more the first, the middle and the last


def sharpness_panel(panel: Panel, data: xarray.Dataset, axis: str) -> None:
    """Critical sharpness and curvature, with the edges, which follow the learning rate."""
    sharpness = data["recording_critical_sharpness"]
    of_arms(panel, sharpness, axis, marker=True, markersize=3)
    if sharpness.notnull().any():
        style: Any = {"linestyle": ":", "linewidth": 0.9, "legend": False}
        of_arms(panel, data["recording_curvature"], axis, "{}, ΔᵀHΔ/Δᵀg", **style)
    known = {"2/lr − wd": "recording_edge", "edge with momentum": "recording_momentum_edge"}
    drawn: list[np.ndarray] = []
    for name, field in known.items():
        for edge in (
            data[field].stack(line=("norm", "seed"), create_index=False).transpose("line", ...)
        ):
            values = edge.values
            same = any(np.allclose(values, one, rtol=1e-3, equal_nan=True) for one in drawn)
            if np.isfinite(values).any() and not same:
                style = {**GREY_DASHES, "linestyle": (0, (6, 2)) if not drawn else (0, (2, 2))}
                panel.line(data[axis], values, name, **style)
                drawn.append(values)
    panel.set(title="f  Critical sharpness", ylabel="2/η_c", xlabel=STEP, log=True)
