"""All runs under a folder: what they are, and how far."""

import datetime
import json
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

from rich import box
from rich.table import Table

from bnjax.errors import RunError, UsageError
from bnjax.frame import checkpoints, files, folder, verify
from bnjax.frame.files import ForeignFormat
from bnjax.frame.messages import printable

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
    """All runs `<root>/<study>/<digest>`, the latest last. Nothing is written.

    Raises:
      UsageError: the root is no folder.
    """
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
    """What is known of one run folder, from its small files and the sizes of the others."""
    what: dict[str, Any] = {}
    try:
        record = folder.read_config(path)
        what = {name: record.options[name] for name in SHOWN if name in record.options}
        state = progress(path, record)
    except RunError as error:
        foreign = isinstance(error.__cause__, ForeignFormat)
        state = ("" if foreign else f"damaged: {folder.CONFIG}: ") + verify.reason(error)
    return Run(path.parent.name, path.name, state, what, last_change(path))


def progress(path: Path, record: folder.Description) -> str:
    """How far a run is."""
    owner = folder.user(path)
    if folder.is_finished(path):
        try:
            summary = folder.read_summary(path)
        except RunError as error:
            return f"damaged: {folder.SUMMARY}: {verify.reason(error)}"
        for name, what in files.find_damage(path, summary.files, read=False).items():
            return f"damaged: {name}: {what}"
        if owner:
            return f"in use by {owner}"
        return (
            f"finished, but failed: {', '.join(summary.failed)}" if summary.failed else "finished"
        )
    newest: dict[str, checkpoints.Manifest] = {}
    for place in verify.saved(path):  # the newest of each job first
        try:
            newest.setdefault(place.parent.name, checkpoints.read_manifest(place))
        except ValueError:
            continue
    done = sum(map(checkpoints.is_complete, newest.values()))
    steps = [found.step for found in newest.values() if not checkpoints.is_complete(found)]
    state = f"{done} of {record.jobs} done" + (f", step {max(steps)}" if steps else "")
    return f"in use by {owner}: {state}" if owner else f"unfinished: {state}"


def last_change(path: Path) -> float:
    """When something was last written in a run folder, seconds since 1970."""
    root = path / folder.CHECKPOINTS
    places = [path, root, *(root.iterdir() if root.is_dir() else ())]
    return max(
        (os.lstat(place).st_mtime for place in places if os.path.lexists(place)), default=0.0
    )


def table(runs: list[Run]) -> Table:
    """The runs for a person."""
    shown = Table("study", "run", "state", "what", "changed", box=box.SIMPLE_HEAVY)
    for run in runs:
        what = ", ".join(f"{name} {short(value)}" for name, value in run.what.items())
        when = datetime.datetime.fromtimestamp(run.changed).isoformat(" ", "minutes")
        shown.add_row(*map(printable, (run.study, run.digest, run.state, what, when)))
    return shown


def short(value: Any) -> str:
    """A value in a few words."""
    words = " ".join(map(str, value)) if isinstance(value, list) else str(value)
    return printable(words, LONGEST_VALUE)


def machine(runs: list[Run]) -> str:
    """The runs as one JSON document."""
    text = json.dumps([run._asdict() for run in runs], indent=1)
    return text.replace("\x7f", "\\u007f")  # the one control character that JSON leaves
