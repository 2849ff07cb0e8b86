"""From the saved results of a run to its figures, claims and page."""

import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

from bnjax.errors import UsageError
from bnjax.frame import folder, results
from bnjax.frame.experiment import Experiment
from bnjax.frame.published_curves import Published

VERDICTS = ("supported", "not supported", "inconclusive")


class Drawn(NamedTuple):
    """What the page of a run is made of."""

    experiment: Experiment
    results: results.Results
    claims: Sequence[Mapping[str, str]]
    figures: Sequence[Path]
    published: Published


# Writes a page into a run's folder; returns its path, or None where there is to be none.
WritePage: TypeAlias = Callable[[Drawn, Path], Path | None]


def no_page(drawn: Drawn, folder: Path) -> None:
    """Write none."""


def check_verdict(claim: Any) -> dict[str, str]:
    """A claim as plain values.

    Raises:
      UsageError: a verdict that there is not.
    """
    if claim.verdict not in VERDICTS:
        raise UsageError(
            f"claim {claim.identifier} has the verdict {claim.verdict!r}: it must be "
            f"one of {', '.join(VERDICTS)}; all that was measured is kept"
        )
    return claim._asdict()


def publish(
    experiment: Experiment, published: Published, write_page: WritePage, path: Path
) -> None:
    """Draw and judge what a folder holds; its summary, written last, marks the run finished."""
    with warnings.catch_warnings():  # what an arm that diverged did not measure is NaN
        warnings.filterwarnings("ignore", "All-NaN|Mean of empty|invalid value", RuntimeWarning)
        claims = [check_verdict(claim) for claim in experiment.claims(results.read(path))]
        figures = experiment.draw(results.read(path), published, path)
        page = write_page(Drawn(experiment, results.read(path), claims, figures, published), path)
    kept = sorted(f"{folder.MODELS}/{file.name}" for file in path.glob(f"{folder.MODELS}/*.npz"))
    drawn = [*figures, *([page] if page else [])]
    files = [folder.METRICS, folder.PROBES, *(file.name for file in drawn), *kept]
    folder.write_summary(path, claims, files)
