"""A finished run as a page shows it, read from its folder."""

import datetime
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bnjax.errors import RunError
from bnjax.frame import files, folder, results, verify
from bnjax.frame import study as studies
from bnjax.frame.results import Run
from bnjax.frame.study import Study

PAGE = "report.html"
LARGEST_FILE = 256 * 2**20  # bytes of one figure or table
SUFFIXES = (".svg", ".png", ".pdf", ".csv")


class Figure(NamedTuple):
    """A figure with its words and its files, or a table alone."""

    name: str
    title: str
    text: str
    source: str
    caption: str
    files: Mapping[str, bytes]  # by suffix, e.g. ".svg"


class FinishedRun(NamedTuple):
    """A run as a page shows it."""

    name: str  # of the study
    digest: str
    question: str
    source: str
    run: Run
    verdicts: Sequence[Mapping[str, Any]]
    failed: Mapping[str, str]  # claims and figures, with their errors
    figures: Sequence[Figure]
    study: Study | None  # None: not a study of bnjax
    date: str  # when it was finished; empty in the page that the run itself writes
    href: str  # of the run's folder as seen from the page, with a slash at the end, or empty


def describe(drawing: Any, files: Iterable[Path]) -> dict[str, Any]:
    """What `summary.json` says of a drawing and of the files that it was saved as."""
    words = {name: str(getattr(drawing, name, "")) for name in folder.FIGURE_WORDS}
    return {**words, "files": [path.name for path in files]}


def load_figures(place: Path, described: Iterable[Mapping[str, Any]]) -> list[Figure]:
    """Figures from their descriptions in `summary.json` and their files."""
    found = []
    for one in described:
        contents: dict[str, bytes] = {}
        for path in (place / name for name in one["files"] if name.endswith(SUFFIXES)):
            try:
                contents[path.suffix] = files.read(path, LARGEST_FILE)
            except ValueError as error:
                raise RunError(f"{path} cannot be read ({error})") from error
        words = {name: one[name] for name in folder.FIGURE_WORDS}
        words["title"] = words["title"] or words["name"].replace("_", " ").capitalize()
        found.append(Figure(**words, files=contents))
    return found


def read(path: Path, page_folder: Path) -> FinishedRun:
    """A finished run from its folder, every file compared with its digest.

    Args:
      path: of the folder.
      page_folder: where the page will stand.

    Raises:
      RunError: it is not finished, or damaged.
    """
    record = folder.read_config(path)
    if not folder.is_finished(path):
        raise RunError(f"{path} is not finished: repeat the command that made it")
    damage = {name: what for name, what in verify.damaged_results(path).items() if name != PAGE}
    for name, what in damage.items():
        raise RunError(f"{path / name} {what}: the command that made it writes it again")
    summary = folder.read_summary(path)
    finished = datetime.datetime.fromtimestamp(
        (path / folder.SUMMARY).stat().st_mtime, datetime.UTC
    )
    run = results.read(path)
    shipped = str(run.facts.get("script", "")).startswith(f"bnjax/studies/{record.study} ")
    return FinishedRun(
        name=record.study,
        digest=Path(os.path.abspath(path)).name,
        question=summary.question,
        source=summary.source,
        run=run,
        verdicts=summary.verdicts,
        failed=summary.failed,
        figures=load_figures(path, summary.figures),
        study=studies.find(record.study) if shipped and record.study in studies.names() else None,
        date=finished.strftime("%Y-%m-%d %H:%M UTC"),
        href=link(path, page_folder),
    )


def link(path: Path, page_folder: Path) -> str:
    """The way from the page's folder to the run's, for links; empty where there is none."""
    try:
        way = os.path.relpath(path, page_folder).replace(os.sep, "/")
    except ValueError:  # on another drive
        return ""
    return "" if way == "." else f"{way}/"
