"""Tables of a page: how each arm ended, and the options and surroundings of runs."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from bnjax.frame.folder import NOT_IN_DIGEST
from bnjax.frame.results import Run as Results
from bnjax.frame.results import late as last_rows
from bnjax.report import again, curves, quantities

LATE = 10  # the last tenth of the steps, over which minibatches are averaged


class Number(NamedTuple):
    """A number over seeds."""

    middle: float
    low: float
    high: float
    seeds: int

    @property
    def text(self) -> str:
        """As a person reads it."""
        if not np.isfinite(self.middle):
            return "not finite"
        if self.seeds == 1:
            return f"{self.middle:.4g}"
        return f"{self.middle:.4g} [{self.low:.4g}, {self.high:.4g}]"


def ends(results: Results) -> dict[str, dict[str, Number]]:
    """How each arm ended: by arm, by quantity, median and range over seeds.

    Minibatch numbers are means over the last tenth of the steps; test numbers those of the last
    evaluation; probes those of the last probe, where they are one number.
    """
    lead = curves.outer(results)
    if not lead or lead[-1] != "seed":
        return {}
    names = [name for name, dims in curves.arrays(results) if len(dims) == 1]
    names = [n for n in names if results.dims[n][-1] in ("step", "test_step", "probe_step")]
    names = [name for name in names if name != "train.finite"]
    names.sort(key=lambda name: not name.startswith(("train.", "test.")))
    found: dict[str, dict[str, Number]] = {}
    factors = curves.factors(results)[:-1]
    sizes = [len(factor.values) for factor in factors]
    varying = [i for i, size in enumerate(sizes) if size > 1]
    hue = curves.main(lead[:-1], varying)
    said = [i for i in range(len(sizes)) if i == hue or i in varying]
    for index in np.ndindex(*sizes):
        arm = curves.words(factors, index, hue, said)
        found[arm] = {
            name: end(results.arrays[name][index], results.dims[name][-1]) for name in names
        }
    return found


def end(values: np.ndarray, axis: str) -> Number:
    """The end of one quantity, `[seed, step]`."""
    late = values[:, last_rows(values.shape[1], LATE)] if axis == "step" else values[:, -1:]
    means = late.mean(axis=1, dtype=np.float64)
    finite = means[np.isfinite(means)]
    if not finite.size:
        return Number(np.nan, np.nan, np.nan, len(means))
    return Number(float(np.median(finite)), float(finite.min()), float(finite.max()), len(means))


def quantity_names(found: Mapping[str, Mapping[str, Number]]) -> list[tuple[str, str]]:
    """The names of all quantities, and how a person reads them."""
    names = dict.fromkeys(name for numbers in found.values() for name in numbers)
    return [(name, quantities.quantity(name).label) for name in names]


def value(content: Any) -> str:
    """An option's value as text: a list without brackets, anything nested as JSON."""
    if content is None:
        return "none given"
    if isinstance(content, bool):
        return "yes" if content else "no"
    if isinstance(content, list) and not any(isinstance(part, list | dict) for part in content):
        return " ".join(map(str, content)) or "none"
    if isinstance(content, list | dict):
        return json.dumps(content, sort_keys=True)
    return f"{content:g}" if isinstance(content, float) else str(content) or "none"


def options(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """All options that make a difference to results, in their order."""
    return [(name, value(content)) for name, content in deciding(config).items()]


def deciding(config: Mapping[str, Any]) -> dict[str, Any]:
    """The options that make a difference to results; of plugins the names of the files."""
    kept = {name: content for name, content in config.items() if name not in NOT_IN_DIGEST}
    if "plugins" in kept:
        kept["plugins"] = again.file_names(kept["plugins"])
    return kept


def differences(
    first: Mapping[str, Any], second: Mapping[str, Any]
) -> Sequence[tuple[str, str, str]]:
    """The entries in which two mappings differ: name, first value, second value."""
    names = [*first, *(name for name in second if name not in first)]
    missing = "not there"
    return [
        (
            name,
            value(first[name]) if name in first else missing,
            value(second[name]) if name in second else missing,
        )
        for name in names
        if (name in first) != (name in second) or first.get(name) != second.get(name)
    ]
