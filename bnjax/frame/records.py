"""The host's record of one arm: buffers of fixed shape that fill up as measurements arrive.

Everything is floating point and NaN until it is measured, so a record can be saved, restored and
stacked with others at any moment.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np

from bnjax.errors import UsageError

Record = dict[str, np.ndarray]


class Entry(NamedTuple):
    """A measurement on its way from the device: the NamedTuple `values` is row `row` of `group`.

    A block of steps fills a slice of rows with the first values of its own, longer arrays.
    """

    group: str
    row: int | slice
    values: Any


def empty(groups: Mapping[str, tuple[int, Any]]) -> Record:
    """Buffers `<group>.<field>` `[rows, *shape of the field]`, all NaN.

    Args:
      groups: by name, the number of rows and the shapes of one measurement
        (`jax.eval_shape` of a NamedTuple).

    Raises:
      UsageError: a measurement is no NamedTuple.
    """
    record: Record = {"complete": np.zeros(())}
    for group, (rows, shapes) in groups.items():
        if not hasattr(shapes, "_asdict"):
            raise UsageError(
                f"the probe {group!r} returns a {type(shapes).__name__}: it must return a "
                "NamedTuple of arrays"
            )
        for field, leaf in shapes._asdict().items():
            dtype = np.promote_types(leaf.dtype, np.float32)
            record[f"{group}.{field}"] = np.full((rows, *leaf.shape), np.nan, dtype)
    return record


def put(record: Record, entries: Iterable[Entry]) -> None:
    """Fetch measurements from the device, waiting for them if need be, and write their rows."""
    for entry in entries:
        for field, value in jax.device_get(entry.values)._asdict().items():
            rows = record[f"{entry.group}.{field}"]
            if isinstance(entry.row, slice) and value.ndim:
                value = value[: entry.row.stop - entry.row.start]
            rows[entry.row] = value


def kept(record: Record) -> Record:
    """What goes into a run's results: groups named `_…` serve the arm itself alone."""
    return {name: values for name, values in record.items() if not name.startswith("_")}


def ended_at(record: Record) -> int | None:
    """The first step that was not finite, or None."""
    steps = np.flatnonzero(record["train.finite"] == 0)
    return int(steps[0]) if len(steps) else None


def stack(records: Sequence[Record], sizes: Sequence[int]) -> Record:
    """Records of all arms and seeds, the last factor fastest, as arrays `[*sizes, …]`.

    Arms that take more steps than others, of fewer examples each, are stacked by `in_blocks`.
    """
    rows = min(len(record["train.finite"]) for record in records)
    records = [in_blocks(record, rows) for record in records]
    return {
        name: np.stack([record[name] for record in records]).reshape(*sizes, *first.shape)
        for name, first in sorted(records[0].items())  # a restored record has another order
    }


def in_blocks(record: Record, rows: int) -> Record:
    """A record with the means over equal blocks of steps in place of the steps of `train.*`.

    Args:
      record: of one arm, whose number of steps is a multiple of `rows`.
      rows: number of blocks. A block in which the arm diverged is not finite.
    """
    if len(record["train.finite"]) == rows:
        return record
    blocks = {
        name: values.reshape(rows, -1)
        for name, values in record.items()
        if name.startswith("train.")
    }
    means = {name: block.mean(axis=1) for name, block in blocks.items()}
    ended = (blocks["train.finite"] == 0).any(axis=1)
    return {**record, **means, "train.finite": np.where(ended, 0, means["train.finite"])}
