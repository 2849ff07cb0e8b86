"""One run from its configuration to its folder: what is not done yet is done, and written down."""

import contextlib
import functools
import itertools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax
from jax.sharding import Mesh

from bnjax import data, losses
from bnjax.errors import RunError
from bnjax.frame import (
    axes,
    cache,
    console,
    displays,
    event_files,
    folder,
    layout,
    lock,
    processes,
    publishing,
    records,
    results,
    units,
    verify,
    waiting,
)
from bnjax.frame.config import RunConfig
from bnjax.frame.experiment import Experiment, script
from bnjax.frame.fingerprint import LAYOUT, fingerprint
from bnjax.frame.interrupts import Interrupted, StopRequest, stop_on_signals
from bnjax.frame.messages import warn
from bnjax.frame.names import digest
from bnjax.frame.printable import printable
from bnjax.frame.published_curves import Published, read_published
from bnjax.frame.run_arm import Execution


def run(
    experiment: Experiment,
    config: RunConfig,
    write_page: publishing.WritePage = publishing.no_page,
    *,
    ends_process: bool = True,
) -> Path:
    """Run all arms and seeds that are not done yet; write results, figure, claims and page.

    Args:
      experiment: what is trained, measured, claimed and drawn.
      config: its options, validated.
      write_page: makes the page.
      ends_process: whether the process may be ended if it is asked to stop and no step ends, or at
        a second signal; one that is not the run's own, such as a notebook's, may not.

    Returns:
      The run folder.

    Raises:
      RunError: another process has the folder, it was made under other versions, a file is damaged
        beyond repair, or an arm failed.
      Interrupted: asked to stop; everything is saved.
      KeyboardInterrupt: asked a second time, in a process that may not be ended.
    """
    cache.enable()
    terminal = console.terminal()
    path = config.out / experiment.name / digest(config)
    published = read_published(config.published) if config.published else {}
    redraws = bool(published) or config.redraw
    with contextlib.ExitStack() as held:
        watch = held.enter_context(waiting.watched(config.heartbeat_seconds))

        def is_measured() -> bool:
            """Whether only figures, verdicts and page may be missing."""
            return not config.fresh and verify.is_measured(path)

        def begin() -> int:
            """Whether the run is measured; asked, and the folder locked, by one process."""
            if is_measured() and not redraws and not verify.damaged_results(path):
                return 1
            held.enter_context(lock.hold(path))
            return int(is_measured())  # perhaps by a process that has ended just now

        finished = processes.agree(begin)
        # After the lock: who does not get it is not kept waiting for the devices.
        who = layout.make_layout(config.data_devices, config.probe_devices)
        tell_others = processes.find_stop_teller() if who.together else lambda: None
        stop = held.enter_context(stop_on_signals(tell_others, ends_process=ends_process))
        if not finished:
            complete(experiment, config, published, terminal, who, watch, stop, write_page)
        elif who.writes:
            terminal.print(f"finished before: {printable(path)}")
            if config.tensorboard:
                warn("--tensorboard: a run writes event files while it goes on: add --fresh")
            others = folder.read_config(path).scripts - {script(experiment)}
            if others and not redraws:
                warn(
                    f"the script that measured it ({', '.join(sorted(others))}) has changed since: "
                    "--fresh measures anew, --redraw draws and judges anew what was measured"
                )
            if redraws or verify.damaged_results(path):
                verify.set_damaged_aside(path, warn)
                publishing.publish(experiment, published, write_page, path)
    if who.writes:
        report(terminal, path)
    return path


def complete(
    experiment: Experiment,
    config: RunConfig,
    published: Published,
    terminal: console.Console,
    who: layout.Layout,
    watch: waiting.Watch,
    stop: StopRequest,
    write_page: publishing.WritePage,
) -> None:
    """Run what is not done yet in a folder that no other job uses."""
    dataset = data.load(config.dataset, config.data_dir, seed=config.seed)
    planned = units.plan(config)
    for unit in planned:  # refuses impossible batches before anything is written
        own = config.for_arm(unit.values)
        own.validate_conduct()
        data.make_pipeline(dataset, own.batch_size)
    experiment.check(config, dataset)
    chance = losses.chance(losses.OBJECTIVES[config.objective], dataset)
    facts = {
        **fingerprint(who),
        "script": script(experiment),
        "dataset": dataset.note,
        "chance_loss": chance,
    }
    path = config.out / experiment.name / digest(config)

    def open_folder() -> int:
        folder.open_folder(
            config.out, experiment.name, config, facts, fresh=config.fresh, layout=LAYOUT
        )
        verify.set_damaged_aside(path, warn)
        return 0

    processes.agree(open_folder)
    if who.writes:
        terminal.print(f"{dataset.note}; {describe(facts)}; {printable(path)}")

    named = axes.name_axes(experiment, config, dataset)
    check = functools.partial(axes.check, experiment, config, named)
    polls = itertools.count()
    own_units = who.own(planned)
    shown = displays.display(
        len(own_units),
        silent=not who.writes_units,
        plain=who.process > 0,
        shown=experiment.shown,
    )
    with shown as display:
        if config.tensorboard and who.writes_units:
            dims = functools.partial(axes.inner_dims, experiment)
            display = event_files.EventFiles(display, path, dims, named)

        def stops_at(done: int) -> bool:
            watch.move()
            if who.together:  # every process asks as often, so all leave at the same step
                return processes.told_to_stop(next(polls))
            return stop.received

        def work(unit: units.Unit, mesh: Mesh | None) -> records.Record:
            execution = Execution(
                display, mesh, stops_at, who.together, who.writes_units, check=check
            )
            try:
                return units.run_unit(experiment, config, dataset, path, unit, execution)
            except jax.errors.JaxRuntimeError as error:
                if who.together:  # in step with the others, or not at all
                    raise RunError(processes.explain(error)) from error
                raise

        def stopped() -> bool:  # together: at a step that all agree on
            return stop.received and not who.together

        def work_all() -> list[records.Record]:
            try:
                return units.run_units(
                    own_units, work, who.meshes, stopped=stopped, debug=config.debug
                )
            finally:
                if processes.several():
                    stop.awaited = "all is saved, but other processes did not end"

        # Together, a process that fails leaves at once: the others wait for it in a step.
        finished = work_all() if who.together else waiting.all_do(work_all, watch, stopped)
        if who.writes:
            if len(own_units) < len(planned):  # those of other processes are read from the folder
                reads = Execution(display, trains=False)
                finished = [
                    units.run_unit(experiment, config, dataset, path, unit, reads)
                    for unit in planned
                ]
            measured = axes.name_results(experiment, config, dataset, facts, finished)
            results.write(measured, path)
            publishing.publish(experiment, published, write_page, path)
        waiting.wait_for_all("results", watch)
        if stop.received and not processes.several():
            raise Interrupted("after everything was done")


def describe(facts: Mapping[str, Any]) -> str:
    """Devices and version, for the first line."""
    count = facts["num_devices"]
    devices = facts["device"] if count == 1 else f"{count} × {facts['device']}"
    several = f" in {facts['processes']} processes" if facts["processes"] > 1 else ""
    return f"{devices}{several}, jax {facts['jax']}"


def report(terminal: console.Console, path: Path) -> None:
    """Print the claims table and the paths of what a finished run wrote."""
    summary = folder.read_summary(path)
    terminal.print(console.claims_table(summary.claims))
    for name in (folder.CONFIG, *summary.files):
        terminal.print(f"  {printable(path / name)}")
