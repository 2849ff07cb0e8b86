"""From a command line to a finished run folder: the frame that every experiment script fills."""

import contextlib
import dataclasses
import itertools
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from bnjax import data, losses, models
from bnjax.errors import RunError, UsageError
from bnjax.runs import (
    arms,
    cache,
    checkpoints,
    console,
    folder,
    layout,
    lock,
    plugins,
    processes,
    records,
    results,
    units,
    verify,
)
from bnjax.runs.config import RunConfig
from bnjax.runs.fingerprint import LAYOUT, fingerprint
from bnjax.runs.interrupts import Interrupted, stop_on_signals
from bnjax.runs.messages import complain, warn
from bnjax.runs.printable import printable
from bnjax.runs.published import Published, read_published
from bnjax.training import Probe, TrainState
from bnjax.training.sweep import Sweep


class Experiment(NamedTuple):
    """What an experiment adds to the frame; each part knows nothing of the others."""

    name: str
    description: str
    presets: Mapping[str, RunConfig]
    probes: Callable[[Any, arms.Arm], Mapping[str, Probe]]
    dims: Mapping[str, Mapping[str, tuple[str, ...]]]  # of each probe's fields, after its steps
    axes: Callable[[Any], Mapping[str, Sequence[Any]]]  # values of the axes named in `dims`
    claims: Callable[[results.Results], Sequence[Any]]
    draw: Callable[[results.Results, Published, Path], Sequence[Path]]
    # Measurements after training, and the axis of the rows of each.
    after: Callable[[Any, arms.Arm], Mapping[str, Sweep]] = lambda config, arm: {}
    rows: Mapping[str, str] = {}
    # Arrays of the trained network, for a file of its own.
    keep: Callable[[Any, arms.Arm, TrainState], Mapping[str, np.ndarray]] | None = None
    # Refuses, before anything is written, what is wrong with this data set.
    check: Callable[[Any, data.Dataset], None] = lambda config, dataset: None


def main(experiment: Experiment, arguments: Sequence[str] | None = None) -> int:
    """Run an experiment from the command line.

    Args:
      experiment: the experiment.
      arguments: the command line without the program's name; by default the process's own.

    Returns:
      The exit status: 0, 2 for a wrong call, 1 for any other failure, 130 after a signal.
    """
    arguments = sys.argv[1:] if arguments is None else arguments

    def act() -> None:
        config = console.parse(experiment.presets, arguments, experiment.description)
        if config.deterministic:
            cache.make_deterministic()
        layout.prepare(config.data_devices, config.probe_devices)
        if config.distributed:
            config.validate_conduct()
            processes.join(config.heartbeat_seconds)
        plugins.load(config.plugins)
        config.validate()
        run(experiment, config)

    status = guarded(act, arguments)
    processes.leave(status)
    return status


def guarded(act: Callable[[], int | None], arguments: Sequence[str]) -> int:
    """Do something for a person: whatever goes wrong becomes one line and an exit status.

    Args:
      act: what to do; may return an exit status other than 0.
      arguments: the command line, asked for `--debug`.

    Returns:
      The exit status, as `main` has it.
    """
    try:
        return act() or 0
    except UsageError as error:
        return fail(error, arguments, status=2)
    except Interrupted as error:
        print(
            f"interrupted {error}; everything is saved: the same command goes on", file=sys.stderr
        )
        return 130
    except KeyboardInterrupt:
        print(
            "interrupted at once: the same command goes on from the last checkpoint",
            file=sys.stderr,
        )
        return 130
    except Exception as error:  # whatever it is, a person gets one line
        return fail(error, arguments, status=1)


def fail(error: Exception, arguments: Sequence[str], status: int) -> int:
    """Say in one line what went wrong; with `--debug`, raise it instead."""
    if "--debug" in arguments:
        raise error
    known = type(error).__module__ == "bnjax.errors"
    message = " ".join(str(error).split())
    kind = "" if known else f"{type(error).__name__}: "
    hint = "" if known else " (--debug shows where)"
    if not known and processes.several():
        message = processes.explain(error)
    complain(f"{kind}{message}{hint}")
    return status


