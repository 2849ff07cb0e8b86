"""A job is one arm for one seed: train, probe, evaluate, save, resume; and many jobs on devices."""

import contextlib
import functools
import queue
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType, SimpleNamespace
from typing import Any, NamedTuple, TypeVar

import jax
import numpy as np
from jax.sharding import Mesh

from bnjax import train
from bnjax.data import Batch, Dataset
from bnjax.errors import RunError, UsageError, told
from bnjax.frame import checkpoints, disk, files, folder, layout, processes, recording, records
from bnjax.frame.arm import (
    Arm,
    arm_values,
    build_program,
    first_state,
    label_of,
    make_arm,
    test_probe,
)
from bnjax.frame.interrupts import Interrupted
from bnjax.frame.listener import SILENT, Listener
from bnjax.frame.messages import warn
from bnjax.frame.study import Study, place_in_plugin
from bnjax.train import Measurement, Program, TrainState
from bnjax.train.loop import Sweep, count_rows, run_sweeps
from bnjax.train.step import Gradient
from bnjax.types import PRNGKey

MOST_SAVING = 0.02  # of the time, where saves are due by time: large states are saved less often
Result = TypeVar("Result")


class Job(NamedTuple):
    """One arm for one seed: independent of all others, with a folder of its own."""

    values: Mapping[str, Any]  # of the study's factors
    seed: int

    @property
    def label(self) -> str:
        return label_of(self.values, self.seed)

    @property
    def folder(self) -> str:
        return folder.safe_name((*self.values.values(), self.seed))


class Execution(NamedTuple):
    """How a job is carried out; nothing of it changes what is measured."""

    listener: Listener = SILENT
    mesh: Mesh | None = None  # devices of this job; None: the one there is
    # Asked after each step or row, counted from 1: whether to save and leave now.
    stops_at: Callable[[int], bool] = lambda done: False
    together: bool = False  # all processes work on the same job, in step
    writes: bool = True  # False in a process that another one writes for
    trains: bool = True  # False: only read what another process has finished
    # Refuses an empty record whose shapes are not those that its fields declare.
    check: Callable[[records.Layout, records.Record], None] = lambda layout, record: None
    known: dict[str, Any] | None = None  # shapes of arms that were set up, see `set_up`
    check_place: Callable[[], None] = lambda: None  # refuses a run folder that was moved
    config: Mapping[str, Any] = MappingProxyType({})  # content of the run's `config.json`


def plan(options: Any) -> list[Job]:
    seeds = range(options.seed, options.seed + options.seeds)
    jobs = [Job(values, seed) for values in arm_values(options) for seed in seeds]
    named: dict[str, Job] = {}  # some file systems take capital letters for small ones
    for one in jobs:
        if (other := named.setdefault(one.folder.casefold(), one)) is not one:
            raise UsageError(
                f"the arms {other.label} and {one.label} would have one folder, {one.folder}: give "
                "their factors values that differ"
            )
    return jobs


def run_job(
    study: Study, options: Any, dataset: Dataset, path: Path, job: Job, execution: Execution
) -> records.Record:
    """Carry out one job; where memory is short, with fewer points at a time."""
    arm = make_arm(study, options, dataset, *job)
    saved = checkpoints.Checkpoints(
        path / folder.CHECKPOINTS / arm.folder,
        f"{path.name}/{arm.folder}",
        kept=options.checkpoints_kept,
        config=execution.config,
        begun=folder.deciding(execution.config.get("fingerprint", {})),
    )
    while True:
        try:
            return run_arm(study, arm, saved, execution, path)
        except jax.errors.JaxRuntimeError as error:
            if execution.together:  # in step with the others, or not at all
                raise RunError(processes.explain(error)) from error
            if "RESOURCE_EXHAUSTED" not in str(error) and "out of memory" not in str(error).lower():
                raise
            fewer = study.part("fewer_points", lambda options: None)(arm.options)
            if fewer is None:
                raise MemoryError(
                    f"{arm.options.batch_size} examples at a time are more than the memory holds: "
                    "give a smaller --batch-size or --width, or --microbatches"
                ) from None
        warn(
            f"{arm.label}: out of memory; from the last checkpoint on "
            f"{' '.join(map(str, fewer.values()))} points are probed at a time"
        )
        arm = arm._replace(options=SimpleNamespace(**{**vars(arm.options), **fewer}))


