"""The runs that a group of charts is drawn of: their arrays, axes, curves and factors."""

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from bnjax.report import curves as run_curves
from bnjax.report import palette
from bnjax.report.curves import Curve, shown
from bnjax.report.pack import Numbers
from bnjax.report.thinning import Thinned

# How thick curves are: dashes and hues are those of the arms. Of two runs over each other the first
# is thin, and the second wide and a little paler.
STROKE = {"width": 1.9, "opacity": 1.0}
STROKES = ({"width": 1.3, "opacity": 1.0}, {"width": 4.5, "opacity": 0.8})


def stroke(place: int) -> Mapping[str, float]:
    """How thick the curves of one of several runs are."""
    return STROKES[place % len(STROKES)]


class Source(NamedTuple):
    """One run under a name; what is drawn of it."""

    name: str  # empty where there is but one
    thinned: Thinned
    curves: Sequence[Curve]
    factors: Sequence[run_curves.Factor]


class Places:
    """Where the arrays and axes of one source lie in the page's numbers; each is added once."""

    def __init__(self, source: Source, numbers: Numbers) -> None:
        self.source, self.numbers = source, numbers
        self.arrays: dict[str, int] = {}
        self.axes: dict[str, Any] = {}

    def array(self, name: str) -> int:
        """The place of an array."""
        if name not in self.arrays:
            self.arrays[name] = self.numbers.add(self.source.thinned.arrays[name])
        return self.arrays[name]

    def axis(self, name: str) -> Any:
        """The place of an axis of numbers, or the texts of one of names; None if there is none."""
        if name not in self.source.thinned.axes:
            return None
        if name not in self.axes:
            values = self.source.thinned.axes[name]
            self.axes[name] = (
                self.numbers.add(values) if values.dtype.kind in "iuf" else list(map(shown, values))
            )
        return self.axes[name]


def common(found: Sequence[Thinned]) -> list[str]:
    """The arrays that all sources have with the same axes, in the first one's order."""
    first = found[0]
    return [
        name
        for name in first.arrays
        if all(other.dims.get(name) == first.dims[name] for other in found)
    ]


def described(sources: Sequence[Source]) -> list[Mapping[str, Any]]:
    """All curves of all sources for the page's program."""
    return [
        describe(sources, place, curve)
        for place, source in enumerate(sources)
        for curve in source.curves
    ]


def describe(sources: Sequence[Source], place: int, curve: Curve) -> Mapping[str, Any]:
    """A curve for the page's program."""
    several = len(sources) > 1
    name = sources[place].name
    return {
        "source": place,
        "label": f"{shown(name)}: {curve.label}" if several else curve.label,
        "values": {**curve.values, **({"run": shown(name)} if several else {})},
        "colour": curve.colour,
        "dark": palette.on_dark(curve.colour),
        "dash": curve.dash,
        **(stroke(place) if several else STROKE),
        "symbol": curve.symbol,
        "arm": f"{shown(name)}: {curve.arm}" if several else curve.arm,
        "first": curve.first,
    }


def merged(sources: Sequence[Source]) -> list[run_curves.Factor]:
    """The factors of all sources, and the run where there are several."""
    found: dict[str, run_curves.Factor] = {}
    if len(sources) > 1:
        names = tuple(shown(source.name) for source in sources)
        found["run"] = run_curves.Factor("run", names, "run")
    for source in sources:
        for factor in source.factors:
            known = found.get(factor.name, factor)
            values = tuple(dict.fromkeys((*known.values, *factor.values)))
            found[factor.name] = known._replace(values=values)
    return list(found.values())


def probe_steps(sources: Sequence[Source]) -> list[int]:
    """All probed steps of all sources."""
    found = {
        int(step)
        for source in sources
        for step in source.thinned.axes.get("probe_step", np.empty(0)).tolist()
        if math.isfinite(step)
    }
    return sorted(found)
