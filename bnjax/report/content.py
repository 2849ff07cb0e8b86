"""What a page shows of a run, read from its folder."""

import datetime
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bnjax.errors import RunError
from bnjax.frame import bounded, verify
from bnjax.frame import folder as folders
from bnjax.frame import results as measured
from bnjax.frame.published_curves import Published
from bnjax.frame.results import Run as Results
from bnjax.report import captions

PAGE = "report.html"
LARGEST_FILE = 256 * 2**20  # bytes of one figure or table
SUFFIXES = (".svg", ".png", ".pdf", ".csv")


class Figure(NamedTuple):
    """The files of one figure, or a table alone."""

    name: str
    files: Mapping[str, bytes]  # by suffix, e.g. ".svg"


class Run(NamedTuple):
    """A run as a page shows it."""

    experiment: str
    digest: str
    results: Results
    claims: Sequence[Mapping[str, str]]
    figures: Sequence[Figure]
    published: Published
    presets: Mapping[str, Any] | None  # of the experiment
    date: str  # when it was finished; empty in the page that the run itself writes
    href: str  # of the run's folder as seen from the page, with a slash at the end, or empty


def read(
    path: Path,
    published: Published,
    presets: Mapping[str, Any] | None,
    *,
    figures: Sequence[Path] | None = None,
    beside: Path,
) -> Run:
    """A finished run from its folder, every file compared with its digest.

    Args:
      path: of the folder.
      published: curves that its figures were drawn with.
      presets: of its experiment.
      figures: drawn anew, in place of those of the folder.
      beside: the folder of the page.

    Raises:
      RunError: it is not finished, or damaged.
    """
    if not folders.is_finished(path):
        raise RunError(f"{path} is not finished: give the command that made it again")
    folders.read_config(path)
    found = verify.damaged_results(path)
    if damage := {name: what for name, what in found.items() if name != PAGE}:
        name, what = next(iter(damage.items()))
        raise RunError(f"{path / name} {what}: the command that made it again mends it")
    summary = folders.read_summary(path)
    drawn = figures if figures is not None else [path / name for name in summary.files]
    finished = (path / folders.SUMMARY).stat().st_mtime
    when = datetime.datetime.fromtimestamp(finished, datetime.UTC).strftime("%Y-%m-%d %H:%M UTC")
    return Run(
        experiment=Path(os.path.abspath(path)).parent.name,
        digest=Path(os.path.abspath(path)).name,
        results=measured.read(path),
        claims=summary.claims,
        figures=collect(drawn),
        published=published,
        presets=presets,
        date=when,
        href=link(path, beside),
    )


def collect(paths: Iterable[Path]) -> list[Figure]:
    """Figures and tables from the files that were drawn, the best known first.

    Raises:
      RunError: one cannot be read.
    """
    found: dict[str, dict[str, bytes]] = {}
    for path in paths:
        if path.suffix in SUFFIXES:
            try:
                content = bounded.read(path, LARGEST_FILE)
            except ValueError as error:
                raise RunError(f"{path} cannot be read ({error})") from error
            found.setdefault(path.stem, {})[path.suffix] = content
    order = list(captions.FIGURES)
    known = {
        name: order.index(captions.kind(name)) for name in found if captions.kind(name) in order
    }
    names = sorted(found, key=lambda name: (known.get(name, len(order)), captions.rate(name), name))
    return [Figure(name, found[name]) for name in names]


def has_vectors(path: Path) -> bool:
    """Whether the figures of a run are there as SVG; runs of older versions have none."""
    names = folders.read_summary(path).files
    drawn = {Path(name).stem for name in names if name.endswith((".png", ".svg"))}
    return all(f"{name}.svg" in names for name in drawn)


def link(path: Path, beside: Path) -> str:
    """The way from the page's folder to the run's, for links; empty where there is none."""
    try:
        way = os.path.relpath(path, beside).replace(os.sep, "/")
    except ValueError:  # on another drive
        return ""
    return "" if way == "." else f"{way}/"