def run_arm(
    study: Study, arm: Arm, saved: checkpoints.Checkpoints, execution: Execution, path: Path
) -> records.Record:
    """Train one arm from its start, or from its last checkpoint, to its end.

    The record holds `train_*` `[steps]`, `test_*` `[evaluations]`, `<probe>_*` `[probe_steps, …]`
    and `<sweep>_*` `[rows, …]`. An arm that diverges ends there; what it measured is kept.
    """
    steps, key, split = arm.options.steps, arm.key("data"), arm.dataset.train
    program, begin, probes, sweeps, rows, shape, shapes = set_up(
        study, arm, execution.mesh, execution.known
    )
    keep = study.part("keep") if execution.writes else None
    record = records.empty(shape)
    execution.check(shape, record)
    end = steps + count_rows(sweeps)

    host_state = jax.tree.map(lambda leaf: np.zeros(leaf.shape, leaf.dtype), shapes)
    template: dict[str, Any] = {"state": host_state, "record": record}
    start, tree = checkpoints.restore(saved, template) if execution.writes else (0, template)
    if execution.together:  # as the process that writes has it
        step, tree = processes.broadcast((np.int64(start), tree))
        start = int(step)
    state, record = tree["state"], tree["record"]

    def write_trained(state: TrainState) -> None:
        if keep is not None:
            disk.make_folder(path / folder.MODELS)
            files.write_npz(path / folder.MODELS / f"{arm.folder}.npz", keep(arm, state))

    if record["complete"]:
        if records.ended_at(record) is None:
            write_trained(state)
        execution.listener.finish(arm, record)
        return records.published(record)
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
        if name != "test"
    }
    if execution.mesh is None and program.block is None:  # where each step is a call of its own
        first = min(start, steps)

        def tell(state: TrainState, batch: Batch, gradient: Gradient) -> None:
            del state, batch  # before any probe is compiled
            execution.listener.begin(arm, first, float(gradient.minibatch_loss))

        spread = {"": Measurement(lambda step: step == first, tell), **spread}
    saved_at, saved_step, took = time.monotonic(), start, 0.0
    pending: list[records.Entry] = []

    def save(done: int) -> None:
        nonlocal saved_at, saved_step, took
        begun = time.monotonic()
        records.put(record, pending)
        pending.clear()
        if execution.writes:
            execution.check_place()
            checkpoints.save(saved, done, {"state": state, "record": record})
        saved_at, saved_step = time.monotonic(), done
        took = saved_at - begun

    def save_if_due(done: int, where: str) -> None:
        stops = execution.stops_at(done)
        waits = 60 * arm.options.checkpoint_minutes
        waits = max(waits, took / MOST_SAVING) if waits else 0.0
        late = time.monotonic() - saved_at >= waits
        late = late or 0 < arm.options.checkpoint_steps <= done - saved_step
        if (late or stops) and done < end:
            save(done)
            if stops:
                raise Interrupted(f"at {where} of the arm {arm.label}")

    for progress in train.run(
        program,
        arm.pipeline,
        split,
        key,
        state,
        start=min(start, steps),
        stop=steps,
        probes={**spread, "test": probes["test"]},
    ):
        # One step late: the numbers of a step are read while the next one is under way.
        records.put(record, pending)
        pending.clear()
        done, state = progress.stop, progress.state
        if records.ended_at(record) is not None:
            break
        pending.append(records.Entry("train", slice(progress.step, done), progress.metrics))
        pending += [
            records.Entry(name, rows[name][progress.step], values)
            for name, values in progress.measured.items()
            if name
        ]
        execution.listener.advance(arm, done, record)
        save_if_due(done, f"step {done} of {steps}")
    records.put(record, pending)
    if records.ended_at(record) is None:
        final = probes["test"].measure(state, None, None)
        records.put(record, [records.Entry("test", rows["test"][steps], final)])
        # Each process measures these by itself, on one device, from the same state.
        trained = layout.on_one_device(state, execution.mesh)
        for row in run_sweeps(sweeps, trained, record, start=max(0, start - steps)):
            records.put(record, [records.Entry(row.name, row.row, row.values)])
            execution.listener.advance_rows(arm, row.name, row.row + 1, row.rows)
            save_if_due(steps + row.done, f"row {row.row + 1} of {row.rows} of {row.name}")
        write_trained(trained)
    record["complete"][...] = 1
    save(end)
    execution.listener.finish(arm, record)
    return records.published(record)


class SetUp(NamedTuple):
    """What an arm runs and measures, and when."""

    program: Program
    begin: Callable[[PRNGKey], tuple[TrainState, Batch]]  # the first state and batch
    probes: Mapping[str, Measurement]  # evaluation on the test set is named `test`
    sweeps: Mapping[str, Sweep]
    rows: Mapping[str, Mapping[int, int]]  # of each probe: its row in the record, by step
    layout: records.Layout
    shapes: TrainState


