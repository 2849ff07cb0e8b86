"""Carry out one arm for one seed: train, probe, evaluate, save, resume."""

import functools
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import numpy as np

from bnjax import train
from bnjax.data import Batch
from bnjax.errors import RunError
from bnjax.frame import arms, checkpoints, layout, processes, records
from bnjax.frame.config import RunConfig
from bnjax.frame.interrupts import Interrupted
from bnjax.frame.streams import stream_key
from bnjax.train import Probe, Program, TrainState
from bnjax.train.sweep import Sweep, count_rows, run_sweeps

MOST_SAVING = 0.02  # of the time, where saves are due by time: large states are saved less often


@runtime_checkable
class Display(Protocol):
    """Who shows how far a run is."""

    def advance(self, arm: arms.Arm, done: int, record: records.Record) -> None:
        """`done` steps of the arm are done."""

    def advance_rows(self, arm: arms.Arm, sweep: str, done: int, rows: int) -> None:
        """After training, `done` of the rows of a sweep are done."""

    def finish(self, arm: arms.Arm, record: records.Record) -> None:
        """All of the arm is done."""


class Execution(NamedTuple):
    """How a unit of work is carried out; nothing of it changes what is measured."""

    display: Display
    mesh: jax.sharding.Mesh | None = None  # devices of this unit; None: the one there is
    # Asked after each step or row, counted from 1: whether to save and leave now.
    stops_at: Callable[[int], bool] = lambda done: False
    together: bool = False  # all processes of a job work on the same unit, in step
    writes: bool = True  # False in a process that another one writes for
    trains: bool = True  # False: only read what another process has finished
    # Refuses an empty record whose shapes are not those that the experiment says.
    check: Callable[[records.Record], None] = lambda record: None


