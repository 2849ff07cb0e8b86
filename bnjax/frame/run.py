"""One run from its options to its folder: what is not done yet is done, and written down.

Arrays are written before anything is judged or drawn.
"""

import contextlib
import functools
import itertools
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeAlias

from jax.sharding import Mesh

from bnjax.errors import RunError
from bnjax.frame import (
    disk,
    fingerprint,
    folder,
    job,
    layout,
    listener,
    messages,
    processes,
    records,
)
from bnjax.frame.arm import load_data
from bnjax.frame.files import plain
from bnjax.frame.interrupts import Interrupted, StopRequest, stop_on_signals
from bnjax.frame.listener import EventFiles, Listener, together
from bnjax.frame.messages import printable, warn
from bnjax.frame.options import EXECUTION
from bnjax.frame.published_curves import Published, read_published
from bnjax.frame.study import Study, answering_for_plugins

# Judges and draws what a run's folder holds, and writes its summary last.
Publish: TypeAlias = Callable[[Study, Published, Path, Sequence[Listener]], None]


def run(
    study: Study,
    options: Any,
    publish: Publish,
    *,
    listeners: Sequence[Listener] = (),
    ends_process: bool = True,
) -> Path:
    """Run all arms and seeds that are not done yet; write results, verdicts, figures and page.

    `publish` judges and draws what is measured, and marks the run finished. With `ends_process` the
    process may be ended if it is asked to stop and no step ends, or at a second signal; one that is
    not the run's own, such as a notebook's, may not.
    """
    begun = time.monotonic()
    layout.enable()
    console = messages.terminal()
    path = options.out / study.name / folder.digest(options)
    published = read_published(options.published) if options.published else {}
    redraws = bool(published) or options.redraw
    with contextlib.ExitStack() as held:
        held.enter_context(disk.naming_errors())
        watch = held.enter_context(processes.watched(options.heartbeat_seconds))

        flaws: folder.Flaws | None = None

        def begin() -> int:
            """Whether the run is measured; asked, and the folder locked, by one process."""
            nonlocal flaws
            if not options.fresh:
                flaws = folder.find_flaws(path)
                if flaws and not any(flaws) and not redraws:
                    return 1
            held.enter_context(folder.hold(path))
            if not options.fresh:
                accepted = options.accept_changes
                folder.heal_config(path, study.name, options, accept_changes=accepted)
                flaws = folder.find_flaws(path)  # perhaps by a process that has ended just now
            return int(flaws is not None)

        finished = processes.agree(begin)
        fingerprint.code(study, options.plugins)  # a file that is changed from now on is noticed
        # After the lock: who does not get it is not kept waiting for the devices.
        who = layout.make_layout(options.data_devices, options.probe_devices)
        tell_others = processes.find_stop_teller() if who.together else lambda: None
        stop = held.enter_context(stop_on_signals(tell_others, ends_process=ends_process))
        write = functools.partial(publish, study, published, path)
        if not finished:
            before = path.stat().st_ino if path.exists() else None

            def note() -> None:
                if who.writes and path.exists():
                    seconds = time.monotonic() - begun
                    folder.note_session(path, folder.Session(seconds, layout.most_memory()))

            try:
                complete(held, study, options, path, console, who, watch, stop, listeners, write)
                note()
            except Interrupted:
                note()
                raise
            except KeyboardInterrupt:
                raise
            except BaseException:  # a start that failed leaves nothing behind
                is_new = path.exists() and path.stat().st_ino != before
                if is_new and who.writes and not folder.saved(path):
                    with contextlib.suppress(OSError):
                        disk.remove(path)
                raise
        elif flaws is not None:  # in the process that writes
            if not options.redraw:  # which takes the arrays as they are
                compare(study, options, who, path)
            console.print(f"finished before: {printable(path)}")
            if options.tensorboard:
                warn("--tensorboard: event files are written while a run trains: add --fresh")
            others = folder.read_config(path).scripts - {study.script}
            if others and not redraws:
                warn(
                    f"the code of the study ({', '.join(sorted(others))}) has changed since: "
                    "--redraw draws and judges the same arrays again"
                )
            disk.remove_leftovers(path)
            if redraws or any(flaws):
                held.enter_context(folder.staying(path))
                folder.set_damaged_aside(path, flaws, warn)
            if redraws or flaws.results or flaws.failed:
                write(listeners)
    if who.writes:
        summary = folder.read_summary(path)
        messages.show_claims(summary.verdicts)
        names = (folder.CONFIG, *summary.files)
        console.print("\n".join(f"  {printable(path / name)}" for name in names))
        minutes, seconds = divmod(round(time.monotonic() - begun), 60)
        page = printable(path / "report.html")
        console.print(f"done in {minutes}:{seconds:02} · open {page}", soft_wrap=True)
    return path


