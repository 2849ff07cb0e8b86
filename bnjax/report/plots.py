"""One chart of one array, as plain values; what it is drawn as follows from the array's axes."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bnjax.report import quantities
from bnjax.report.sources import Places, Source

FEW = 3  # values of an axis below which it is chosen from a list, not drawn along
LOG_RATIO = 50  # between least and greatest beyond which an axis is logarithmic
LINEAR = ("accurac", "cosine", "share", "agreement")  # in the names of what is never
# The axes of a surface's columns and rows, by the group of its array.
PLANES = {
    "plane": ("second direction", "first direction"),
    "trajectory": ("first component", "second component"),
}
PATHS = {"trajectory": "principal.coordinates"}  # of training, in the plane of a surface
SHORT = {"losses": "loss", "accuracies": "accuracy"}  # what stands along an upright axis


def train_chart(
    field: str, sources: Sequence[Source], places: Sequence[Places]
) -> dict[str, Any] | None:
    """Minibatches and test set of one field against the training step."""
    traces, values = [], []
    k = 0
    for source, place in zip(sources, places, strict=True):
        for row in range(len(source.curves)):
            for name, mode in ((f"train.{field}", "lines"), (f"test.{field}", "markers")):
                dims = source.thinned.dims.get(name)
                if dims not in (("step",), ("test_step",)):
                    continue
                array = source.thinned.arrays[name]
                values.append(array[row])
                traces.append(
                    {
                        "k": k,
                        "a": place.array(name),
                        "s": row * array.shape[1],
                        "n": array.shape[1],
                        "d": 1,
                        "x": place.axis(dims[0]),
                        "m": mode,
                        "w": "test set" if mode == "markers" else "training",
                    }
                )
            k += 1
    title = quantities.quantity(f"train.{field}").label.removeprefix("Minibatch ").capitalize()
    name = f"train.{field}"
    made = framed("training", name, title, "", "training step", False, traces, values, {})
    marks = (
        " Hollow marks: the whole test set." if f"test.{field}" in sources[0].thinned.dims else ""
    )
    return made and {**made, "definition": made["definition"] + marks}


def chart(name: str, sources: Sequence[Source], places: Sequence[Places]) -> dict[str, Any] | None:
    """The chart of one array, by its axes."""
    own = quantities.quantity(name)
    dims = sources[0].thinned.dims[name]
    if dims and dims[0] == "test_step" and name.startswith("test."):
        return None  # it stands in the chart of its training curve
    if is_surface(name, sources):
        return surface(name, sources, places)
    inner = [axis for axis in dims if axis != "probe_step"]
    along = next(
        (a for a in reversed(inner) if all(len(s.thinned.axes[a]) >= FEW for s in sources)), None
    )
    sliced = "probe_step" in dims and along is not None
    course = "probe_step" in dims and not sliced
    along = "probe_step" if course else along or dims[-1]
    traces, values = [], []
    choices: dict[str, int] = {}
    k = 0
    for i, (source, place) in enumerate(zip(sources, places, strict=True)):
        array = source.thinned.arrays[name]
        strides = {axis: math.prod(array.shape[j + 2 :]) for j, axis in enumerate(dims)}
        chosen = {
            axis: strides[axis]
            for axis in dims
            if axis not in (along, "probe_step" if sliced else "")
            and len(source.thinned.axes[axis]) > 1
        }
        choices |= dict.fromkeys(chosen, i)
        for row in range(len(source.curves)):
            values.append(array[row])
            traces.append(
                {
                    "k": k,
                    "a": place.array(name),
                    "s": row * math.prod(array.shape[1:]),
                    "n": array.shape[1 + dims.index(along)],
                    "d": strides[along],
                    "x": coordinates(name, source, place, row) or place.axis(along),
                    "m": "lines+markers" if array.shape[1 + dims.index(along)] <= 60 else "lines",
                    **({"p": strides["probe_step"]} if sliced else {}),
                    **({"c": chosen} if chosen else {}),
                }
            )
            k += 1
    kind = "slice" if sliced else "course" if course else "after"
    xs = np.concatenate([np.asarray(s.thinned.axes[along]).ravel() for s in sources])
    return framed(
        kind,
        name,
        own.label,
        own.unit,
        axis_name(along, sources),
        spreads(xs),
        traces,
        values,
        choices,
    )


def axis_name(along: str, sources: Sequence[Source]) -> str:
    """The name of an axis; step sizes of arms with several rates are in units of each one's own."""
    for source in sources:
        measured = source.thinned.arrays.get("line.step_sizes")
        if along == "step_size" and measured is not None:
            ratios = measured / np.asarray(source.thinned.axes[along])
            if (np.abs(ratios[np.isfinite(ratios)] - 1) > 1e-3).any():
                return f"{quantities.axis(along)} / learning rate"
    return quantities.axis(along)


