"""The published numbers of Santurkar et al. 2018 on the landscape, and the same of a run.

Read off the vector figures of the paper (Fig. 4, 10, 12 and 13); a number is a median or an
extreme over probed steps, never a ratio of two arms.
"""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

from bnjax.frame.results import Results, last_rows

EARLY = 1500  # steps, where the paper's networks have not yet fitted their training set


class Summary(NamedTuple):
    """Numbers that a curve of one quantity is told by."""

    name: str
    take: Callable[[np.ndarray, np.ndarray], tuple[float, ...]]  # of values and probed steps
    published: Mapping[str, tuple[float, ...]]  # by arm


def largest(values: np.ndarray, steps: np.ndarray) -> tuple[float, ...]:
    """The largest value."""
    return (float(np.nanmax(values)),)


def first_and_largest(values: np.ndarray, steps: np.ndarray) -> tuple[float, ...]:
    """The value at the first probe and the largest."""
    return float(values[0]), float(np.nanmax(values))


def first_early_largest(values: np.ndarray, steps: np.ndarray) -> tuple[float, ...]:
    """The value at the first probe, the median of the early ones, and the largest."""
    return float(values[0]), float(np.nanmedian(values[steps <= EARLY])), float(np.nanmax(values))


def largest_and_late(values: np.ndarray, steps: np.ndarray) -> tuple[float, ...]:
    """The largest value, and the median over the last quarter of the probes."""
    late = values[last_rows(len(values), 4)]
    return float(np.nanmax(values)), float(np.nanmedian(late))


# By network and by the identifier of a quantity of `claims.landscape`.
SUMMARIES = {
    ("vgg", "fig4a"): Summary(
        "largest",
        largest,
        {"none": (9.67,), "batch": (5.20,), "l1": (4.62,), "l2": (4.34,), "linf": (4.21,)},
    ),
    ("vgg", "fig4b"): Summary(
        "first / largest",
        first_and_largest,
        {"none": (2.41, 254.9), "batch": (144.7, 144.7), "linf": (26.0, 38.0)},
    ),
    ("vgg", "fig4c"): Summary(
        f"first / median to step {EARLY} / largest",
        first_early_largest,
        {
            "none": (11.5, 20.5, 45.6),
            "batch": (25.3, 17.6, 25.3),
            "l1": (25.3, 17.5, 25.3),
            "l2": (25.6, 17.4, 25.6),
            "linf": (28.5, 17.3, 28.5),
        },
    ),
    ("dln", "fig4c"): Summary(
        "largest / late median",
        largest_and_late,
        {"none": (1.2e15, 2.2e6), "batch": (8.1e6, 2.02e6)},
    ),
}


def summaries(
    results: Results,
    identifier: str,
    values: Callable[[Results, str, int], np.ndarray],
    norms: tuple[str, ...],
) -> tuple[str, str]:
    """What a run measured and what was published, in the same words; empty where nothing was.

    Args:
      results: of a landscape run.
      identifier: of the quantity, e.g. `fig4a`.
      values: of results, norm and seed: `[probe_step]`.
      norms: the arms to tell of.

    Returns:
      `(measured, published)`, e.g. `largest none 9.67, batch 5.2`; medians over seeds.
    """
    summary = SUMMARIES.get((family(results.config), identifier))
    if summary is None:
        return "", ""
    steps = results.axes["probe_step"]
    measured = {}
    for norm in norms:
        runs = [values(results, norm, seed) for seed in results.axes["seed"].tolist()]
        seen = [summary.take(run, steps) for run in runs if np.isfinite(run).any()]
        measured[norm] = tuple(np.median(seen, axis=0)) if seen else ()
    published = {norm: summary.published.get(norm, ()) for norm in norms}
    return tell(summary.name, measured), tell(summary.name, published)


def family(config: Mapping[str, Any]) -> str:
    """The published network that a run may be compared with: `vgg`, `dln`, or one of no such."""
    return str(config["model"])[:3]


def tell(name: str, numbers: Mapping[str, tuple[float, ...]]) -> str:
    """The numbers of some arms in one line; arms without are left out."""
    parts = [
        f"{norm} {' / '.join(f'{x:.3g}' for x in row)}" for norm, row in numbers.items() if row
    ]
    return f"{name}: {', '.join(parts)}" if parts else ""