def run(experiment: Experiment, config: RunConfig) -> Path:
    """Run all arms and seeds that are not done yet; write results, figure and claims.

    Returns:
      The run folder.
    """
    cache.enable()
    terminal = console.terminal()
    who = layout.make_layout(config.data_devices, config.probe_devices)
    path = config.out / experiment.name / folder.digest(config)
    published = read_published(config.published) if config.published else {}
    with contextlib.ExitStack() as held:
        watch = held.enter_context(processes.watched(config.heartbeat_seconds))

        def begin() -> int:
            """Whether the run is finished; asked, and the folder locked, by one process."""
            finished = folder.is_finished(path) and not config.fresh
            if finished:
                folder.read_config(path)  # refuses one that is damaged
            if finished and not verify.damaged_results(path):
                return 1
            held.enter_context(lock.hold(path))
            if finished:
                verify.set_damaged_aside(path, warn)
            return 0

        finished = processes.agree(begin)
        if not finished:
            complete(experiment, config, published, terminal, who, watch)
        elif who.writes:
            terminal.print(f"finished before: {printable(path)}")
            if published:
                experiment.draw(results.read(path), published, path)
                folder.renew_summary(path)
    if who.writes:
        report(terminal, path)
    return path


def complete(
    experiment: Experiment,
    config: RunConfig,
    published: Published,
    terminal: console.Console,
    who: layout.Layout,
    watch: processes.Watch,
) -> None:
    """Run what is not done yet in a folder that no other job uses."""
    dataset = data.load(config.dataset, config.data_dir, seed=config.seed)
    planned = plan(config)
    for values, _ in planned:  # refuses impossible batches before anything is written
        config.for_arm(values).validate_conduct()
        data.make_pipeline(dataset, config.for_arm(values).batch_size)
    experiment.check(config, dataset)
    chance = losses.chance(losses.OBJECTIVES[config.objective], dataset)
    facts = {**fingerprint(who), "dataset": dataset.note, "chance_loss": chance}
    path = config.out / experiment.name / folder.digest(config)

    def open_folder() -> int:
        folder.open_folder(
            config.out, experiment.name, config, facts, fresh=config.fresh, layout=LAYOUT
        )
        return 0

    processes.agree(open_folder)
    if who.writes:
        terminal.print(f"{dataset.note}; {describe(facts)}; {printable(path)}")

    polls = itertools.count()
    own_units = [(values, seed) for values, seed in who.own(planned)]
    with (
        stop_on_signals(not who.together) as stop,
        console.display(len(own_units), silent=not who.writes_units) as display,
    ):

        def stops_at(done: int) -> bool:
            watch.move()
            if who.together:  # every process asks as often, so all leave at the same step
                return processes.told_to_stop(next(polls))
            return stop.received

        def work(unit: tuple[Mapping[str, Any], int], mesh: Any) -> records.Record:
            conduct = arms.Conduct(display, mesh, stops_at, who.together, who.writes_units)
            try:
                return run_unit(experiment, config, dataset, path, unit, conduct)
            except jax.errors.JaxRuntimeError as error:
                if who.together:  # in step with the others, or not at all
                    raise RunError(processes.explain(error)) from error
                raise

        def run_own() -> list[records.Record]:
            return units.run_units(
                own_units,
                work,
                who.meshes,
                label=lambda unit: arms.label_of(*unit),
                stopped=lambda: stop.received,
                debug=config.debug,
            )

        finished = run_own()
        processes.wait_for_all("units")
        if who.writes:
            if len(own_units) < len(planned):  # those of other processes are read from the folder
                done = arms.Conduct(display, None, lambda done: False, trains=False)
                finished = [
                    run_unit(experiment, config, dataset, path, unit, done) for unit in planned
                ]
            write_results(experiment, config, dataset, facts, published, path, finished)
            if stop.received:
                raise Interrupted("after everything was done")
        processes.wait_for_all("results")


def plan(config: RunConfig) -> list[tuple[Mapping[str, Any], int]]:
    """The units of work: the values of all factors, and the seed, the last one fastest."""
    factors = config.arm_axes
    seeds = range(config.seed, config.seed + config.seeds)
    return [
        (dict(zip(factors, chosen, strict=True)), seed)
        for *chosen, seed in itertools.product(*factors.values(), seeds)
    ]


def run_unit(
    experiment: Experiment,
    config: RunConfig,
    dataset: data.Dataset,
    path: Path,
    unit: tuple[Mapping[str, Any], int],
    conduct: arms.Conduct,
) -> records.Record:
    """Carry out one arm for one seed; where memory is not enough, with fewer points at a time."""
    values, seed = unit
    own = config.for_arm(values)
    model = own.build_model(values.get("norm", own.norms[0]), dataset.num_classes)
    pipeline = data.make_pipeline(dataset, own.batch_size, augmented=own.augment)
    selection = own.select(shapes(model, dataset), seed)
    arm = arms.Arm(values, seed, model, dataset, pipeline, selection)
    saved = checkpoints.Checkpoints(
        path / folder.CHECKPOINTS / arm.folder,
        f"{path.name}/{arm.folder}",
        kept=config.checkpoints_kept,
    )
    while True:
        probes, after = experiment.probes(own, arm), experiment.after(own, arm)
        try:
            keep = keeper(experiment, own, arm, path)
            return arms.run_arm(own, arm, probes, saved, conduct, after, keep)
        except jax.errors.JaxRuntimeError as error:
            if not units.is_out_of_memory(error):
                raise
            smaller = own.with_fewer_points()
            if smaller is None:
                raise MemoryError(
                    f"{own.batch_size} examples at a time are more than the memory holds: give a "
                    "smaller --batch-size or --width, or --microbatches"
                ) from None
        warn(
            f"{arm.label}: out of memory; from the last checkpoint on {smaller.chunk} points are "
            "probed at a time"
        )
        own = smaller


