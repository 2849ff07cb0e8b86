"""Charts of a run, or of several over each other, as plain values that a page's program draws.

What an array is drawn as follows from its axes alone: against the training step, as a slice at one
probed step that a slider moves, against an axis of its own, or as a surface.
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from bnjax.report import curves as run_curves
from bnjax.report import definitions
from bnjax.report.curves import Curve, shown
from bnjax.report.pack import Numbers
from bnjax.report.thinning import Thinned, thin
from bnjax.runs.results import Results

FEW = 3  # values of an axis below which it is chosen from a list, not drawn along
MOST_CHARTS = 80
MOST_AT_FIRST = 24  # curves that are on when a page is opened
NEUTRAL = "#808080"
LOG_RATIO = 50  # between least and greatest beyond which an axis is logarithmic
LINEAR = ("accurac", "cosine", "share", "agreement")  # in the names of what is never
SHORT = {"losses": "loss", "accuracies": "accuracy"}  # what stands along an upright axis
COORDINATES = ("columns", "row", "step_sizes")  # fields that say where others were measured


class Source(NamedTuple):
    """One run under a name; what is drawn of it."""

    name: str  # empty where there is but one
    thinned: Thinned
    curves: Sequence[Curve]
    factors: Sequence[run_curves.Factor]


class Group(NamedTuple):
    """All charts of one run, or of several over each other."""

    content: Mapping[str, Any]  # plain values, for the page's program
    factors: Sequence[run_curves.Factor]
    looks: Mapping[tuple[str, str], Mapping[str, str]]  # of the values of factors
    off: Collection[tuple[str, str]]  # values of factors that are switched off at first
    choices: Mapping[str, Sequence[str]]  # axes that are chosen from a list
    sections: Mapping[str, Sequence[Mapping[str, Any]]]  # id, title and note of each chart
    steps: Sequence[int]  # that the slider has
    notes: Sequence[str]


def build(identifier: str, runs: Iterable[tuple[str, Results]], numbers: Numbers) -> Group:
    """The charts of some runs over each other.

    Args:
      identifier: of the group, for the page.
      runs: name and results; one without a name, or several with one each.
      numbers: takes the arrays.
    """
    sources, notes = [], []
    for name, results in runs:
        drawn, left_out = run_curves.curves(results)
        thinned = thin(results)
        notes += [f"{name}: {note}" if name else note for note in thinned.notes]
        if left_out:
            notes.append(f"{left_out} more curves are left out")
        sources.append(Source(name, thinned, drawn, run_curves.factors(results)))
    places = [Places(source, numbers) for source in sources]
    arrays = common([source.thinned for source in sources])
    made = []
    for name in arrays:
        if name.partition(".")[2] in COORDINATES or name.startswith("train."):
            continue
        made.append(chart(name, sources, places))
    training = [train_chart(field, sources, places) for field in fields(arrays)]
    charts = [each for each in (*training, *made) if each is not None]
    if len(charts) > MOST_CHARTS:
        notes.append(f"the last {len(charts) - MOST_CHARTS} quantities are not drawn")
        charts = charts[:MOST_CHARTS]
    for i, each in enumerate(charts):
        each["id"] = f"{identifier}-chart-{i}"
    used = {axis for each in charts for axis in each["choices"]}
    choices: dict[str, list[str]] = {}
    for source in sources:
        for axis in source.thinned.axes:
            if axis in used:
                known = choices.setdefault(axis, [])
                new = map(shown, source.thinned.axes[axis])
                known += [label for label in new if label not in known]
    factors = merged(sources)
    sections: dict[str, list[Mapping[str, Any]]] = {}
    for each in charts:
        sections.setdefault(each["kind"], []).append(each)
    steps = probe_steps(sources) if "slice" in sections else []
    content = {
        "id": identifier,
        "curves": [describe(sources, place, curve) for place, curve in every(sources)],
        "axes": [
            {
                axis: list(map(shown, source.thinned.axes[axis]))
                for axis in choices
                if axis in source.thinned.axes
            }
            for source in sources
        ],
        "probes": [place.axis("probe_step") for place in places],
        "charts": charts,
    }
    off = switched_off(len(every(sources)), factors)
    if off:
        notes.append("not all curves are switched on at first")
    return Group(content, factors, looks(sources, factors), off, choices, sections, steps, notes)


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


def fields(arrays: Sequence[str]) -> list[str]:
    """What was measured at every training step, loss and accuracy first."""
    found = [name.removeprefix("train.") for name in arrays if name.startswith("train.")]
    first = [name for name in ("loss", "accuracy") if name in found]
    return [*first, *(name for name in found if name not in first)]


def every(sources: Sequence[Source]) -> list[tuple[int, Curve]]:
    """All curves with the number of their source."""
    return [(place, curve) for place, source in enumerate(sources) for curve in source.curves]


def describe(sources: Sequence[Source], place: int, curve: Curve) -> Mapping[str, Any]:
    """A curve for the page's program."""
    several = len(sources) > 1
    name = sources[place].name
    return {
        "source": place,
        "label": f"{shown(name)}: {curve.label}" if several else curve.label,
        "values": {**curve.values, **({"run": shown(name)} if several else {})},
        "colour": curve.colour,
        "dark": run_curves.on_dark(curve.colour),
        # Of two runs over each other, the first is drawn whole and the second dashed.
        "dash": ("solid", "dash")[place % 2] if several else curve.dash,
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


def looks(
    sources: Sequence[Source], factors: Sequence[run_curves.Factor]
) -> Mapping[tuple[str, str], Mapping[str, str]]:
    """What a factor's value decides alone of the look of its curves: the key of the page."""
    drawn = [describe(sources, place, curve) for place, curve in every(sources)]
    found: dict[tuple[str, str], dict[str, str]] = {}
    for factor in factors:
        same = {
            value: [curve for curve in drawn if curve["values"].get(factor.name) == value]
            for value in factor.values
        }
        decided = [
            part
            for part in ("colour", "dash")
            if all(len({curve[part] for curve in own}) == 1 for own in same.values() if own)
            and len({curve[part] for curve in drawn}) > 1
        ]
        for value, own in same.items():
            if own and decided and len(factor.values) > 1:
                neutral = {"colour": NEUTRAL, "dark": NEUTRAL, "dash": "solid"}
                kept = {part: own[0][part] for part in decided}
                dark = {"dark": own[0]["dark"]} if "colour" in decided else {}
                found[factor.name, value] = {**neutral, **kept, **dark}
    return found


def switched_off(curves: int, factors: Sequence[run_curves.Factor]) -> set[tuple[str, str]]:
    """Values that are off at first, so that no more curves are shown than can be told apart."""
    off: set[tuple[str, str]] = set()
    others = [factor for factor in factors if factor.name not in ("run", "norm")]
    for factor in sorted(others, key=lambda factor: -len(factor.values)):
        if curves <= MOST_AT_FIRST:
            break
        off |= {(factor.name, value) for value in factor.values[1:]}
        curves = -(-curves // len(factor.values))
    return off


def probe_steps(sources: Sequence[Source]) -> list[int]:
    """All probed steps of all sources."""
    found = {
        int(step)
        for source in sources
        for step in source.thinned.axes.get("probe_step", np.empty(0)).tolist()
        if math.isfinite(step)
    }
    return sorted(found)


def train_chart(
    field: str, sources: Sequence[Source], places: Sequence[Places]
) -> dict[str, Any] | None:
    """Minibatches and test set of one field against the training step."""
    traces, values = [], []
    k = 0
    for source, place in zip(sources, places, strict=True):
        for row in range(len(source.curves)):
            for name, mode in ((f"train.{field}", "lines"), (f"test.{field}", "markers")):
                dims = source.thinned.dims.get(name)
                if dims not in (("step",), ("test_step",)):
                    continue
                array = source.thinned.arrays[name]
                values.append(array[row])
                traces.append(
                    {
                        "k": k,
                        "a": place.array(name),
                        "s": row * array.shape[1],
                        "n": array.shape[1],
                        "d": 1,
                        "x": place.axis(dims[0]),
                        "m": mode,
                        "w": "test set" if mode == "markers" else "training",
                    }
                )
            k += 1
    title = definitions.quantity(f"train.{field}").label.removeprefix("Minibatch ").capitalize()
    name = f"train.{field}"
    return framed("training", name, title, "", "training step", False, traces, values, {})


def chart(name: str, sources: Sequence[Source], places: Sequence[Places]) -> dict[str, Any] | None:
    """The chart of one array, by its axes."""
    own = definitions.quantity(name)
    dims = sources[0].thinned.dims[name]
    if dims and dims[0] == "test_step" and name.startswith("test."):
        return None  # it stands in the chart of its training curve
    if is_surface(name, sources):
        return surface(name, sources, places)
    inner = [axis for axis in dims if axis != "probe_step"]
    along = next(
        (a for a in reversed(inner) if all(len(s.thinned.axes[a]) >= FEW for s in sources)), None
    )
    sliced = "probe_step" in dims and along is not None
    course = "probe_step" in dims and not sliced
    along = "probe_step" if course else along or dims[-1]
    traces, values = [], []
    choices: dict[str, int] = {}
    k = 0
    for i, (source, place) in enumerate(zip(sources, places, strict=True)):
        array = source.thinned.arrays[name]
        strides = {axis: math.prod(array.shape[j + 2 :]) for j, axis in enumerate(dims)}
        chosen = {
            axis: strides[axis]
            for axis in dims
            if axis not in (along, "probe_step" if sliced else "")
            and len(source.thinned.axes[axis]) > 1
        }
        choices |= dict.fromkeys(chosen, i)
        for row in range(len(source.curves)):
            values.append(array[row])
            traces.append(
                {
                    "k": k,
                    "a": place.array(name),
                    "s": row * math.prod(array.shape[1:]),
                    "n": array.shape[1 + dims.index(along)],
                    "d": strides[along],
                    "x": coordinates(name, source, place, row) or place.axis(along),
                    "m": "lines+markers" if array.shape[1 + dims.index(along)] <= 60 else "lines",
                    **({"p": strides["probe_step"]} if sliced else {}),
                    **({"c": chosen} if chosen else {}),
                }
            )
            k += 1
    kind = "slice" if sliced else "course" if course else "after"
    xs = np.concatenate([np.asarray(s.thinned.axes[along]).ravel() for s in sources])
    return framed(
        kind,
        name,
        own.label,
        own.unit,
        definitions.axis(along),
        spreads(xs),
        traces,
        values,
        choices,
    )


def coordinates(name: str, source: Source, place: Places, row: int) -> Any:
    """Where a row of a surface or line was measured, where the run says so."""
    group = name.partition(".")[0]
    other = f"{group}.columns"
    if source.thinned.dims.get(other) != source.thinned.dims[name]:
        return None
    array = source.thinned.arrays[other]
    return {"a": place.array(other), "s": row * math.prod(array.shape[1:])}


def is_surface(name: str, sources: Sequence[Source]) -> bool:
    """Whether an array lies over a plane: two axes, with coordinates that differ along both."""
    for source in sources:
        group, dims = name.partition(".")[0], source.thinned.dims[name]
        rows = source.thinned.arrays.get(f"{group}.row")
        if (
            len(dims) != 2
            or rows is None
            or source.thinned.dims.get(f"{group}.columns") != dims
            or source.thinned.dims[f"{group}.row"] != dims[:1]
            or min(source.thinned.arrays[name].shape[1:]) < FEW
            or not np.ptp(np.nan_to_num(rows[0])) > 0
        ):
            return False
    return True


def surface(
    name: str, sources: Sequence[Source], places: Sequence[Places]
) -> dict[str, Any] | None:
    """A surface for each curve."""
    group = name.partition(".")[0]
    traces, values = [], []
    k = 0
    for source, place in zip(sources, places, strict=True):
        array = source.thinned.arrays[name]
        _, rows, columns = array.shape
        for row in range(len(source.curves)):
            values.append(array[row])
            traces.append(
                {
                    "k": k,
                    "a": place.array(name),
                    "s": row * rows * columns,
                    "rows": rows,
                    "columns": columns,
                    "x": {"a": place.array(f"{group}.columns"), "s": row * rows * columns},
                    "y": {"a": place.array(f"{group}.row"), "s": row * rows},
                }
            )
            k += 1
    own = definitions.quantity(name)
    return framed("surface", name, own.label, own.unit, "coordinate", False, traces, values, {})


def framed(
    kind: str,
    name: str,
    title: str,
    unit: str,
    along: str,
    log_x: bool,
    traces: Sequence[Mapping[str, Any]],
    values: Sequence[np.ndarray],
    choices: Mapping[str, Any],
) -> dict[str, Any] | None:
    """A chart with axes that hold all that was measured; None if nothing was."""
    finite = np.concatenate([part[np.isfinite(part)].ravel() for part in values] or [np.empty(0)])
    if not finite.size or not traces:
        return None
    low, high = float(finite.min()), float(finite.max())
    bounded = any(word in name for word in LINEAR)
    log = low > 0 and high / low > LOG_RATIO and not bounded
    return {
        "kind": kind,
        "title": title,
        "short": SHORT.get(name.partition(".")[2], name.partition(".")[2].replace("_", " ")),
        "unit": unit,
        "along": along,
        "logX": log_x,
        "logY": log,
        "range": [low, high],
        "positive": low > 0,
        "traces": traces,
        "choices": sorted(choices),
    }


def spreads(values: np.ndarray) -> bool:
    """Whether an axis is better drawn logarithmically: positive values in about equal ratios."""
    if values.dtype.kind not in "iuf" or len(values) < FEW:
        return False
    own = np.unique(values.astype(float))
    if len(own) < FEW or not (own > 0).all() or not np.isfinite(own).all():
        return False
    ratios = own[1:] / own[:-1]
    return bool(ratios.min() > 1.2 and own[-1] / own[0] > 5)
