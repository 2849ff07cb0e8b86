"""Commands on run folders: list, verify and resume."""

import dataclasses
import datetime
import json
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from bnjax.commands import command_line
from bnjax.errors import RunError, UsageError
from bnjax.frame import checkpoints, files, folder, stored_options
from bnjax.frame import options as option_groups
from bnjax.frame import study as studies
from bnjax.frame.files import ForeignFormat
from bnjax.frame.messages import NARROW, printable, table, terminal

RUN_NAME = re.compile(r"[0-9a-f]{12}(\.old[0-9]+)?")
SHOWN = ("model", "dataset", "norms", "lr", "seeds")
LONGEST_VALUE = 60


class Run(NamedTuple):
    """One run folder."""

    study: str
    digest: str
    state: str
    what: dict[str, Any]
    changed: float  # seconds since 1970


def find(root: Path) -> list[Run]:
    """All runs `<root>/<study>/<digest>`, the latest last. Nothing is written."""
    try:
        studies = sorted(path for path in root.iterdir() if path.is_dir())
        paths = [
            path
            for study in studies
            for path in sorted(study.iterdir())
            if RUN_NAME.fullmatch(path.name)
        ]
    except OSError as error:
        raise UsageError(
            f"{root} cannot be listed ({error.strerror}): give the folder of runs"
        ) from error
    return sorted(map(describe, paths), key=lambda run: run.changed)


def describe(path: Path) -> Run:
    what: dict[str, Any] = {}
    try:
        record = folder.read_config(path)
        what = {name: record.options[name] for name in SHOWN if name in record.options}
        state = progress(path, record)
        if mixed := folder.mixed(record):
            state += f", continued under other {' '.join(sorted(mixed))}"
    except RunError as error:
        foreign = isinstance(error.__cause__, ForeignFormat)
        state = ("" if foreign else f"damaged: {folder.CONFIG}: ") + folder.reason(error)
    root = path / folder.CHECKPOINTS
    times = [os.lstat(p).st_mtime for p in (path, root, *root.glob("*")) if os.path.lexists(p)]
    return Run(path.parent.name, path.name, state, what, max(times, default=0.0))


def progress(path: Path, record: folder.Description) -> str:
    owner = folder.user(path)
    if folder.is_finished(path):
        try:
            summary = folder.read_summary(path)
        except RunError as error:
            return f"damaged: {folder.SUMMARY}: {folder.reason(error)}"
        for name, what in files.find_damage(path, summary.files, read=False).items():
            return f"damaged: {name}: {what}"
        if owner:
            return f"in use by {owner}"
        return (
            f"finished, but failed: {', '.join(summary.failed)}" if summary.failed else "finished"
        )
    newest: dict[str, checkpoints.Manifest] = {}
    for place in folder.saved(path):  # the newest of each job first
        try:
            newest.setdefault(place.parent.name, checkpoints.read_manifest(place))
        except ValueError:
            continue
    done = sum(map(checkpoints.is_complete, newest.values()))
    steps = [found.step for found in newest.values() if not checkpoints.is_complete(found)]
    state = f"{done} of {record.jobs} done" + (f", step {max(steps)}" if steps else "")
    return f"in use by {owner}: {state}" if owner else f"unfinished: {state}"


def show(root: Path | None, *, as_json: bool) -> None:
    """Print all runs; where no folder is named, the usual one need not exist."""
    usual = option_groups.Execution().out
    runs = find(root or usual) if root or usual.exists() else []
    if as_json:
        text = json.dumps([one._asdict() for one in runs], indent=1)
        print(text.replace("\x7f", "\\u007f"))  # the one control character that JSON leaves
        return
    if not runs:
        print(printable(f"no runs in {root or usual}: bnjax landscape makes the first figure"))
        return
    what = [", ".join(f"{k} {short(v)}" for k, v in one.what.items()) for one in runs]
    changed = [datetime.datetime.fromtimestamp(one.changed) for one in runs]
    columns = {
        "study": [printable(one.study) for one in runs],
        "run": [printable(one.digest) for one in runs],
        "state": [printable(one.state) for one in runs],
        "what": list(map(printable, what)),
        "changed": [when.isoformat(" ", "minutes") for when in changed],
    }
    console = terminal()
    if console.width >= NARROW:
        console.print(table(columns, whole=("study", "run")))
        return
    for study, run, state, *more in zip(*columns.values(), strict=True):
        console.print(f"{study}/{run}: {state}")
        for line in filter(None, more):
            console.print(f"  {line}")


def short(value: Any) -> str:
    words = " ".join(map(str, value)) if isinstance(value, list) else str(value)
    return printable(words, LONGEST_VALUE)


def verify(path: Path) -> int:
    """Print whether a run folder is sound; 1 if it is not."""
    found = folder.verify(path)
    if found.foreign:
        print(printable(f"{path}: {found.foreign}"))
        return 1
    for place, what in found.damage.items():
        print(printable(f"{place}: {what}"))
    if path / folder.CONFIG not in found.damage:
        folder.say_mixture(path, folder.read_config(path), lambda line: print(printable(line)))
    kind = "" if found.finished else ", not finished"
    verdict = "damaged" if found.damage else "sound"
    counts = f"{found.files} files, {found.checkpoints} checkpoints{kind}"
    print(printable(f"{path}: {verdict}: {counts}" + (" sound" if found.damage else "")))
    return int(bool(found.damage))


def resume(
    path: Path, data_dir: Path | None, published: Path | None, given: Mapping[str, int | None]
) -> None:
    """Run what is not done yet of the run in a folder, as its own command would.

    Nothing that the folder says is executed: a study is looked up by its name among the shipped
    ones, options are plain values that are checked, and files that would be run are refused.
    """
    path, remedy = Path(os.path.abspath(path)), "give the original command"
    if not (path / folder.CONFIG).exists():
        raise UsageError(f"{path} is no run folder: give one that has a {folder.CONFIG}")
    files.refuse_links(path.parent, deep=False)
    files.refuse_links(path)
    record = folder.read_config(path)
    try:
        study = studies.find(record.study)
    except UsageError as error:
        raise RunError(str(error)) from error
    if record.plugins or record.options.get("plugins"):
        raise RunError(f"{path} was made with --plugins, files that would be run: {remedy}")

    def refusal(error: ValueError) -> RunError:
        return RunError(f"the options of {path} do not serve ({error}): {remedy}")

    try:
        options: Any = stored_options.build(study.options, record.options)
    except ValueError as error:
        raise refusal(error) from error
    if options.data_dir is not None and data_dir is None:
        raise UsageError(
            f"{path} reads data from {options.data_dir}: if you know that folder, add "
            f"--data-dir {options.data_dir}"
        )
    if (text := getattr(options, "text", None)) is not None:
        raise RunError(f"{path} was made with --text {text}, a file that would be read: {remedy}")
    options = dataclasses.replace(
        options,
        published=published or options.published,
        out=path.parents[1],  # it continues where it lies now
        data_dir=data_dir,
        fresh=False,
        redraw=False,
        distributed=False,  # a job's processes are started with the original command
        **{name: value for name, value in given.items() if value is not None},
    )
    try:
        if (own := folder.digest(options)) != path.name:
            raise ValueError(f"they are those of the run {own}")
        command_line.settle(study, options)
    except ValueError as error:
        raise refusal(error) from error
    from bnjax.frame.run import run  # loads JAX, which a list of runs does not need
    from bnjax.report.publish import publish

    run(study, options, publish)
