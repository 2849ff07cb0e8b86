"""Whether a run folder is what was written: every file and every checkpoint by its digest."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from bnjax.errors import RunError
from bnjax.frame import checkpoints, disk, files, folder
from bnjax.frame.files import ForeignFormat


class Verdict(NamedTuple):
    """What was found in one run folder."""

    damage: dict[Path, str]  # by file or checkpoint
    files: int  # sound ones
    checkpoints: int  # sound ones
    finished: bool
    foreign: str = ""  # the version of bnjax that made it, where it is another one


def verify(path: Path) -> Verdict:
    """Compare a run folder with its digests. Nothing is written.

    Args:
      path: a run's folder, `<root>/<experiment>/<digest>`, or one that was set aside (`.old1`).

    Returns:
      The verdict. Files that no run writes are not judged.
    """
    finished = folder.is_finished(path)
    damage: dict[Path, str] = {}
    files = 0
    try:
        folder.read_config(path)
        files += 1
    except RunError as error:
        if isinstance(error.__cause__, ForeignFormat):  # what else it holds is not judged
            return Verdict({}, 0, 0, finished, reason(error))
        damage[path / folder.CONFIG] = reason(error)
    if finished:
        broken = damaged_results(path)
        damage |= {path / name: what for name, what in broken.items()}
        if folder.SUMMARY not in broken:
            files += 1 + len(folder.read_summary(path).files) - len(broken)
    sound = 0
    damage |= {place: "is not a folder" for place in not_folders(path)}
    for place in saved(path):
        run = f"{folder.original_name(path)}/{place.parent.name}"
        if not (what := checkpoints.find_damage(place, run)):
            sound += 1
        elif place.exists():  # a run that goes on drops its older checkpoints
            damage[place] = what
    return Verdict(damage, files, sound, finished)


def reason(error: RunError) -> str:
    """Why, without the remedy."""
    return str(error.__cause__ or error)


def saved(path: Path) -> list[Path]:
    """The folders of all checkpoints of a run, but those that were set aside."""
    units = [unit for unit in saved_units(path) if is_folder(unit)]
    return [unit / str(step) for unit in units for step in checkpoints.steps(unit)]


def saved_units(path: Path) -> list[Path]:
    """What lies where a run keeps the checkpoints of each of its arms."""
    root = path / folder.CHECKPOINTS
    return sorted(root.iterdir()) if is_folder(root) else []


def not_folders(path: Path) -> list[Path]:
    """What stands where there should be folders of checkpoints, and could lead anywhere."""
    places = (path / folder.CHECKPOINTS, *saved_units(path))
    return [place for place in places if os.path.lexists(place) and not is_folder(place)]


def is_folder(path: Path) -> bool:
    """Whether a path is a folder, and no link to one."""
    return path.is_dir() and not path.is_symlink()


def damaged_results(path: Path) -> dict[str, str]:
    """What is wrong with the results of a finished run, by the name of the file."""
    try:
        summary = folder.read_summary(path)
    except RunError as error:
        return {folder.SUMMARY: reason(error)}
    expected = {folder.METRICS, folder.RESULTS} - set(summary.files)
    return {name: "has no digest" for name in expected} | files.find_damage(path, summary.files)


def is_measured(path: Path) -> bool:
    """Whether a run is finished, and all but what is drawn from its measurements is sound."""
    if not folder.is_finished(path):
        return False
    folder.read_config(path)  # refuses one that is damaged
    measured = (folder.SUMMARY, folder.METRICS, folder.RESULTS)
    return not any(
        name in measured or name.startswith(f"{folder.MODELS}/") for name in damaged_results(path)
    )


def is_incomplete(path: Path) -> bool:
    """Whether something of a finished run is damaged, or a claim or a figure failed."""
    return bool(damaged_results(path)) or bool(folder.read_summary(path).failed)


def set_damaged_aside(path: Path, say: Callable[[str], None]) -> None:
    """Rename what is damaged of a finished run, so that it is written again; say so."""
    if not folder.is_finished(path):
        return
    files.refuse_links(path)
    for name, what in damaged_results(path).items():
        aside = ""
        if (path / name).exists():
            aside = f"; it is now {disk.set_aside(path / name).name}"
        say(f"{path / name}: {what}{aside}; it is written again")