def coordinates(name: str, source: Source, place: Places, row: int) -> Any:
    """Where a row of a surface or line was measured, where the run says so."""
    group = name.partition(".")[0]
    other = f"{group}.columns"
    if source.thinned.dims.get(other) != source.thinned.dims[name]:
        return None
    array = source.thinned.arrays[other]
    return {"a": place.array(other), "s": row * math.prod(array.shape[1:])}


def is_surface(name: str, sources: Sequence[Source]) -> bool:
    """Whether an array lies over a plane: two axes, with coordinates that differ along both."""
    for source in sources:
        group, dims = name.partition(".")[0], source.thinned.dims[name]
        rows = source.thinned.arrays.get(f"{group}.row")
        if (
            len(dims) != 2
            or rows is None
            or source.thinned.dims.get(f"{group}.columns") != dims
            or source.thinned.dims[f"{group}.row"] != dims[:1]
            or min(source.thinned.arrays[name].shape[1:]) < FEW
            or not np.ptp(np.nan_to_num(rows[0])) > 0
        ):
            return False
    return True


def surface(
    name: str, sources: Sequence[Source], places: Sequence[Places]
) -> dict[str, Any] | None:
    """A surface for each curve."""
    group = name.partition(".")[0]
    traces, values = [], []
    k = 0
    for source, place in zip(sources, places, strict=True):
        array = source.thinned.arrays[name]
        _, rows, columns = array.shape
        for row in range(len(source.curves)):
            values.append(array[row])
            traces.append(
                {
                    "k": k,
                    "a": place.array(name),
                    "s": row * rows * columns,
                    "rows": rows,
                    "columns": columns,
                    "x": {"a": place.array(f"{group}.columns"), "s": row * rows * columns},
                    "y": {"a": place.array(f"{group}.row"), "s": row * rows},
                    **path(group, source, place, row),
                }
            )
            k += 1
    own = quantities.quantity(name)
    along, across = PLANES.get(group, ("column", "row"))
    made = framed("surface", name, own.label, own.unit, along, False, traces, values, {})
    return made and {**made, "across": across}


def path(group: str, source: Source, place: Places, row: int) -> dict[str, Any]:
    """The path of training in the plane of a surface, where the run has one: it ends at 0, 0."""
    name = PATHS.get(group, "")
    array = source.thinned.arrays.get(name)
    if array is None or source.thinned.dims[name] != ("path", "probe_step", "plane_axis"):
        return {}
    _, paths, count, axes = array.shape
    if axes != 2 or not np.isfinite(array[row, 0]).all():
        return {}
    return {"path": {"a": place.array(name), "s": row * paths * count * axes, "n": count}}


def framed(
    kind: str,
    name: str,
    title: str,
    unit: str,
    along: str,
    log_x: bool,
    traces: Sequence[Mapping[str, Any]],
    values: Sequence[np.ndarray],
    choices: Mapping[str, Any],
) -> dict[str, Any] | None:
    """A chart with axes that hold all that was measured; None if nothing was."""
    finite = np.concatenate([part[np.isfinite(part)].ravel() for part in values] or [np.empty(0)])
    if not finite.size or not traces:
        return None
    low, high = float(finite.min()), float(finite.max())
    bounded = any(word in name for word in LINEAR)
    log = low > 0 and high / low > LOG_RATIO and not bounded
    return {
        "kind": kind,
        "name": name,
        "title": title,
        "definition": quantities.definition(name),
        "short": SHORT.get(name.partition(".")[2], name.partition(".")[2].replace("_", " ")),
        "unit": unit,
        "along": along,
        "logX": log_x,
        "logY": log,
        "range": [low, high],
        "positive": low > 0,
        "traces": traces,
        "choices": sorted(choices),
    }


def spreads(values: np.ndarray) -> bool:
    """Whether an axis is better drawn logarithmically: positive values in about equal ratios."""
    if values.dtype.kind not in "iuf" or len(values) < FEW:
        return False
    own = np.unique(values.astype(float))
    if len(own) < FEW or not (own > 0).all() or not np.isfinite(own).all():
        return False
    ratios = own[1:] / own[:-1]
    return bool(ratios.min() > 1.2 and own[-1] / own[0] > 5)
