"""The figure of a flight recorder: one's own loop, or the arms of a run with `--watch`."""

import itertools
import re
from collections import Counter
from typing import Any

import numpy as np
import xarray

from bnjax.draw.drawing import GREY_DASHES, LOOKS, MODEL, STEP, Drawing, Panel, unshared
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
    "radians where none is known. Many groups are shown by kind: × says how many, from dark to "
    "pale in their order. (f) Critical sharpness 2/η_c, η_c the least step along the optimiser's "
    "own direction Δ that raises the loss; above 2/lr − wd a step raises the loss of its batch. "
    "Several networks: median of groups, band over all groups."
)
BELOW: dict[str, Any] = {"loc": "upper center", "bbox_to_anchor": (0.5, -0.22), "ncols": 2}
MARKED: dict[str, Any] = {"marker": True, "markersize": 3}
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
    of_arms(loss, data[WATCHED], axis, legend=data["norm"].values.tolist() != [MODEL], **MARKED)
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
        saturation.legend(**BELOW)
        last.hide()
    drawing.legend([loss, by_group[0]])
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
    """Of one arm a line for each group, by its name or kind; of several a band and a median."""
    middle = values.median("seed").transpose("norm", "group", axis)
    steps = middle[axis]
    if middle.sizes["norm"] == 1:
        groups = [str(name) for name in middle["group"].values]
        keys = legend_names(groups)
        count, looks = Counter(keys), looks_of(list(dict.fromkeys(keys)))
        for place, (group, key) in enumerate(zip(groups, keys, strict=True)):
            before = keys[:place].count(key)
            style = {"linewidth": 1.1, "alpha": 1 - 0.7 * before / count[key], **looks[key]}
            many = f" × {count[key]}" * (count[key] > 1)
            panel.line(steps, middle[0, place], group, legend=not before and key + many, **style)
        return
    for norm in middle["norm"].values:
        own, look = middle.sel(norm=norm), LOOKS[str(norm)]
        if own.notnull().any():
            over = own.min("group"), own.max("group")
            panel.band(steps, *over, f"{look.label}, all groups", look, alpha=0.15, legend=False)
        panel.line(steps, own.median("group"), look=look)


MOST_NAMED = 16  # groups in a legend; more are shown by kind
# Okabe & Ito's palette without its yellow, and a wine red: dark enough for white paper.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#882255")
LINES = (
    "-",
    (0, (5, 2)),
    (0, (1, 1.2)),
    (0, (6, 1.5, 1, 1.5)),
    (0, (9, 3)),
    (0, (3, 1, 1, 1, 1, 1)),
)


def legend_names(groups: list[str]) -> list[str]:
    """The name of each group in a legend: its own; of many its kind, so that few names are left.

    A kind is the name without its first number, without all of them, or the last part of it.

    Example:
      >>> legend_names([f"net/block{i}/conv{j}" for i in range(20) for j in (1, 2)])[:3]
      ['block#/conv1', 'block#/conv2', 'block#/conv1']
    """
    names = unshared(groups)
    block, kind = ([re.sub(r"\d+", "#", name, count=count) for name in names] for count in (1, 0))
    last = [name.removesuffix("/value").rpartition("/")[-1] for name in kind]
    few = (found for found in (names, block, kind, last) if len(set(found)) <= MOST_NAMED)
    return next(few, ["groups"] * len(groups))


def looks_of(names: list[str]) -> dict[str, dict[str, Any]]:
    """Of each name a colour and a line: layers differ in colour, the leaves of a layer in line."""
    layers = [name.rpartition("/")[0] or name for name in names]
    most = max(Counter(layers).values())
    if most * -(-len(set(layers)) // len(COLOURS)) > len(LINES):
        layers, most = names, 1
    order = list(dict.fromkeys(layers))
    found = {}
    for place, (name, layer) in enumerate(zip(names, layers, strict=True)):
        turn, colour = divmod(order.index(layer), len(COLOURS))
        line = LINES[turn * most + layers[:place].count(layer)]
        found[name] = {"color": COLOURS[colour], "linestyle": line}
    return found


def sharpness_panel(panel: Panel, data: xarray.Dataset, axis: str) -> None:
    """Critical sharpness and curvature, with the edges, which follow the learning rate."""
    sharpness = data["recording_critical_sharpness"]
    of_arms(panel, sharpness, axis, legend=False, **MARKED)
    if sharpness.notnull().any():
        dotted: Any = {"linestyle": ":", "linewidth": 0.9}
        of_arms(panel, data["recording_curvature"], axis, "{}, ΔᵀHΔ/Δᵀg", legend=False, **dotted)
        own = LOOKS[str(data["norm"].values[0])]
        colour, marker = (own.colour, own.marker) if data.sizes["norm"] == 1 else ("0.35", "o")
        panel.key("2/η_c", color=colour, marker=marker, markersize=3)
        panel.key("ΔᵀHΔ/Δᵀg", color=colour, **dotted)
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
                named = name not in {series.name for series in panel.table}
                panel.line(data[axis], values, name, legend=named, **style)
                drawn.append(values)
    panel.set(title="f  Critical sharpness", ylabel="2/η_c", xlabel=STEP, log=True)
    panel.legend(**BELOW)