def run_arm(
    config: RunConfig,
    arm: arms.Arm,
    probes: Mapping[str, Probe],
    saved: checkpoints.Checkpoints,
    execution: Execution,
    after: Mapping[str, Sweep] | None = None,
    keep_trained: Callable[[TrainState], None] | None = None,
) -> records.Record:
    """Train one arm from its start, or from its last checkpoint, to its end.

    Args:
      config: options, those of this very arm where arms differ.
      arm: factors, seed, model and data.
      probes: by name; what one measures is a NamedTuple of arrays.
      saved: the arm's checkpoints.
      execution: devices, display, and when to stop.
      after: what is measured on the trained network, by name; checkpoints count its rows on from
        the steps.
      keep_trained: writes the trained network.

    Returns:
      The arm's record: `train.*` `[steps]`, `test.*` `[evaluations]`, `<probe>.*`
      `[probe_steps, …]`, `<sweep>.*` `[rows, …]`. An arm that diverges ends there; what it measured
      is kept.

    Raises:
      Interrupted: asked to stop; the state has been saved.
      RunError: this process only reads results, and the folder holds no finished run of the arm.
    """
    over = layout.batch_mesh(execution.mesh)
    program, optimizer = arms.build(config, arm, over)
    key = stream_key(arm.seed, "data")
    split = arm.dataset.train
    rows = {name: due_rows(probe, range(config.steps)) for name, probe in probes.items()}
    placed = layout.place(arm.dataset.test, execution.mesh)
    test = arms.test_probe(config, arm, placed, over)
    rows["test"] = due_rows(test, range(config.steps + 1))
    after = after or {}
    begin = functools.partial(arms.first_state, arm, optimizer, program.batch)
    state, first = jax.eval_shape(begin, key)
    record = empty_record(config, program, {**probes, "test": test}, rows, state, first)
    record |= records.empty({name: (sweep.rows, sweep.shapes) for name, sweep in after.items()})
    execution.check(record)
    end = config.steps + count_rows(after)

    host_state = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), state)
    start, tree = take_up(saved, {"state": host_state, "record": record}, execution)
    state, record = tree["state"], tree["record"]
    if record["complete"]:
        if keep_trained is not None and execution.writes and records.ended_at(record) is None:
            keep_trained(state)
        execution.display.finish(arm, record)
        return records.kept(record)
    if not execution.trains:
        raise RunError(
            f"{saved.folder} holds no finished run of {arm.label}, which another process did: "
            "--out must be a folder that all processes share"
        )
    if start == 0:
        state, _ = begin(key)
    elif execution.mesh is None:
        state = jax.device_put(state)
    state, split, key = layout.place((state, split, key), execution.mesh)
    spread = {
        name: probe._replace(measure=layout.spread_points(probe.measure, execution.mesh))
        for name, probe in probes.items()
    }
    saved_at, saved_step, took = time.monotonic(), start, 0.0

    def save(done: int) -> None:
        nonlocal saved_at, saved_step, took
        begun = time.monotonic()
        records.put(record, pending)
        pending.clear()
        if execution.writes:
            checkpoints.save(saved, done, {"state": state, "record": record})
        saved_at, saved_step = time.monotonic(), done
        took = saved_at - begun

    def keep(done: int, where: str) -> None:
        """Save if it is time to, and leave if asked to."""
        stops = execution.stops_at(done)
        waits = 60 * config.checkpoint_minutes
        waits = max(waits, took / MOST_SAVING) if waits else 0.0
        late = time.monotonic() - saved_at >= waits
        late = late or 0 < config.checkpoint_steps <= done - saved_step
        if (late or stops) and done < end:
            save(done)
            if stops:
                raise Interrupted(f"at {where} of the arm {arm.label}")

    pending: list[records.Entry] = []
    for progress in train.run(
        program,
        arm.pipeline,
        split,
        key,
        state,
        start=min(start, config.steps),
        stop=config.steps,
        probes={**spread, "test": test},
    ):
        # One step late: the numbers of a step are read while the next one is under way.
        records.put(record, pending)
        done, state = progress.stop, progress.state
        if records.ended_at(record) is not None:
            pending = []
            break
        pending = entries(progress, rows)
        execution.display.advance(arm, done, record)
        keep(done, f"step {done} of {config.steps}")
    records.put(record, pending)
    if records.ended_at(record) is None:
        final = test.measure(state, None, None)
        records.put(record, [records.Entry("test", rows["test"][config.steps], final)])
        # Each process measures these by itself, on one device, from the same state.
        trained = layout.on_one_device(state, execution.mesh)
        for row in run_sweeps(after, trained, record, start=max(0, start - config.steps)):
            records.put(record, [records.Entry(row.name, row.row, row.values)])
            execution.display.advance_rows(arm, row.name, row.row + 1, row.rows)
            keep(config.steps + row.done, f"row {row.row + 1} of {row.rows} of {row.name}")
        if keep_trained is not None and execution.writes:
            keep_trained(trained)
    record["complete"][...] = 1
    save(end)
    execution.display.finish(arm, record)
    return records.kept(record)


def take_up(
    saved: checkpoints.Checkpoints, template: dict[str, Any], execution: Execution
) -> tuple[int, dict[str, Any]]:
    """The newest sound checkpoint, as the process that writes has it."""
    if execution.writes:
        start, tree = checkpoints.restore(saved, template)
    else:
        start, tree = 0, template
    if not execution.together:
        return start, tree
    step, tree = processes.broadcast((np.int64(start), tree))
    return int(step), tree


def due_rows(probe: Probe, steps: range) -> dict[int, int]:
    """The steps at which a probe is due, each with its row in the record."""
    return {step: row for row, step in enumerate(filter(probe.when, steps))}


def empty_record(
    config: RunConfig,
    program: Program,
    probes: Mapping[str, Probe],
    rows: Mapping[str, Mapping[int, int]],
    state: TrainState,
    batch: Batch,
) -> records.Record:
    """An empty record with the shapes of all that will be measured."""
    gradient = jax.eval_shape(program.gradient, state, batch)
    _, metrics = jax.eval_shape(program.update, state, gradient)
    shapes = {
        name: jax.eval_shape(probe.measure, state, batch, gradient)
        for name, probe in probes.items()
    }
    groups = {name: (len(rows[name]), shapes[name]) for name in probes}
    return records.empty({"train": (config.steps, metrics), **groups})


def entries(progress: train.Progress, rows: Mapping[str, Mapping[int, int]]) -> list[records.Entry]:
    """What one step measured, with the rows it belongs to."""
    measured = [
        records.Entry(name, rows[name][progress.step], values)
        for name, values in progress.measured.items()
    ]
    steps = slice(progress.step, progress.stop)
    return [records.Entry("train", steps, progress.metrics), *measured]
