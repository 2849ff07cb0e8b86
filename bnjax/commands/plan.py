"""What a run will take, measured before anything of it is written: time, memory, disk.

One job of each arm is built as the run would build it; its step, probes and evaluation are each
compiled and then run again. What is compiled stays in the cache, so the run has it already. On
an accelerator steps without a probe go in blocks, and take less than is said here.
"""

import functools
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from rich.table import Table

from bnjax.frame import files, folder, job, layout, messages, records
from bnjax.frame.arm import Arm, load_data, make_arm
from bnjax.frame.layout import make_layout
from bnjax.frame.messages import printable
from bnjax.frame.run import compare
from bnjax.frame.study import Study
from bnjax.train import TrainState
from bnjax.train.loop import Sweep

FIGURE_BYTES = 8 * 2**20  # figures as PNG, PDF, SVG and CSV, and the page: about so much
METRIC_ROW_BYTES = 150  # a line of metrics.jsonl: about so much
SHORT = 2.0  # seconds


class Part(NamedTuple):
    """One of the things that an arm does over and over."""

    name: str
    times: int
    seconds: float  # each
    compile_seconds: float

    @property
    def total(self) -> float:
        return self.compile_seconds + self.times * self.seconds


class ArmPlan(NamedTuple):
    """What one arm takes for one seed."""

    label: str
    parts: tuple[Part, ...]
    state_bytes: int  # of a checkpoint
    record_bytes: int  # of its measurements

    @property
    def seconds(self) -> float:
        return sum(part.total for part in self.parts)


class Plan(NamedTuple):
    """What a run takes."""

    seconds: float  # from start to end
    at_a_time: int  # jobs
    memory_bytes: int  # the most that was in use while planning: of the device, or this process
    disk_bytes: int


def plan(study: Study, options: Any) -> Iterator[ArmPlan]:
    """Measure each arm of a run for its first seed; nothing is written."""
    dataset = load_data(options)
    study.part("check", lambda options, dataset: None)(options, dataset)
    axes = records.axis_values(study, options, dataset)
    for values, seed in job.plan(options):
        if seed == options.seed:
            yield plan_arm(study, options, make_arm(study, options, dataset, values, seed), axes)


def conclude(options: Any, arms: Sequence[ArmPlan]) -> Plan:
    """The whole run, from its arms; for a further seed their programs are compiled."""
    who = make_layout(options.data_devices, options.probe_devices)
    # Jobs side by side on one CPU share its cores.
    meshes = len(set(who.meshes)) if None in who.meshes else len(who.meshes)
    at_a_time = min(len(arms) * options.seeds, meshes * who.processes)
    again = sum(part.times * part.seconds for arm in arms for part in arm.parts)
    seconds = sum(arm.seconds for arm in arms) + (options.seeds - 1) * again
    saved = (options.checkpoints_kept + 1) * sum(arm.state_bytes for arm in arms)
    measured = sum(arm.record_bytes for arm in arms)
    rows = len(arms) * options.steps * METRIC_ROW_BYTES
    disk_bytes = options.seeds * (saved + measured + rows) + FIGURE_BYTES
    return Plan(seconds / at_a_time, at_a_time, layout.most_memory(), disk_bytes)


def plan_arm(study: Study, options: Any, arm: Arm, axes: Mapping[str, np.ndarray]) -> ArmPlan:
    program, begin, probes, sweeps, rows, layout, _ = job.set_up(study, arm)
    record = records.empty(layout)
    records.check(study, options, axes, layout, record)
    key, split = arm.key("data"), arm.dataset.train
    state, batch = begin(key)
    order = arm.pipeline.order(key, 0)
    gradient = jax.block_until_ready(program.gradient(state, batch))
    parts = []
    for name, probe in probes.items():
        call = functools.partial(probe.measure, state, batch, gradient)
        part, values = measure(name, len(rows[name]), call)
        parts.append(part)
        if rows[name]:  # sweeps may ask for what the probes measured
            records.put(record, [records.Entry(name, 0, values)])
        for field in layout[name].shapes._fields:
            record[f"{name}_{field}"][:] = record[f"{name}_{field}"][:1]
    parts += [measure_sweep(name, sweep, state, record) for name, sweep in sweeps.items()]

    moving = [state]

    def step() -> Any:
        drawn = program.batch(split, order, key, jnp.int32(0))
        moving[0], metrics = program.update(moving[0], program.gradient(moving[0], drawn))
        return metrics

    state_bytes = count_bytes(jax.tree.leaves(state))
    parts.insert(0, measure("step", arm.options.steps, step)[0])
    label = arm.label.rpartition(", seed")[0]
    return ArmPlan(label, tuple(parts), state_bytes, count_bytes(record.values()))


