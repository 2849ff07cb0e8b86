"""From a run's arrays to its verdicts, figures, page and summary.

Each claim is judged and each figure drawn on its own: a failure is said, and neither the arrays nor
the others are lost.
"""

import contextlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bnjax import draw
from bnjax.draw.recorded import WATCHED, recording
from bnjax.errors import RunError, UsageError, told
from bnjax.frame import folder, results
from bnjax.frame.files import plain
from bnjax.frame.listener import Listener, together
from bnjax.frame.messages import warn
from bnjax.frame.published_curves import Published, complaints
from bnjax.frame.results import Run
from bnjax.frame.study import Study
from bnjax.judge import kit
from bnjax.report import page

VERDICTS = ("supported", "not supported", "inconclusive")


def publish(study: Study, published: Published, path: Path, listeners: Sequence[Listener]) -> None:
    """Judge and draw what a folder holds; the summary, written last, marks the run finished."""
    measured = results.read(path)
    failed: dict[str, BaseException] = {}
    verdicts: list[dict[str, Any]] = []
    figures: list[dict[str, Any]] = []
    listener = together(*listeners)
    with draw.quiet():
        for name, claim in parts(study, "CLAIMS", failed):
            with noting(failed, f"claim {name}"):
                verdicts += [plain_verdict(one) for one in kit.verdicts(measured, (claim,))]
    listener.judge(verdicts)
    compared: dict[tuple[str, str], bool] = {}
    for drawing, files in draw_figures(study, measured, published, path, failed):
        figures.append(page.describe(drawing, files))
        listener.draw(drawing.name, files)
        for panel in getattr(drawing, "panels", ()):
            for curve, there in panel.compared.items():
                compared[curve] = compared.get(curve, False) or there
    for line in complaints(published, compared, study.name):
        warn(line)
    names = [folder.METRICS, folder.RESULTS, *(name for one in figures for name in one["files"])]
    with noting(failed, "page"):
        one = page.FinishedRun(
            name=study.name,
            digest=path.absolute().name,
            question=study.question,
            source=study.source,
            run=page.with_config(measured, path),
            verdicts=verdicts,
            failed=reasons(failed),
            figures=page.load_figures(path, figures),
            study=study,
            date="",
            href="",
        )
        names.append(page.save(page.render([one]), path / page.PAGE).name)
    names += sorted(f"{folder.MODELS}/{file.name}" for file in path.glob(f"{folder.MODELS}/*.npz"))
    why = reasons(failed)
    folder.write_summary(path, verdicts, why, names, figures, study.question, study.source)
    if failed:
        first = next(iter(failed))
        more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        raise RunError(
            f"{first}{more} of {path} failed: {why[first]}: all arrays, {len(verdicts)} verdicts "
            f"and {len(figures)} figures are kept; the same command tries again; --debug shows "
            "where"
        ) from failed[first]


def draw_figures(
    study: Study, run: Run, published: Published, place: Path, failed: dict[str, BaseException]
) -> Iterator[tuple[Any, list[Path]]]:
    figures, drawn = parts(study, "FIGURES", failed), set[str]()
    if WATCHED in run:
        figures.append((recording.__name__, recording))
    for name, figure in figures:
        with draw.quiet(), noting(failed, f"figure {name}"), draw.styled():
            found = figure(run, published)
            for drawing in [found] if hasattr(found, "save") else found:
                if drawing.name in drawn:
                    raise UsageError(f"two figures are named {drawing.name}: rename one")
                drawn.add(drawing.name)
                yield drawing, drawing.save(place)


@contextlib.contextmanager
def noting(failed: dict[str, BaseException], name: str) -> Any:
    """Within the block an error is noted under a name; the disk's and the memory's are raised."""
    try:
        yield
    except (OSError, MemoryError):
        raise
    except (Exception, SystemExit) as error:  # whatever a claim or a figure raises
        failed[name] = error


def reasons(failed: dict[str, BaseException]) -> dict[str, str]:
    """What failed and why, in words."""
    return {name: f"{type(error).__name__}: {told(error)}" for name, error in failed.items()}


def parts(study: Study, name: str, failed: dict[str, BaseException]) -> list[tuple[str, Any]]:
    found: Sequence[Any] = ()
    with noting(failed, name):  # a module that cannot be imported
        found = study.part(name, ())
    return [
        (str(getattr(part, "identifier", getattr(part, "__name__", number))), part)
        for number, part in enumerate(found, 1)
    ]


def plain_verdict(verdict: Any) -> dict[str, Any]:
    """A verdict as plain values; a decision of another name is a `UsageError`."""
    if verdict.verdict not in VERDICTS:
        raise UsageError(
            f"claim {verdict.identifier} has the verdict {verdict.verdict!r}: it must be one of "
            f"{', '.join(VERDICTS)}"
        )
    content: dict[str, Any] = plain(verdict._asdict())
    content["numbers"] = [plain(number._asdict()) for number in verdict.numbers]
    return content
