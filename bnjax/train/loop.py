"""The training loop: an iterator that trains, and runs any probe on the way.

The loop never waits for the device: the arrays that it yields may still be in the making. To keep
the device busy, read the numbers of step t after step t + 1 was started.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple, TypeAlias

import jax.numpy as jnp
import numpy as np

from bnjax.data import Pipeline, Split
from bnjax.errors import UsageError
from bnjax.train.step import Metrics, Program, TrainState
from bnjax.types import PRNGKey, PyTree

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


def every(interval: int, *, last: int | None = None) -> Callable[[int], bool]:
    """True at steps 0, interval, 2·interval, …, and at `last` if it is given.

    Args:
      interval: in steps, 1 or more.
      last: a step that counts in any case, e.g. the last one.

    Returns:
      A function of the step, counted from 0.

    Raises:
      UsageError: the interval is below 1.

    Example:
      >>> [step for step in range(6) if every(2, last=5)(step)]
      [0, 2, 4, 5]
    """
    if interval < 1:
        raise UsageError(f"interval {interval} must be 1 step or more")
    return lambda step: step % interval == 0 or step == last


class Measurement(NamedTuple):
    """A measurement, and when to take it. It sees state, batch and gradient and changes none."""

    when: Callable[[int], bool]  # of the step, counted from 0
    measure: Callable[..., PyTree]  # of state, batch and gradient, before the update; compiled
    leading: tuple[str, ...] = ()  # axes of all its fields before those that they declare
    # Of state, batch and gradient: the shapes of what it returns, where tracing it takes long.
    shapes: Callable[..., PyTree] | None = None
    axis: str = "probe_step"  # the name of the axis of its steps


class Progress(NamedTuple):
    """One step of a run, or a block of them: the state afterwards, and what was measured."""

    step: int  # the first one
    stop: int  # after the last one
    state: TrainState
    metrics: Metrics  # scalars; of a block `[block_steps]`, whose rows from `stop` on are NaN
    measured: dict[str, PyTree]  # the probes that were due at this step, before its update


def run(
    program: Program,
    pipeline: Pipeline,
    split: Split,
    key: PRNGKey,
    state: TrainState,
    *,
    start: int,
    stop: int,
    probes: Mapping[str, Measurement],
) -> Iterator[Progress]:
    """Train from step `start` up to, not including, `stop`.

    Args:
      program: compiled batch and step.
      pipeline: how batches are drawn.
      split: the training split.
      key: typed PRNG key of the data stream.
      state: the state before step `start`; donated.
      start: first step, counted from 0.
      stop: one past the last step.
      probes: by name; a probe that is due sees the batch of the step and the parameters before the
        update, as in Santurkar et al. 2018.

    Yields:
      `Progress` for each step, or for each block of steps without a probe where the program has
      blocks. Its state is donated to the next step: copy it to keep it longer.

    Example:
      >>> import jax, numpy as np, optax
      >>> from bnjax.data import make_pipeline
      >>> from bnjax.data.dataset import from_arrays
      >>> from bnjax.models import mlp, norms
      >>> from bnjax.train import every, init_state, make_program
      >>> pixels, labels = np.arange(8, dtype=np.uint8).reshape(8, 1, 1, 1), np.arange(8) % 2
      >>> dataset = from_arrays("eight", 2, (pixels, labels), (pixels, labels))
      >>> model, optimizer = mlp(norm=norms.none(), num_classes=2, width=0.02), optax.sgd(0.1)
      >>> pipeline = make_pipeline(dataset, batch_size=4)
      >>> program = make_program(model, optimizer, pipeline)
      >>> images = jnp.zeros((1, 1, 1, 1), jnp.float32)
      >>> state = init_state(model, optimizer, jax.random.key(0), images)
      >>> size = Measurement(every(2), lambda state, batch, gradient: batch.labels.shape)
      >>> steps = run(program, pipeline, dataset.train, jax.random.key(1), state,
      ...             start=0, stop=3, probes={"size": size})
      >>> [(progress.step, progress.measured) for progress in steps]
      [(0, {'size': (4,)}), (1, {}), (2, {'size': (4,)})]
    """

    def due_at(step: int) -> dict[str, Measurement]:
        return {name: probe for name, probe in probes.items() if probe.when(step)}

    step, epoch = start, -1
    while step < stop:
        if pipeline.epoch(step) != epoch:
            epoch = pipeline.epoch(step)
            order = pipeline.order(key, epoch)
        due = due_at(step)
        if program.block is not None and not due:
            until = min(stop, step + program.block_steps, pipeline.last_step(epoch) + 1)
            until = next((s for s in range(step, until) if due_at(s)), until)
            state, metrics = program.block(split, order, key, state, jnp.int32(until))
            yield Progress(step, until, state, metrics, {})
            step = until
            continue
        batch = program.batch(split, order, key, state.step)
        gradient = program.gradient(state, batch)
        measured = {name: probe.measure(state, batch, gradient) for name, probe in due.items()}
        state, metrics = program.update(state, gradient)
        yield Progress(step, step + 1, state, metrics, measured)
        step += 1