def measure(name: str, times: int, call: Callable[[], Any]) -> tuple[Part, Any]:
    """Time a call and hand on what it gave: the first one compiles, the second one counts.

    A short one is made a third time, and the faster of the two counts: of what takes long, what
    else the machine does is a small part, and a plan is not to take a run's time.
    """
    seconds: list[float] = []
    while len(seconds) < 2 or (len(seconds) < 3 and seconds[1] < SHORT):
        started = time.perf_counter()
        value = jax.block_until_ready(call())
        seconds.append(time.perf_counter() - started)
    again = min(seconds[1:])
    return Part(name, times, again, max(0.0, seconds[0] - again)), value


def measure_sweep(
    name: str, sweep: Sweep, state: TrainState, measured: Mapping[str, np.ndarray]
) -> Part:
    """Time the rows of a sweep; to begin one counts as compiling it."""
    started = time.perf_counter()
    measure_row = sweep.begin(state, measured)
    begun = time.perf_counter() - started
    part, _ = measure(name, sweep.rows, lambda: measure_row(0))
    return part._replace(compile_seconds=part.compile_seconds + begun)


def count_bytes(leaves: Any) -> int:
    """Bytes of arrays; a PRNG key counts as its data."""
    return sum(int(leaf.nbytes) for leaf in leaves)


def show(study: Study, options: Any) -> None:
    """Measure and print what a run would take; nothing is written but compiled programs."""
    layout.enable()
    console = messages.terminal()
    path = options.out / study.name / folder.digest(options)
    finished = folder.is_finished(path) and not options.fresh
    if finished or (not options.fresh and (path / folder.CONFIG).exists()):
        compare(study, options, layout.ALONE, path)  # refuses what the run itself would refuse
    if finished:
        console.print(f"finished before: {printable(path)}; it took")
        show_taken(path)
        return
    arms = []
    for arm in plan(study, options):
        arms.append(arm)
        console.print(f"{printable(arm.label)}: {duration(arm.seconds)}")
    found = conclude(options, arms)
    console.print(table(arms))
    seeds = "" if options.seeds == 1 else f", {options.seeds} seeds"
    together = "" if found.at_a_time == 1 else f", {found.at_a_time} at a time"
    console.print(
        f"time: {duration(found.seconds)} ({len(arms)} arms{seeds}{together}), and what it takes "
        "to start and to draw"
    )
    console.print(f"memory: {size(found.memory_bytes)} at most while this was measured")
    console.print(f"disk: {size(found.disk_bytes)} in {printable(path)}")
    if path.exists():
        console.print("it was begun: what is done already is not taken off")


def show_taken(path: Path) -> None:
    """Print what a finished run took."""
    console, sessions = messages.terminal(), folder.read_sessions(path)
    if sessions:
        several = "" if len(sessions) == 1 else f", in {len(sessions)} sessions"
        console.print(f"time: {duration(sum(one.seconds for one in sessions))}{several}")
        console.print(f"memory: {size(max(one.memory_bytes for one in sessions))} at most")
    else:
        console.print("time, memory: not recorded in its folder")
    sizes = [(path / name).lstat().st_size for name in files.names(path)]
    console.print(f"disk: {size(sum(sizes))} in {len(sizes)} files")


def table(arms: Sequence[ArmPlan]) -> Table:
    parts = [(arm.label, part) for arm in arms for part in arm.parts]
    columns = {
        "arm": [printable(label) for label, _ in parts],
        "part": [printable(part.name.lstrip("_")) for _, part in parts],
        "times": [f"{part.times:,}" for _, part in parts],
        "each": [duration(part.seconds) for _, part in parts],
        "compiling": [duration(part.compile_seconds) for _, part in parts],
        "in all": [duration(part.total) for _, part in parts],
    }
    return messages.table(columns, whole=("times", "each", "compiling", "in all"))


def duration(seconds: float) -> str:
    """A time for a person.

    Example:
      >>> duration(0.0123), duration(75.0), duration(7300.0)
      ('12.3 ms', '75 s', '2.0 h')
    """
    if seconds < 1:
        return f"{1000 * seconds:.3g} ms"
    if seconds < 120:
        return f"{seconds:.3g} s"
    return f"{seconds / 60:.3g} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def size(count: int) -> str:
    """Bytes for a person.

    Example:
      >>> size(1500), size(3 * 2**30)
      ('1.5 KiB', '3 GiB')
    """
    for unit, bytes_each in (("GiB", 2**30), ("MiB", 2**20)):
        if count >= bytes_each:
            return f"{count / bytes_each:.3g} {unit}"
    return f"{count / 1024:.2g} KiB"
