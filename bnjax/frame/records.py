"""The host's record of one arm: buffers of fixed shape that fill up as measurements arrive.

Everything is floating point and NaN until it is measured, so a record can be saved, restored and
stacked with others at any moment. A measurement is named `<probe>_<field>`. The records of all arms
become one `xarray.Dataset`, whose axes are those that the fields declare (`bnjax.fields`).
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
import numpy as np

from bnjax import models
from bnjax.data import Dataset
from bnjax.errors import UsageError
from bnjax.fields import AXIS_LABELS, attributes, declared
from bnjax.frame.arm import arm_values, make_arm
from bnjax.frame.study import Study

Record: TypeAlias = dict[str, np.ndarray]
LARGEST_VARIABLE = 2 * 2**30  # bytes, in netCDF 3 as scipy writes it


class Group(NamedTuple):
    """What one probe or sweep measures."""

    rows: int
    shapes: Any  # of one measurement: a NamedTuple of `jax.ShapeDtypeStruct`
    axes: tuple[str, ...]  # that of the rows, and those before the axes that the fields declare


Layout: TypeAlias = Mapping[str, Group]  # by probe; probes named `_…` serve the arm itself alone


class Entry(NamedTuple):
    """A measurement on its way from the device: the NamedTuple `values` is row `row` of `probe`.

    A block of steps fills a slice of rows with the first values of its own, longer arrays.
    """

    probe: str
    row: int | slice
    values: Any


def empty(layout: Layout) -> Record:
    """Buffers `<probe>_<field>` `[rows, *shape of the field]`, all NaN."""
    record: Record = {"complete": np.zeros(())}
    for probe, group in layout.items():
        if not hasattr(group.shapes, "_asdict"):
            raise UsageError(
                f"the probe {probe!r} returns a {type(group.shapes).__name__}: it must return a "
                "NamedTuple of arrays"
            )
        for field, leaf in group.shapes._asdict().items():
            dtype = np.promote_types(leaf.dtype, np.float32)
            name = f"{probe}_{field}"
            if name in record:
                raise UsageError(f"two measurements are named {name}: rename a probe or its field")
            require_size(name, group.rows * math.prod(leaf.shape) * dtype.itemsize)
            record[name] = np.full((group.rows, *leaf.shape), np.nan, dtype)
    return record


def require_size(name: str, size: int) -> None:
    """Refuse a variable that the results could not hold, before it is measured."""
    if size >= LARGEST_VARIABLE:
        raise UsageError(
            f"{name} of all arms would take {size / 2**30:.3g} GiB, and results.nc holds less than "
            f"{LARGEST_VARIABLE // 2**30} GiB of each: give fewer --steps or --seeds, or a larger "
            "--probe-every"
        )


def put(record: Record, entries: Iterable[Entry]) -> None:
    """Fetch measurements from the device, waiting for them if need be, and write their rows."""
    for entry in entries:
        for field, value in jax.device_get(entry.values)._asdict().items():
            rows = record[f"{entry.probe}_{field}"]
            if isinstance(entry.row, slice) and value.ndim:
                value = value[: entry.row.stop - entry.row.start]
            rows[entry.row] = value


def published(record: Record) -> Record:
    """What goes into a run's results: all but what probes named `_…` measured."""
    return {name: values for name, values in record.items() if not name.startswith("_")}


def ended_at(record: Record) -> int | None:
    """The first step that was not finite, or None."""
    steps = np.flatnonzero(record["train_finite"] == 0)
    return int(steps[0]) if len(steps) else None


def stack(records: Sequence[Record], sizes: Sequence[int]) -> Record:
    """Records of all arms and seeds, the last factor fastest, as arrays `[*sizes, …]`.

    Arms that take more steps than others, of fewer examples each, are stacked by `in_blocks`.
    """
    rows = min(len(record["train_finite"]) for record in records)
    records = [in_blocks(record, rows) for record in records]
    return {
        name: np.stack([record[name] for record in records]).reshape(*sizes, *first.shape)
        for name, first in sorted(records[0].items())  # a restored record has another order
    }


def in_blocks(record: Record, rows: int) -> Record:
    """A record whose `train_*` are means over equal blocks of steps, `rows` of them.

    A block in which the arm diverged is not finite.
    """
    if len(record["train_finite"]) == rows:
        return record
    blocks = {
        name: values.reshape(rows, -1)
        for name, values in record.items()
        if name.startswith("train_")
    }
    means = {name: block.mean(axis=1) for name, block in blocks.items()}
    ended = (blocks["train_finite"] == 0).any(axis=1)
    return {**record, **means, "train_finite": np.where(ended, 0, means["train_finite"])}


