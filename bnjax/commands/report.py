"""One self-contained HTML page from finished runs: claims, figures, curves, slices, surfaces.

    python experiments/report.py runs/landscape/0123456789ab
    python experiments/report.py runs/landscape/* --out report.html
    python experiments/report.py --compare runs/landscape/0123456789ab runs/landscape/ba9876543210

The page opens from the disk and fetches nothing. A run's own page is written into its folder; that
of several runs goes into the folder of all runs. `--published CSV` draws the figures with published
curves for the page; the figures in the run folder stay as they are.
"""

import dataclasses
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import tyro

from bnjax.commands import command_line
from bnjax.commands.command_line import guarded
from bnjax.errors import RunError, UsageError
from bnjax.frame import files, folder
from bnjax.frame.messages import printable
from bnjax.frame.published_curves import Published, read_published


@dataclasses.dataclass(frozen=True)
class Options:
    """What to show, and where."""

    runs: tyro.conf.Positional[tuple[Path, ...]] = ()
    """Folders of finished runs."""
    out: Path | None = None
    """File to write (default: report.html in the folder of a single run, else that of all runs)."""
    compare: tuple[Path, Path] | None = None
    """Two runs to set side by side: options, verdicts, numbers, curves, figures."""
    published: Path | None = None
    """CSV of published curves to draw over the measured ones (panel,series,step,low,high)."""
    debug: bool = False
    """Show tracebacks."""


def report(options: Options) -> Path:
    from bnjax.report import page  # loads xarray, which `--help` does not need

    paths = [*options.runs, *(options.compare or ())]
    if not paths:
        raise UsageError("no run folder is given: give one or more, or --compare A B")
    for path in paths:
        if not path.is_dir():
            raise UsageError(f"{path} is not a folder: give run folders")
        if not (path / folder.CONFIG).exists():
            raise UsageError(f"{path} is no run folder: give one that has a {folder.CONFIG}")
    unique = list(dict.fromkeys(map(os.path.abspath, paths)))
    first = Path(unique[0])
    target = options.out or (first if len(unique) == 1 else first.parents[1]) / page.PAGE
    if target.is_dir() or not target.absolute().parent.is_dir():
        raise UsageError(f"--out {target}: must be a file in a folder that exists")
    refuse_files_of_runs(target, unique)
    published = read_published(options.published) if options.published else {}
    made = [read(Path(path), published, target.absolute().parent) for path in unique]
    pair = None
    if options.compare:
        a, b = (unique.index(os.path.abspath(path)) for path in options.compare)
        pair = (a, b)
    write(page.render(made, pair), target)
    return target


def refuse_files_of_runs(target: Path, shown: Sequence[str]) -> None:
    """Refuse to write over what a run wrote, but for the page of a run that the new one shows."""
    from bnjax.report import page

    runs = (place for place in target.absolute().parents if (place / folder.CONFIG).exists())
    if (place := next(runs, None)) is None:
        return
    if target.suffix != ".html" or (target.name == page.PAGE and str(place) not in shown):
        raise UsageError(f"--out {target}: is in the run {place}: give a file elsewhere")


def read(path: Path, published: Published, page_folder: Path) -> Any:
    """A finished run, as `page.render` takes it."""
    from bnjax.report import page

    one = page.read(path, page_folder)
    if not published:
        return one
    if one.study is None:
        raise UsageError(
            f"--published: {path} is of {one.name}, which is no study of bnjax: give its own file "
            "--published and --redraw"
        )
    from bnjax.report import publish

    failed: dict[str, BaseException] = {}
    with tempfile.TemporaryDirectory(prefix="bnjax-report-") as name:
        place = Path(name)
        described = [
            page.describe(drawing, files)
            for drawing, files in publish.draw_figures(one.study, one.run, published, place, failed)
        ]
        for figure, why in publish.reasons(failed).items():
            raise RunError(f"{figure} of {path} cannot be drawn: {why}")
        return one._replace(figures=page.load_figures(place, described))


def write(text: str, target: Path) -> None:
    """Write the page; in a run folder it belongs to the results, whose digests are renewed."""
    from bnjax.report import page

    own = target.absolute().parent
    try:
        if not (target.name == page.PAGE and folder.is_finished(own)):
            page.save(text, target)
            return
        files.refuse_links(own)
        with folder.hold(own):
            page.save(text, target)
            if page.PAGE in folder.read_summary(own).files:
                folder.renew_summary(own, page.PAGE)
    except OSError as error:
        raise RunError(f"cannot write {target} ({error.strerror}): give another --out") from error


def main(arguments: Sequence[str] | None = None) -> int:
    arguments = command_line.typed() if arguments is None else arguments

    def act() -> None:
        options = command_line.parse_options(Options, arguments, "report", __doc__ or "")
        print(printable(report(options)))

    return guarded(act, arguments)
