"""Measurements after training, row by row, so that they can stop between rows."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from bnjax.train.gradient import TrainState

Measured: TypeAlias = Mapping[str, np.ndarray]  # `<probe>_<field>`: all that was measured before
MeasureRow: TypeAlias = Callable[[int], Any]  # row -> NamedTuple of arrays


class Sweep(NamedTuple):
    """Rows of equal shapes to measure on the trained network."""

    rows: int
    shapes: Any  # of one row: a NamedTuple of `jax.ShapeDtypeStruct`
    # Called once where the sweep starts or resumes, with the trained state and everything that the
    # probes measured. Its result must depend on nothing else, so that rows agree after a stop.
    begin: Callable[[TrainState, Measured], MeasureRow]
    axis: str = "row"  # the name of the axis of its rows


class SweepRow(NamedTuple):
    """One row that was measured."""

    name: str  # of the sweep
    row: int
    rows: int  # of the sweep
    done: int  # rows of all sweeps up to this one
    values: Any


def count_rows(sweeps: Mapping[str, Sweep]) -> int:
    """Rows of all sweeps together."""
    return sum(sweep.rows for sweep in sweeps.values())


def run_sweeps(
    sweeps: Mapping[str, Sweep], state: TrainState, measured: Measured, *, start: int
) -> Iterator[SweepRow]:
    """Measure the rows of all sweeps, one sweep after the other.

    Args:
      sweeps: by name.
      state: the trained network.
      measured: the second argument of `Sweep.begin`.
      start: rows of all sweeps together that are done already.

    Yields:
      `SweepRow` for each row from number `start` on.

    Example:
      >>> import jax.numpy as jnp
      >>> state = TrainState(jnp.int32(2), {}, {}, ())
      >>> squares = Sweep(3, None, lambda state, measured: lambda row: int(state.step) * row**2)
      >>> found = run_sweeps({"squares": squares, "again": squares}, state, {}, start=1)
      >>> [(row.name, row.row, row.values) for row in found]
      [('squares', 1, 2), ('squares', 2, 8), ('again', 0, 0), ('again', 1, 2), ('again', 2, 8)]
    """
    before = 0
    for name, sweep in sweeps.items():
        first = max(0, start - before)
        if first < sweep.rows:
            measure = sweep.begin(state, measured)
            for row in range(first, sweep.rows):
                yield SweepRow(name, row, sweep.rows, before + row + 1, measure(row))
        before += sweep.rows
