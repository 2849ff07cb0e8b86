"""One arm of an experiment for one seed: train, probe, evaluate, save, resume."""

import functools
import time
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
import optax

from bnjax import training
from bnjax.arithmetic.selection import EVERYTHING, Selection
from bnjax.data import Batch, Dataset, Pipeline
from bnjax.losses import OBJECTIVES
from bnjax.models import Model
from bnjax.runs import checkpoints, records
from bnjax.runs.config import RunConfig, stream_key
from bnjax.runs.interrupts import Interrupted, StopRequest
from bnjax.training import Probe, Program, TrainState, optimizers
from bnjax.training.sweep import Sweep, count_rows, run_sweeps

SECONDS_BETWEEN_CHECKPOINTS = 60.0
ACCELERATOR_BLOCK_STEPS = 64


class Arm(NamedTuple):
    """What is known of an arm before its first step."""

    values: Mapping[str, Any]  # of the experiment's factors: normaliser, learning rate, …
    seed: int
    model: Model
    dataset: Dataset
    pipeline: Pipeline
    selection: Selection = EVERYTHING  # of the parameters that are trained

    @property
    def label(self) -> str:
        """How messages name it."""
        named = (
            value if isinstance(value, str) else f"{name} {value:g}"
            for name, value in self.values.items()
        )
        return f"{', '.join(named)}, seed {self.seed}"

    @property
    def folder(self) -> str:
        """The name of its folder of checkpoints."""
        return "-".join(f"{value}" for value in (*self.values.values(), self.seed))


@runtime_checkable
class Display(Protocol):
    """Who shows how far a run is."""

    def advance(self, arm: Arm, done: int, record: records.Record) -> None:
        """`done` steps of the arm are done."""

    def advance_rows(self, arm: Arm, sweep: str, done: int, rows: int) -> None:
        """After training, `done` of the rows of a sweep are done."""


def run_arm(
    config: RunConfig,
    arm: Arm,
    probes: Mapping[str, Probe],
    saved: checkpoints.Checkpoints,
    display: Display,
    stop: StopRequest,
    after: Mapping[str, Sweep] | None = None,
    keep_trained: Callable[[TrainState], None] | None = None,
) -> records.Record:
    """Train one arm from its start, or from its last checkpoint, to its end.

    Args:
      config: options, those of this very arm where arms differ.
      arm: factors, seed, model and data.
      probes: by name; what one measures is a NamedTuple of arrays.
      saved: the arm's checkpoints.
      display: is told of each step.
      stop: asked after each step.
      after: what is measured on the trained network, by name; checkpoints count its rows on from
        the steps.
      keep_trained: writes the trained network.

    Returns:
      The arm's record: `train.*` `[steps]`, `test.*` `[evaluations]`, `<probe>.*`
      `[probe_steps, …]`, `<sweep>.*` `[rows, …]`. An arm that diverges ends there; what it measured
      is kept.

    Raises:
      Interrupted: a signal came; the state has been saved.
    """
    program, optimizer = build(config, arm)
    key = stream_key(arm.seed, "data")
    split = arm.dataset.train
    first = program.batch(split, arm.pipeline.order(key, 0), key, jnp.int32(0))
    state = training.init_state(
        arm.model, optimizer, stream_key(arm.seed, "init"), first.images, arm.selection
    )
    rows = {name: due_rows(probe, range(config.steps)) for name, probe in probes.items()}
    test = test_probe(config, arm)
    rows["test"] = due_rows(test, range(config.steps + 1))
    probes = {**probes, "test": test}
    after = after or {}
    record = empty_record(config, program, probes, rows, state, first)
    record |= records.empty({name: (sweep.rows, sweep.shapes) for name, sweep in after.items()})
    end = config.steps + count_rows(after)

    start, tree = checkpoints.restore(saved, {"state": state, "record": record})
    state, record = tree["state"], tree["record"]
    if record["complete"]:
        return records.published(record)
    saved_at = time.monotonic()

    def keep(done: int, where: str) -> None:
        """Save if it is time to, and leave if asked to."""
        nonlocal saved_at
        late = time.monotonic() - saved_at >= SECONDS_BETWEEN_CHECKPOINTS
        if (late or stop.received) and done < end:
            records.put(record, pending)
            pending.clear()
            checkpoints.save(saved, done, {"state": state, "record": record})
            saved_at = time.monotonic()
            if stop.received:
                raise Interrupted(f"at {where} of the arm {arm.label}")

    pending: list[records.Entry] = []
    for progress in training.run(
        program,
        arm.pipeline,
        split,
        key,
        state,
        start=min(start, config.steps),
        stop=config.steps,
        probes=probes,
    ):
        # One step late: the numbers of a step are read while the next one is under way.
        records.put(record, pending)
        done, state = progress.stop, progress.state
        if records.ended_at(record) is not None:
            pending = []
            break
        pending = entries(progress, rows)
        display.advance(arm, done, record)
        keep(done, f"step {done} of {config.steps}")
    records.put(record, pending)
    if records.ended_at(record) is None:
        final = test.measure(state, None, None)
        records.put(record, [records.Entry("test", rows["test"][config.steps], final)])
        for row in run_sweeps(after, state, record, start=max(0, start - config.steps)):
            records.put(record, [records.Entry(row.name, row.row, row.values)])
            display.advance_rows(arm, row.name, row.row + 1, row.rows)
            keep(config.steps + row.done, f"row {row.row + 1} of {row.rows} of {row.name}")
        if keep_trained is not None:
            keep_trained(state)
    record["complete"][...] = 1
    checkpoints.save(saved, end, {"state": state, "record": record})
    return records.published(record)