def write_results(
    experiment: Experiment,
    config: RunConfig,
    dataset: data.Dataset,
    facts: dict[str, Any],
    published: Published,
    path: Path,
    finished: Sequence[records.Record],
) -> None:
    """Stack the records of all units; write results, figure and claims."""
    factors = config.arm_axes
    sizes = [*(len(values) for values in factors.values()), config.seeds]
    own = config.for_arm(plan(config)[-1][0])
    model = own.build_model(own.norms[0], dataset.num_classes)
    layers = models.layer_names(model, dataset.train.pixels.shape[1:])
    measured = label(experiment, config, records.stack(finished, sizes), layers, facts)
    results.write(measured, path)
    figures = experiment.draw(results.read(path), published, path)
    claims = [claim._asdict() for claim in experiment.claims(results.read(path))]
    kept = sorted(f"{folder.MODELS}/{file.name}" for file in path.glob(f"{folder.MODELS}/*.npz"))
    files = [folder.METRICS, folder.PROBES, *(figure.name for figure in figures), *kept]
    folder.write_summary(path, claims, files)


def describe(facts: Mapping[str, Any]) -> str:
    """Devices and version, for the first line."""
    count = facts["num_devices"]
    devices = facts["device"] if count == 1 else f"{count} × {facts['device']}"
    several = f" in {facts['processes']} processes" if facts["processes"] > 1 else ""
    return f"{devices}{several}, jax {facts['jax']}"


def shapes(model: models.Model, dataset: data.Dataset) -> Any:
    """The shapes of a model's parameters; nothing is computed."""
    images = jax.ShapeDtypeStruct((1, *dataset.train.pixels.shape[1:]), np.float32)
    return jax.eval_shape(model.init, jax.random.key(0), images)["params"]


def keeper(
    experiment: Experiment, config: RunConfig, arm: arms.Arm, path: Path
) -> Callable[[TrainState], None]:
    """What writes an arm's trained network, if the experiment keeps any."""

    def write(state: TrainState) -> None:
        if experiment.keep is not None:
            (path / folder.MODELS).mkdir(exist_ok=True)
            arrays = experiment.keep(config, arm, state)
            folder.write_npz(path / folder.MODELS / f"{arm.folder}.npz", arrays)

    return write


def label(
    experiment: Experiment,
    config: Any,
    stacked: records.Record,
    layers: Sequence[str],
    facts: dict[str, Any],
) -> results.Results:
    """Name the axes of stacked records."""
    every_step = range(config.steps + 1)
    probe_steps = [step for step in every_step[:-1] if step % config.probe_every == 0]
    test_steps = [
        step for step in every_step if step % config.evaluate_every == 0 or step == config.steps
    ]
    axes = {
        **config.arm_axes,
        "seed": range(config.seed, config.seed + config.seeds),
        "step": every_step[:-1],
        "test_step": test_steps,
        "probe_step": probe_steps,
        "layer": layers,
        **experiment.axes(config),
    }
    outer = {"train": ("step",), "test": ("test_step",)}
    dims = {}
    for name in stacked:
        group, _, field = name.partition(".")
        rows = experiment.rows.get(group, "probe_step")
        inner = outer.get(group, (rows, *experiment.dims.get(group, {}).get(field, ())))
        dims[name] = (*config.arm_axes, "seed", *(inner if field else ()))
    return results.Results(
        arrays=stacked,
        dims=dims,
        axes={axis: np.array(list(values)) for axis, values in axes.items()},
        config=folder.plain(dataclasses.asdict(config)),
        facts=facts,
    )


def report(terminal: console.Console, path: Path) -> None:
    """Print the claims table and the paths of what a finished run wrote."""
    summary = folder.read_summary(path)
    terminal.print(console.claims_table(summary.claims))
    for name in (folder.CONFIG, *summary.files):
        terminal.print(f"  {printable(path / name)}")