def set_up(
    study: Study, arm: Arm, mesh: Mesh | None = None, known: dict[str, Any] | None = None
) -> SetUp:
    """The programs of an arm, and the shapes and axes of what it measures; nothing is computed.

    Args:
      study: gives the probes and the sweeps after training.
      arm: factors, seed, options, model and data.
      mesh: its devices.
      known: the shapes of arms that differ in seed only, by their factors; tracing costs seconds.
    """
    over, steps = layout.batch_mesh(mesh), arm.options.steps
    program = build_program(arm, over)
    probes = dict(study.part("probes", lambda arm: {})(arm))
    sweeps: Mapping[str, Sweep] = study.part("after", lambda arm: {})(arm)
    own = {"train", "test", *([recording.NAME] if arm.options.watch else [])}
    if taken := probes.keys() & own | (own | probes.keys()) & sweeps.keys():
        raise UsageError(f"two probes or sweeps are named {min(taken)}: give one another name")
    if arm.options.watch:
        probes[recording.NAME] = recording.recording(arm)
    probes["test"] = test_probe(arm, layout.place(arm.dataset.test, mesh), over)
    rows = {
        name: {step: row for row, step in enumerate(filter(probe.when, range(steps + 1)))}
        for name, probe in probes.items()
    }
    for name in rows.keys() - {"test"}:  # after the last step there is evaluation alone
        rows[name].pop(steps, None)
    begin = functools.partial(first_state, arm, arm.optimizer, program.batch)
    known = {} if known is None else known
    if (values := repr(arm.values)) not in known:
        state, batch = jax.eval_shape(begin, arm.key("data"))
        gradient = jax.eval_shape(program.gradient, state, batch)
        _, metrics = jax.eval_shape(program.update, state, gradient)
        found = {"train": records.Group(steps, metrics, ("step",))}
        for name, probe in probes.items():
            trace = functools.partial(jax.eval_shape, probe.measure)
            shapes = (probe.shapes or trace)(state, batch, gradient)
            found[name] = records.Group(len(rows[name]), shapes, (probe.axis, *probe.leading))
        for name, sweep in sweeps.items():
            found[name] = records.Group(sweep.rows, sweep.shapes, (sweep.axis,))
        known[values] = found, state
    return SetUp(program, begin, probes, sweeps, rows, *known[values])


def run_jobs(
    jobs: Sequence[Job],
    work: Callable[[Job, Mesh | None], Result],
    meshes: Sequence[Mesh | None],
    *,
    stopped: Callable[[], bool],
    debug: bool = False,
) -> list[Result]:
    """Carry out jobs in their order, one at a time on each mesh; of several each has a thread.

    A job that fails does not stop the others; only what they all depend on, such as the disk, does
    (`RunError`), as does a wrong call (`UsageError`) and a request to stop (`Interrupted`).
    """
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    # All arms of a seed before those of the next: what is compiled at a time differs.
    for number in sorted(range(len(jobs)), key=lambda number: jobs[number].seed):
        waiting.put(number)
    results: dict[int, Result] = {}
    failures: list[tuple[str, BaseException]] = []
    ended: list[BaseException] = []

    def take(mesh: Mesh | None) -> None:
        while not (ended or stopped()):
            try:
                number = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                results[number] = work(jobs[number], mesh)
            except (Interrupted, RunError, UsageError) as error:
                ended.append(error)
            except KeyboardInterrupt:
                raise
            except BaseException as error:  # whatever a network or a probe raises
                if not (isinstance(error, Exception | SystemExit) or place_in_plugin(error)):
                    raise
                if debug:
                    ended.append(error)
                failures.append((jobs[number].label, error))

    if len(meshes) == 1 or len(jobs) == 1:
        take(meshes[0])
    else:
        in_threads(take, meshes)
    if ended:
        raise ended[0]
    if len(results) + len(failures) < len(jobs):
        raise Interrupted(f"with {len(results)} of {len(jobs)} arms done")
    if failures:
        label, first = failures[0]
        more = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
        kept = "the others are done and kept, " if results else ""
        raise RunError(
            f"{len(failures)} of {len(jobs)} arms failed: {label}{more}: {type(first).__name__}: "
            f"{told(first, 500)}{place_in_plugin(first)}: {kept}the same command tries again; "
            "--debug shows where"
        ) from first
    return [results[number] for number in range(len(jobs))]


def surroundings() -> dict[str, Any]:
    """JAX's settings in this thread that `with jax.enable_x64(True):` and its kind change there."""
    found = {name.removeprefix("jax_"): value for name, value in jax.config.values.items()}
    return {name: value for name, value in found.items() if callable(vars(jax).get(name))}


def in_threads(take: Callable[[Mesh | None], None], meshes: Sequence[Mesh | None]) -> None:
    """Call a function for each mesh, each in a thread with the JAX settings of this one."""
    working: list[threading.Event] = []
    given = surroundings()

    def take_and_say(mesh: Mesh | None) -> None:
        working.append(over := threading.Event())
        try:
            with contextlib.ExitStack() as held:
                for name, value in surroundings().items():
                    if value != given[name]:
                        held.enter_context(getattr(jax, name)(given[name]))
                take(mesh)
        finally:
            over.set()

    threads = [threading.Thread(target=take_and_say, args=[mesh], daemon=True) for mesh in meshes]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    except KeyboardInterrupt:  # at a second signal: they save what they are at, and write here
        # Not by `join`: before Python 3.13 a thread whose join was interrupted counts as ended.
        for over in working:
            over.wait()
        raise
