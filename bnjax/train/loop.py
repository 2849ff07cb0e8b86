"""The training loop: an iterator that trains, and runs any probe on the way.

The loop never waits for the device: the arrays that it yields may still be in the making. To keep
the device busy, read the numbers of step t after step t + 1 was started.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

import jax.numpy as jnp

from bnjax.data import Pipeline, Split
from bnjax.errors import UsageError
from bnjax.train.gradient import TrainState
from bnjax.train.step import Metrics, Program
from bnjax.types import PRNGKey, PyTree


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


class Probe(NamedTuple):
    """A measurement, and when to take it. It sees state, batch and gradient and changes none."""

    when: Callable[[int], bool]  # of the step, counted from 0
    measure: Callable[..., PyTree]  # of state, batch and gradient, before the update; compiled
    leading: tuple[str, ...] = ()  # axes of all its fields before those that they declare


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
    probes: Mapping[str, Probe],
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
      >>> size = Probe(every(2), lambda state, batch, gradient: batch.labels.shape)
      >>> steps = run(program, pipeline, dataset.train, jax.random.key(1), state,
      ...             start=0, stop=3, probes={"size": size})
      >>> [(progress.step, progress.measured) for progress in steps]
      [(0, {'size': (4,)}), (1, {}), (2, {'size': (4,)})]
    """

    def due_at(step: int) -> dict[str, Probe]:
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
