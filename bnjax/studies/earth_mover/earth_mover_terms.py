"""What the claims on earth mover shift compare: quantities of a step, and their ratios."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from bnjax.frame.results import Results
from bnjax.judge.claim import Comparison
from bnjax.judge.pairs import at_equal_step, compare_pairs, probed_loss, reasons_against


class Quantity(NamedTuple):
    """Something of one probed step and layer that a claim compares; larger means more shift."""

    identifier: str
    name: str
    values: Callable[[Results, str, int], np.ndarray]  # of norm and seed: [probe_step, layer]


def field(results: Results, name: str, norm: str, seed: int) -> np.ndarray:
    """A measured field of all shown layers, `[probe_step, layer]`."""
    return results.select(f"earth_mover.{name}", norm=norm, seed=seed)


def relative(name: str, scale: str, results: Results, norm: str, seed: int) -> np.ndarray:
    """A field over another."""
    return field(results, name, norm, seed) / field(results, scale, norm, seed)


def absolute(name: str, results: Results, norm: str, seed: int) -> np.ndarray:
    """A field as it is."""
    return field(results, name, norm, seed)


QUANTITIES = (
    Quantity(
        "layer",
        "the sliced earth mover distance of a layer over its deviation",
        functools.partial(relative, "scaled", "deviation"),
    ),
    Quantity(
        "layer-absolute",
        "the sliced earth mover distance of a layer",
        functools.partial(absolute, "scaled"),
    ),
    Quantity(
        "unit",
        "the mean earth mover distance of a layer's units over their deviation",
        functools.partial(relative, "channel", "channel_deviation"),
    ),
)
MOMENTS = tuple(
    Quantity(
        name, f"a step's change of the units' {name}", functools.partial(absolute, f"{name}_change")
    )
    for name in ("skewness", "kurtosis")
)


def compare(
    results: Results, quantity: Quantity, above: str, below: str
) -> tuple[list[Comparison], list[str]]:
    """The ratio of a quantity at equal step and at equal loss, and why no claim can rest on it."""
    reasons = reasons_against(results, (above, below))
    comparisons = compare_pairs(
        results,
        losses=functools.partial(probed_loss, results),
        values=functools.partial(quantity.values, results),
        above=above,
        below=below,
    )
    return comparisons, reasons


def layer_ratios(
    results: Results, quantity: Quantity, above: str, below: str, seed: int
) -> np.ndarray:
    """Median ratio of each shown layer at equal step, `[layer]`; NaN where there is no pair."""
    left, right = (probed_loss(results, norm, seed) for norm in (above, below))
    rows, _ = at_equal_step(left, right, results.facts["chance_loss"])
    ratio = (
        quantity.values(results, above, seed)[rows] / quantity.values(results, below, seed)[rows]
    )
    return np.median(ratio, axis=0) if len(rows) else np.full(ratio.shape[1], np.nan)


def by_layer(results: Results, quantity: Quantity, above: str, below: str = "none") -> str:
    """The ratios of the layers as the claims table shows them, geometric means over seeds."""
    seeds = results.axes["seed"].tolist()
    ratios = np.array([layer_ratios(results, quantity, above, below, seed) for seed in seeds])
    shown = np.exp(np.log(ratios).mean(axis=0))
    named = zip(results.axes["shown_layer"], shown, strict=True)
    return ", ".join(f"{layer} {ratio:.2g}" for layer, ratio in named) + " at equal step"
