"""What a run will take, measured before anything of it is written: time, memory, disk.

One unit of each arm is built as the run would build it; its step, probes and evaluation are each
compiled and then run again. What is compiled stays in the cache, so the run has it already. On
an accelerator steps without a probe go in blocks, and take less than is said here.
"""

import functools
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bnjax import data
from bnjax.frame import arms, axes, layout, records, run_arm, units
from bnjax.frame.config import RunConfig
from bnjax.frame.experiment import Experiment
from bnjax.frame.streams import stream_key
from bnjax.train import TrainState
from bnjax.train.sweep import Sweep

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
        """Seconds in all."""
        return self.compile_seconds + self.times * self.seconds


class ArmPlan(NamedTuple):
    """What one arm takes for one seed."""

    label: str
    parts: tuple[Part, ...]
    state_bytes: int  # of a checkpoint
    record_bytes: int  # of its measurements

    @property
    def seconds(self) -> float:
        """Seconds in all, compilation included."""
        return sum(part.total for part in self.parts)

    @property
    def again_seconds(self) -> float:
        """Seconds in all for a further seed, whose programs are compiled."""
        return sum(part.times * part.seconds for part in self.parts)


class Plan(NamedTuple):
    """What a run takes."""

    arms: tuple[ArmPlan, ...]
    seeds: int
    at_a_time: int  # units
    memory_bytes: int  # the most that was in use while planning: of the device, or this process
    disk_bytes: int

    @property
    def seconds(self) -> float:
        """Seconds from start to end."""
        further = (self.seeds - 1) * sum(arm.again_seconds for arm in self.arms)
        return (sum(arm.seconds for arm in self.arms) + further) / self.at_a_time


def plan(experiment: Experiment, config: RunConfig) -> Iterator[ArmPlan]:
    """Measure each arm of a run for its first seed; nothing is written.

    Raises:
      UsageError: the options do not go together.
      RunError: the data set is not there.
    """
    dataset = data.load(config.dataset, config.data_dir, seed=config.seed)
    experiment.check(config, dataset)
    check = functools.partial(
        axes.check, experiment, config, axes.name_axes(experiment, config, dataset)
    )
    for unit in units.plan(config):
        if unit.seed == config.seed:
            own, arm = units.make_arm(config, dataset, unit)
            yield plan_arm(experiment, own, arm, check)


def conclude(config: RunConfig, planned: tuple[ArmPlan, ...]) -> Plan:
    """The whole run, from its arms."""
    who = layout.make_layout(config.data_devices, config.probe_devices)
    saved = (config.checkpoints_kept + 1) * sum(arm.state_bytes for arm in planned)
    measured = sum(arm.record_bytes for arm in planned)
    rows = len(planned) * config.steps * METRIC_ROW_BYTES
    return Plan(
        planned,
        config.seeds,
        min(len(planned) * config.seeds, len(who.meshes) * who.processes),
        most_memory(),
        config.seeds * (saved + measured + rows) + FIGURE_BYTES,
    )


def plan_arm(
    experiment: Experiment,
    config: RunConfig,
    arm: arms.Arm,
    check: Callable[[records.Record], None],
) -> ArmPlan:
    """Measure one arm.

    Args:
      experiment: gives the probes.
      config: the arm's own options.
      arm: factors, seed, model and data.
      check: refuses a record of other axes than the experiment says.
    """
    program, optimizer = arms.build(config, arm)
    key, split = stream_key(arm.seed, "data"), arm.dataset.train
    state, _ = arms.first_state(arm, optimizer, program.batch, key)
    order = arm.pipeline.order(key, 0)
    batch = program.batch(split, order, key, jnp.int32(0))
    probes = experiment.probes(config, arm)
    test = arms.test_probe(config, arm, arm.dataset.test, None)
    due = range(config.steps)
    rows = {name: run_arm.due_rows(probe, due) for name, probe in probes.items()}
    rows["test"] = run_arm.due_rows(test, range(config.steps + 1))
    record = run_arm.empty_record(config, program, {**probes, "test": test}, rows, state, batch)

    sweeps = experiment.after(config, arm)
    swept = records.empty({name: (sweep.rows, sweep.shapes) for name, sweep in sweeps.items()})
    check(record | swept)
    gradient = jax.block_until_ready(program.gradient(state, batch))
    parts = []
    for name, probe in {**probes, "test": test}.items():
        call = functools.partial(probe.measure, state, batch, gradient)
        part, values = measure(name, len(rows[name]), call)
        parts.append(part)
        for row in rows[name].values():  # sweeps may ask for what the probes measured
            records.put(record, [records.Entry(name, row, values)])
    parts += [measure_sweep(name, sweep, state, record) for name, sweep in sweeps.items()]
    record |= swept

    moving = [state]

    def step() -> Any:
        drawn = program.batch(split, order, key, jnp.int32(0))
        moving[0], metrics = program.update(moving[0], program.gradient(moving[0], drawn))
        return metrics

    state_bytes = count_bytes(jax.tree.leaves(state))
    parts.insert(0, measure("step", config.steps, step)[0])
    label = arms.label_of(arm.values, arm.seed).rpartition(", seed")[0]
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


def most_memory() -> int:
    """Bytes that were in use at most: of the device where it says so, else of this process."""
    stats = jax.local_devices()[0].memory_stats() or {}
    if "peak_bytes_in_use" in stats:
        return int(stats["peak_bytes_in_use"])
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