def build(config: RunConfig, arm: Arm) -> tuple[Program, optax.GradientTransformation]:
    """The compiled program and the optimiser of an arm."""
    optimizer = optimizers.build(config.optimizer_rule, config.lr)
    program = compile_program(
        arm.model.initialised,
        config.optimizer_rule,
        arm.pipeline,
        objective=OBJECTIVES[config.objective],
        precision=config.precision,
        selection=arm.selection,
        microbatches=config.microbatches,
        # On the CPU starting a program costs nothing beside a step, and single steps give training
        # the same bits whether a probe rides along or not.
        block_steps=1 if jax.default_backend() == "cpu" else ACCELERATOR_BLOCK_STEPS,
    )
    return program, optimizer


@functools.lru_cache(maxsize=16)
def compile_program(
    model: Model,
    rule: optimizers.Rule,
    pipeline: Pipeline,
    **options: Any,
) -> Program:
    """The program of all arms that differ in seed, initialiser or learning rate only.

    The learning rate is in the optimiser's state; the one given here is never used.
    """
    return training.make_program(model, optimizers.build(rule, 0.0), pipeline, **options)


def test_probe(config: RunConfig, arm: Arm) -> Probe:
    """Evaluation on the whole test set, with running statistics, as one more probe."""
    evaluate = training.make_evaluate(
        arm.model, arm.dataset, objective=OBJECTIVES[config.objective]
    )

    def measure(
        state: TrainState, batch: Batch | None, gradient: training.Gradient | None
    ) -> training.Evaluation:
        del batch, gradient  # the whole test set instead
        return evaluate(state.params, state.batch_stats, arm.dataset.test)

    return Probe(training.every(config.evaluate_every, last=config.steps), measure)


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


def entries(
    progress: training.Progress, rows: Mapping[str, Mapping[int, int]]
) -> list[records.Entry]:
    """What one step measured, with the rows it belongs to."""
    measured = [
        records.Entry(name, rows[name][progress.step], values)
        for name, values in progress.measured.items()
    ]
    steps = slice(progress.step, progress.stop)
    return [records.Entry("train", steps, progress.metrics), *measured]
