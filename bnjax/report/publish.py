"""From a run's arrays to its verdicts, figures, page and summary.

Each claim is judged and each figure drawn on its own: one that fails is said, and neither the
arrays nor the others are lost.
"""

import contextlib
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bnjax import draw
from bnjax.errors import RunError, UsageError, told
from bnjax.frame import folder, results
from bnjax.frame.files import plain
from bnjax.frame.listener import Listener, Listeners
from bnjax.frame.published_curves import Published
from bnjax.frame.results import Run
from bnjax.frame.study import Study
from bnjax.judge import kit
from bnjax.report.page import write_page

VERDICTS = ("supported", "not supported", "inconclusive")


class Publication(NamedTuple):
    """What the page of a run is made of."""

    study: Study
    run: Run
    verdicts: Sequence[Mapping[str, Any]]
    drawings: Sequence[Any]  # as the study's figures return them
    published: Published


def publish(
    study: Study, published: Published, path: Path, listeners: Sequence[Listener] = ()
) -> None:
    """Judge and draw what a folder holds; the summary, written last, marks the run finished.

    Raises:
      RunError: claims, figures or the page that failed, after all others are written.
    """
    measured = results.read(path)
    failed: dict[str, str] = {}
    verdicts: list[dict[str, Any]] = []
    drawings: list[Any] = []
    files: list[Path] = []
    listener = Listeners(*listeners)
    with warnings.catch_warnings():  # what an arm that diverged did not measure is NaN
        warnings.filterwarnings("ignore", "All-NaN|Mean of empty|invalid value", RuntimeWarning)
        for name, claim in parts(study, "CLAIMS", failed):
            with noting(failed, f"claim {name}"):
                verdicts += [plain_verdict(one) for one in kit.verdicts(measured, (claim,))]
        listener.judge(verdicts)
        for name, figure in parts(study, "FIGURES", failed):
            with noting(failed, f"figure {name}"), draw.styled():
                found = figure(measured, published)
                for drawing in [found] if hasattr(found, "save") else found:
                    written = drawing.save(path)
                    files += written
                    drawings.append(drawing)
                    listener.draw(drawing.name, written)
        with noting(failed, "page"):
            page = write_page(Publication(study, measured, verdicts, drawings, published), path)
            files += [page] if page else []
    kept = sorted(f"{folder.MODELS}/{file.name}" for file in path.glob(f"{folder.MODELS}/*.npz"))
    names = [folder.METRICS, folder.RESULTS, *(file.name for file in files), *kept]
    folder.write_summary(path, verdicts, failed, names)
    if failed:
        first, why = next(iter(failed.items()))
        more = f" (and {len(failed) - 1} more)" if len(failed) > 1 else ""
        raise RunError(
            f"{first}{more} of {path} failed: {why}: all arrays, {len(verdicts)} verdicts and "
            f"{len(drawings)} figures are kept; the same command tries again"
        )


@contextlib.contextmanager
def noting(failed: dict[str, str], name: str) -> Any:
    """Within the block an error is noted under a name; the disk's and the memory's are raised."""
    try:
        yield
    except (OSError, MemoryError):
        raise
    except Exception as error:  # whatever a claim or a figure raises
        failed[name] = f"{type(error).__name__}: {told(error)}"


def parts(study: Study, name: str, failed: dict[str, str]) -> list[tuple[str, Any]]:
    """The claims or the figures of a study, each with a name for messages."""
    found: Sequence[Any] = ()
    with noting(failed, name):  # a module that cannot be imported
        found = study.part(name, ())
    return [
        (str(getattr(part, "identifier", getattr(part, "__name__", number))), part)
        for number, part in enumerate(found, 1)
    ]


def plain_verdict(verdict: Any) -> dict[str, Any]:
    """A verdict as plain values.

    Raises:
      UsageError: a verdict that there is not.
    """
    if verdict.verdict not in VERDICTS:
        raise UsageError(
            f"claim {verdict.identifier} has the verdict {verdict.verdict!r}: it must be one of "
            f"{', '.join(VERDICTS)}"
        )
    content: dict[str, Any] = plain(verdict._asdict())
    content["numbers"] = [plain(number._asdict()) for number in verdict.numbers]
    return content