def complete(
    held: contextlib.ExitStack,
    study: Study,
    options: Any,
    path: Path,
    console: Any,
    who: layout.Layout,
    watch: processes.Watch,
    stop: StopRequest,
    listeners: Sequence[Listener],
    write: Callable[[Sequence[Listener]], None],
) -> None:
    """Run what is not done yet in a folder that no other process uses."""
    dataset = load_data(options)
    planned = job.plan(options)
    known: dict[str, Any] = {}
    for one in planned:  # refuses impossible batches before anything is written
        if one.seed == options.seed:
            what = f"the arm {one.label} cannot be trained: " if options.plugins else ""
            with answering_for_plugins(what):
                arm = job.make_arm(study, options, dataset, *one)
                if options.plugins:  # their mistakes show before anything is trained
                    job.set_up(study, arm, who.meshes[0], known)
    study.part("check", lambda options, dataset: None)(options, dataset)
    facts = fingerprint.of_run(study, options, dataset, who)
    deciding = {**facts, **fingerprint.settings()}
    processes.all_do(lambda: fingerprint.refuse_other_processes(deciding), watch)
    axes = records.axis_values(study, options, dataset)
    if folder.digest(options) != path.name:
        raise RunError("--plugins: a file was changed while the run began: start it again")
    events: Any = contextlib.nullcontext()
    if options.tensorboard and who.writes_jobs:
        own = EventFiles(path)
        events, listeners = contextlib.closing(own), [own, *listeners]

    def open_folder() -> int:
        folder.open_folder(
            options.out,
            study.name,
            options,
            deciding,
            fresh=options.fresh,
            accept_changes=options.accept_changes,
        )
        if folder.is_finished(path):
            # A damaged checkpoint is set aside when its arm is restored.
            folder.set_damaged_aside(path, folder.Flaws(folder.damaged_results(path), {}, {}), warn)
        return 0

    processes.agree(open_folder)
    check_place = held.enter_context(folder.staying(path, owner=who.writes))
    config = folder.read_config(path)._asdict() if who.writes_jobs else {}
    if who.writes:
        count = facts["num_devices"]
        devices = facts["device"] if count == 1 else f"{count} × {facts['device']}"
        several = f" in {who.processes} processes" if who.processes > 1 else ""
        console.print(f"{dataset.note}; {devices}{several}, jax {facts['jax']}; {printable(path)}")

    shapes: dict[str, records.Group] = {}

    def check(shape: records.Layout, record: records.Record) -> None:
        records.check(study, options, axes, shape, record)
        if not shapes:
            shapes.update(shape)
            told_all.describe(shape, axes)

    polls = itertools.count()
    own_jobs = who.own(planned)
    shown = listener.display(
        len(own_jobs), silent=not who.writes_jobs, plain=who.process > 0, shown=study.shown
    )
    with events, shown as progress:
        told_all = together(progress, *listeners)

        def stops_at(done: int) -> bool:
            watch.move()
            if who.together:  # every process asks as often, so all leave at the same step
                return processes.told_to_stop(next(polls))
            return stop.received

        def work(one: job.Job, mesh: Mesh | None) -> records.Record:
            execution = job.Execution(
                told_all,
                mesh,
                stops_at,
                who.together,
                who.writes_jobs,
                check=check,
                known=known,
                check_place=check_place,
                config=config,
            )
            return job.run_job(study, options, dataset, path, one, execution)

        def stopped() -> bool:  # together: at a step that all agree on
            return stop.received and not who.together

        def work_all() -> list[records.Record]:
            try:
                return job.run_jobs(
                    own_jobs, work, who.meshes, stopped=stopped, debug=options.debug
                )
            finally:
                if processes.several():
                    stop.awaited = "all is saved, but other processes did not end"

        # Together, a process that fails leaves at once: the others wait for it in a step.
        finished = work_all() if who.together else processes.all_do(work_all, watch, stopped)
        if who.writes:
            if len(own_jobs) < len(planned):  # those of other processes are read from the folder
                reads = job.Execution(told_all, trains=False, check=check)
                finished = [
                    job.run_job(study, options, dataset, path, one, reads) for one in planned
                ]
            from bnjax.frame import results  # loads xarray, which nothing before needs

            measured = records.to_dataset(study, options, axes, shapes, finished)
            check_place()
            results.write(results.Run(measured, run_options(options), plain(facts)), path)
            write(listeners)
        processes.wait_for_all("results", watch)
        if stop.received and not processes.several():
            raise Interrupted("after everything was done")


def compare(study: Study, options: Any, who: layout.Layout, path: Path) -> None:
    """Refuse a run, finished or not, that other data, code, settings or versions made.

    Where its data are no longer there, the rest is compared.
    """
    try:
        dataset = load_data(options)
    except RunError as error:
        warn(f"the data of {path} are not compared: {error}")
        dataset = None
    now = {**fingerprint.of_run(study, options, dataset, who), **fingerprint.settings()}
    record, changed = folder.compare(
        path, now, accept_changes=options.accept_changes, answers=folder.is_finished(path)
    )
    if deciding := folder.deciding(changed):
        warn(f"{path} was made under {folder.told_changes(record.fingerprint, deciding)}")
    folder.say_mixture(path, record, warn)


def run_options(options: Any) -> dict[str, Any]:
    """Options as claims and figures see them: plain values, a single learning rate as a number.

    How a run is carried out, and where, is left out: equal runs have equal results, to the byte.
    """
    apart = EXECUTION | {"data_dir", "text"}
    found = {name: plain(value) for name, value in vars(options).items() if name not in apart}
    if isinstance(found.get("lr"), list) and len(found["lr"]) == 1:
        found["lr"] = found["lr"][0]
    return found
