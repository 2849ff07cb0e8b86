"""Two runs side by side: options, verdicts, numbers, and figures of the same name."""

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from bnjax.report import tables
from bnjax.report.content import Run
from bnjax.report.tables import Number


class Verdicts(NamedTuple):
    """One claim in both runs; empty where a run does not have it."""

    identifier: str
    sentence: str
    first: Mapping[str, str]
    second: Mapping[str, str]

    @property
    def changed(self) -> bool:
        """Whether the verdicts differ."""
        return self.first.get("verdict") != self.second.get("verdict")


class Row(NamedTuple):
    """One quantity of one arm in both runs."""

    arm: str
    quantity: str
    first: str
    second: str
    change: str


class Comparison(NamedTuple):
    """All that differs between two runs, and what they have in common to be looked at."""

    names: tuple[str, str]
    options: Sequence[tuple[str, str, str]]
    surroundings: Sequence[tuple[str, str, str]]
    claims: Sequence[Verdicts]
    numbers: Sequence[Row]
    only_first: Sequence[str]  # arms
    only_second: Sequence[str]
    figures: Sequence[str]  # that both have

    @property
    def changed(self) -> int:
        """The number of claims whose verdicts differ."""
        return sum(claim.changed for claim in self.claims)


def compare(first: Run, second: Run) -> Comparison:
    """Set two runs side by side.

    Args:
      first: run A.
      second: run B; of another experiment it has fewer things in common.
    """
    own, other = (run.results for run in (first, second))
    here, there = (tables.ends(results) for results in (own, other))
    labels = dict([*tables.quantity_names(here), *tables.quantity_names(there)])
    rows = [
        Row(arm, labels[name], a.text, b.text, change(a, b))
        for arm in here
        if arm in there
        for name, a in here[arm].items()
        if (b := there[arm].get(name)) is not None
    ]
    kept = [tables.deciding(results.config) for results in (own, other)]
    drawn = [[f.name for f in run.figures if ".svg" in f.files] for run in (first, second)]
    return Comparison(
        names=(f"{first.experiment}/{first.digest}", f"{second.experiment}/{second.digest}"),
        options=[
            *(
                [("experiment", first.experiment, second.experiment)]
                if first.experiment != second.experiment
                else []
            ),
            *tables.differences(*kept),
        ],
        surroundings=tables.differences(own.facts, other.facts),
        claims=verdicts(first.claims, second.claims),
        numbers=rows,
        only_first=[arm for arm in here if arm not in there],
        only_second=[arm for arm in there if arm not in here],
        figures=[name for name in drawn[0] if name in drawn[1]],
    )


def verdicts(
    first: Sequence[Mapping[str, str]], second: Sequence[Mapping[str, str]]
) -> list[Verdicts]:
    """The claims of both runs by identifier, in the first one's order."""
    own, other = ({claim["identifier"]: claim for claim in claims} for claims in (first, second))
    return [
        Verdicts(
            identifier,
            (own.get(identifier) or other[identifier])["sentence"],
            own.get(identifier, {}),
            other.get(identifier, {}),
        )
        for identifier in dict.fromkeys((*own, *other))
    ]


def change(first: Number, second: Number) -> str:
    """What became of a number: the difference, and by how much of the first."""
    if not (math.isfinite(first.middle) and math.isfinite(second.middle)):
        return "" if np.isnan([first.middle, second.middle]).all() else "one is not finite"
    difference = second.middle - first.middle
    if difference == 0:
        return "equal"
    share = f" ({difference / abs(first.middle):+.1%})" if first.middle else ""
    return f"{difference:+.3g}{share}"