def axis_values(study: Study, options: Any, dataset: Dataset) -> dict[str, np.ndarray]:
    own = make_arm(study, options, dataset, arm_values(options)[-1], options.seed)
    every_step = range(options.steps + 1)
    axes = {
        **options.factors,
        "seed": range(options.seed, options.seed + options.seeds),
        "step": every_step[:-1],
        "test_step": [
            step
            for step in every_step
            if step % options.evaluate_every == 0 or step == options.steps
        ],
        "probe_step": [step for step in every_step[:-1] if step % options.probe_every == 0],
        "watch_step": [s for s in every_step[:-1] if options.watch and s % options.watch == 0],
        "layer": models.layer_names(own.model, *dataset.example),
        "group": own.watched,
        **study.part("axes", lambda options: {})(options),
    }
    return {axis: np.array(list(values)) for axis, values in axes.items()}


def field_axes(probe: str, group: Group, field: str) -> tuple[str, ...]:
    """The axes of a field of one arm: of its rows, of the probe, and those that it declares."""
    own = declared(type(group.shapes))[field].axes
    if own is None or any(not axis.isidentifier() for axis in own):
        if np.ndim(getattr(group.shapes, field)) == len(group.axes) - 1:
            return group.axes
        raise UsageError(
            f"{probe}_{field} has shape {getattr(group.shapes, field).shape} at each step, and "
            f"does not say along which axes: annotate the field {field} of "
            f'{type(group.shapes).__name__}, e.g. Float[Array, "layer"]'
        )
    return (*group.axes, *own)


def check(
    study: Study, options: Any, axes: Mapping[str, np.ndarray], layout: Layout, record: Record
) -> None:
    """Refuse a record of one arm whose arrays do not have the axes that its fields declare."""
    outer = (*options.factors, "seed")
    jobs = math.prod(len(axes[axis]) for axis in outer)
    for name, values in published(record).items():
        require_size(name, jobs * values.nbytes)
    for probe, group in layout.items():
        if probe.startswith("_") or probe in ("train", "test"):
            continue
        for field in group.shapes._fields:
            name, shape = f"{probe}_{field}", record[f"{probe}_{field}"].shape
            names = field_axes(probe, group, field)
            if unknown := [axis for axis in names if axis not in axes]:
                raise UsageError(
                    f"{name} has the axis {unknown[0]!r}, which is not known: choose from "
                    f"{', '.join(axes)}, or give its values in axes(options) of {study.name}"
                )
            if len({*outer, *names}) < len(outer) + len(names):
                raise UsageError(
                    f"{name} has the axes {' '.join(names)} beside {' '.join(outer)}: each must be "
                    "another one"
                )
            rows, *inner = (len(axes[axis]) for axis in names)
            if shape[0] != rows:
                raise UsageError(
                    f"{name} is measured {shape[0]} times, its axis {names[0]} has {rows}: a probe "
                    "is due at every(options.probe_every), a sweep names the axis of its rows"
                )
            if shape[1:] != tuple(inner):
                raise UsageError(
                    f"{name} has shape {shape[1:]} at each step, its axes "
                    f"{' '.join(names[1:]) or 'of a scalar'} have {tuple(inner)}: annotate the "
                    f'field {field} with its axes, e.g. Float[Array, "layer"]'
                )


def to_dataset(
    study: Study,
    options: Any,
    axes: Mapping[str, np.ndarray],
    layout: Layout,
    finished: Sequence[Record],
) -> Any:
    import xarray  # takes a second to import, and training needs none

    outer = (*options.factors, "seed")
    stacked = stack(finished, [len(axes[axis]) for axis in outer])
    variables: dict[str, Any] = {"complete": (outer, stacked["complete"])}
    for probe, group in layout.items():
        if probe.startswith("_"):
            continue
        kind = type(group.shapes)
        for name, (_, field) in declared(kind).items():
            dims = (*outer, *field_axes(probe, group, name))
            variables[f"{probe}_{name}"] = (
                dims,
                stacked[f"{probe}_{name}"],
                attributes(kind, field, probe),
            )
    used = {axis for dims, *_ in variables.values() for axis in dims}
    labels = {**AXIS_LABELS, **study.axis_labels}
    coordinates = {
        axis: (axis, values, {"long_name": labels.get(axis, axis.replace("_", " "))})
        for axis, values in axes.items()
        if axis in used
    }
    return xarray.Dataset(variables, coordinates)
