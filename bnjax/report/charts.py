"""The charts of a run, or of several over each other, as plain values for the page's program.

The axes of a variable decide its chart: curves against the training step, a slice at one probed
step that a slider moves, curves against an axis of its own, or a surface over a plane.
"""

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from bnjax.frame.messages import printable
from bnjax.frame.results import Run
from bnjax.report import curves, thinning
from bnjax.report.curves import Factor, shown
from bnjax.report.pack import Numbers

MOST_CHARTS = 80
MOST_AT_FIRST = 24  # curves that are on when a page is opened
NEUTRAL = "#808080"
COORDINATES = ("columns", "row", "step_sizes")  # fields that say where others were measured
FEW = 3  # values of an axis below which it is chosen from a list, not drawn along
LOG_RATIO = 50  # between least and greatest beyond which an axis is logarithmic
MOST_MARKED = 60  # points of a line with markers
PATHS = {"trajectory": "principal_coordinates"}  # of training, in the plane of a surface
PATH_AXES = ("path", "probe_step", "plane_axis")


class Group(NamedTuple):
    """All charts of one run, or of several over each other."""

    content: Mapping[str, Any]  # plain values, for the page's program
    factors: Sequence[Factor]
    looks: Mapping[tuple[str, str], Mapping[str, Any]]  # of the values of factors
    off: Collection[tuple[str, str]]  # values of factors that are switched off at first
    choices: Mapping[str, tuple[str, Sequence[str]]]  # axes chosen from a list: label, values
    sections: Mapping[str, Sequence[Mapping[str, Any]]]  # charts by their kind
    steps: Sequence[int]  # that the slider has
    notes: Sequence[str]


class Source:
    """One run of a group: its thinned numbers, and where they lie in the page."""

    def __init__(self, name: str, run: Run, numbers: Numbers) -> None:
        self.name = shown(name)
        self.run = run
        self.numbers = numbers
        self.factors = curves.factors(run)
        self.curves, left_out = curves.make_curves(run)
        self.data, notes = thinning.thin(run)
        self.notes = [f"{name}: {note}" if name else note for note in notes]
        if left_out:
            self.notes.append(f"{left_out} more curves are left out")
        self._places: dict[str, Any] = {}

    def axes(self, name: str) -> tuple[str, ...]:
        """The axes of a variable after that of the curves; empty where there is none."""
        return tuple(map(str, self.data[name].dims[1:])) if name in self.data.data_vars else ()

    def values(self, axis: str) -> np.ndarray:
        """The values of an axis, or its places where it has none."""
        return np.asarray(self.data[axis].values)

    def place(self, name: str) -> Any:
        """The place of a variable or of an axis of numbers; the texts of another axis."""
        if name not in self._places:
            values = self.data[name].values
            known = name in self.data.data_vars or values.dtype.kind in "iuf"
            self._places[name] = self.numbers.add(values) if known else list(map(shown, values))
        return self._places[name]

    def part(self, name: str, row: int, **more: Any) -> dict[str, Any]:
        """Place and start of the numbers of one curve."""
        return {"a": self.place(name), "s": row * math.prod(self.data[name].shape[1:]), **more}


def build(identifier: str, runs: Iterable[tuple[str, Run]], numbers: Numbers) -> Group:
    """The charts of some runs over each other.

    Args:
      identifier: of the group, for the page.
      runs: name and results; one without a name, or several with one each.
      numbers: takes the arrays.
    """
    sources = [Source(name, run, numbers) for name, run in runs]
    first, several = sources[0], len(sources) > 1
    common = [
        name
        for name in map(str, first.data.data_vars)
        if all(first.axes(name) == source.axes(name) for source in sources)
    ]
    training = [name for name in common if probe(first, name) == "train"]
    training.sort(key=lambda name: ("train_loss", "train_accuracy", name).index(name))
    others = [name for name in common if name not in training and not is_coordinate(first, name)]
    found = [train_chart(name, sources) for name in training]
    found += [chart(name, sources) for name in others]
    charts = [each for each in found if each is not None]
    notes = [note for source in sources for note in source.notes]
    if len(charts) > MOST_CHARTS:
        notes.append(f"the last {len(charts) - MOST_CHARTS} quantities are not drawn")
        charts = charts[:MOST_CHARTS]
    titles = [each["title"] for each in charts]
    sections: dict[str, list[Mapping[str, Any]]] = {}
    for i, each in enumerate(charts):
        each["id"] = f"{identifier}-chart-{i}"
        if titles.count(each["title"]) > 1 and each["kind"] != "training":
            each["title"] += f", {each['probe']}"
        sections.setdefault(each["kind"], []).append(each)
    drawn = [
        curve.content(
            i,
            source.name if several else "",
            curves.STROKES[i % len(curves.STROKES)] if several else curves.STROKE,
        )
        for i, source in enumerate(sources)
        for curve in source.curves
    ]
    chosen = [
        {
            axis: list(map(shown, source.values(axis)))
            for axis in sorted({axis for each in charts for axis in each["choices"]})
            if axis in source.data.dims
        }
        for source in sources
    ]
    choices = {
        axis: (
            curves.axis_label(first.run, axis),
            list(dict.fromkeys(value for own in chosen for value in own.get(axis, ()))),
        )
        for own in chosen
        for axis in own
    }
    factors = merge_factors(sources)
    off = switched_off(len(drawn), factors)
    if off:
        notes.append("not all curves are switched on at first")
    content = {
        "id": identifier,
        "curves": drawn,
        "axes": chosen,
        "probes": [
            s.place("probe_step") if "probe_step" in s.data.coords else None for s in sources
        ],
        "charts": charts,
    }
    steps = {
        int(step)
        for source in sources
        if "slice" in sections and "probe_step" in source.data.coords
        for step in source.values("probe_step").tolist()
        if math.isfinite(step)
    }
    looks = factor_looks(drawn, factors)
    return Group(content, factors, looks, off, choices, sections, sorted(steps), notes)


def probe(source: Source, name: str) -> str:
    return str(source.data[name].attrs.get("probe") or name.partition("_")[0])


def is_coordinate(source: Source, name: str) -> bool:
    return name.removeprefix(f"{probe(source, name)}_") in COORDINATES


def train_chart(name: str, sources: Sequence[Source]) -> dict[str, Any] | None:
    """Minibatches and test set of one quantity against the training step."""
    other = f"test_{name.removeprefix('train_')}"
    traces, values = [], []
    k = 0
    for source in sources:
        for row in range(len(source.curves)):
            for field, mode, label in ((name, "lines", "training"), (other, "markers", "test set")):
                axes = source.axes(field)
                if axes not in (("step",), ("block",), ("test_step",)):
                    continue
                values.append(source.data[field].values[row])
                x = source.place(axes[0])
                trace = source.part(field, row, k=k, n=len(values[-1]), d=1, x=x, m=mode, w=label)
                traces.append(trace)
            k += 1
    made = framed("training", name, sources, "training step", False, traces, values)
    if made:
        made["title"] = made["title"].removeprefix("Minibatch ").capitalize()
        hollow = " Hollow marks: the whole test set." if other in sources[0].data else ""
        made["definition"] += hollow
    return made


def chart(name: str, sources: Sequence[Source]) -> dict[str, Any] | None:
    """The chart of one variable, by its axes."""
    axes = sources[0].axes(name)
    if axes == ("test_step",) and f"train_{name.removeprefix('test_')}" in sources[0].data:
        return None  # it stands in the chart of its training curve
    if all(is_surface(name, source) for source in sources):
        return surface(name, sources)
    inner = [axis for axis in axes if axis != "probe_step"]
    long = (a for a in reversed(inner) if all(s.data.sizes[a] >= FEW for s in sources))
    along = next(long, None)
    sliced = "probe_step" in axes and along is not None
    course = "probe_step" in axes and not sliced
    along = "probe_step" if course else along or axes[-1]
    traces, values = [], []
    choices: set[str] = set()
    k = 0
    for source in sources:
        array = source.data[name].values
        stride = {axis: math.prod(array.shape[j + 2 :]) for j, axis in enumerate(axes)}
        fixed = {along, "probe_step"} if sliced else {along}
        chosen = {a: stride[a] for a in axes if a not in fixed and source.data.sizes[a] > 1}
        choices |= set(chosen)
        length = source.data.sizes[along]
        columns = f"{probe(source, name)}_columns"  # where a line was measured
        own = source.axes(columns) == axes
        for row in range(len(source.curves)):
            values.append(array[row])
            x = source.part(columns, row) if own else source.place(along)
            mode = "lines+markers" if length <= MOST_MARKED else "lines"
            more = {"p": stride["probe_step"]} if sliced else {}
            more |= {"c": chosen} if chosen else {}
            traces.append(
                source.part(name, row, k=k, n=length, d=stride[along], x=x, m=mode, **more)
            )
            k += 1
    kind = "slice" if sliced else "course" if course else "after"
    log_x = spreads(np.concatenate([source.values(along) for source in sources]))
    made = framed(kind, name, sources, label_along(along, sources), log_x, traces, values)
    return made and {**made, "choices": sorted(choices)}


def label_along(axis: str, sources: Sequence[Source]) -> str:
    """The name of an axis; step sizes of several rates are in units of each arm's own rate."""
    label = curves.axis_label(sources[0].run, axis)
    for source in sources:
        if axis == "step_size" and source.axes("line_step_sizes")[-1:] == (axis,):
            ratios = source.data["line_step_sizes"].values / source.values(axis)
            scaled = (np.abs(ratios[np.isfinite(ratios)] - 1) > 1e-3).any()
            if scaled and "learning rate" not in label:
                return f"{label} / learning rate"
    return label


def is_surface(name: str, source: Source) -> bool:
    """Whether a variable lies over a plane: two axes, with coordinates that differ along both."""
    axes, group = source.axes(name), probe(source, name)
    rows, columns = f"{group}_row", f"{group}_columns"
    return bool(
        len(axes) == 2
        and source.axes(columns) == axes
        and source.axes(rows) == axes[:1]
        and min(source.data[name].shape[1:]) >= FEW
        and np.ptp(np.nan_to_num(source.data[rows].values[0])) > 0
    )


def surface(name: str, sources: Sequence[Source]) -> dict[str, Any] | None:
    """A surface for each curve."""
    group = probe(sources[0], name)
    traces, values = [], []
    k = 0
    for source in sources:
        array = source.data[name].values
        for row in range(len(source.curves)):
            values.append(array[row])
            size = {"rows": array.shape[1], "columns": array.shape[2]}
            x, y = (source.part(f"{group}_{axis}", row) for axis in ("columns", "row"))
            more = training_path(group, source, row)
            traces.append(source.part(name, row, k=k, **size, x=x, y=y, **more))
            k += 1
    along, across = (label(sources[0], f"{group}_{axis}") for axis in ("columns", "row"))
    made = framed("surface", name, sources, along, False, traces, values)
    return made and {**made, "across": across}


def training_path(group: str, source: Source, row: int) -> dict[str, Any]:
    """The path of training in the plane of a surface, where the run has one: it ends at 0, 0."""
    name = PATHS.get(group, "")
    if source.axes(name) != PATH_AXES:
        return {}
    values = source.data[name].values
    if values.shape[3] != 2 or not np.isfinite(values[row, 0]).all():
        return {}
    return {"path": source.part(name, row, n=values.shape[2])}


def label(source: Source, name: str) -> str:
    """The name of a variable as a person reads it."""
    found = source.data[name].attrs.get("long_name")
    return printable(found or name.replace("_", " ").capitalize(), 200)


def framed(
    kind: str,
    name: str,
    sources: Sequence[Source],
    along: str,
    log_x: bool,
    traces: Sequence[Mapping[str, Any]],
    values: Sequence[np.ndarray],
) -> dict[str, Any] | None:
    """A chart whose axes hold all that was measured; None if nothing was."""
    finite = np.concatenate([part[np.isfinite(part)].ravel() for part in values] or [np.empty(0)])
    if not finite.size or not traces:
        return None
    low, high = float(finite.min()), float(finite.max())
    attrs = sources[0].data[name].attrs
    bounded = bool(attrs.get("bounded"))
    return {
        "kind": kind,
        "name": name,
        "probe": probe(sources[0], name),
        "title": label(sources[0], name),
        "short": label(sources[0], name),
        "definition": printable(attrs.get("definition") or "", 1000),
        "unit": printable(attrs.get("units") or "", 80),
        "along": along,
        "logX": log_x,
        "logY": low > 0 and high / low > LOG_RATIO and not bounded,
        "range": [low, high],
        "positive": low > 0,
        "traces": traces,
        "choices": [],
    }


def spreads(values: np.ndarray) -> bool:
    """Whether an axis is better drawn logarithmically: positive values in about equal ratios."""
    if values.dtype.kind not in "iuf" or len(values) < FEW:
        return False
    own = np.unique(values.astype(float))
    if len(own) < FEW or not (own > 0).all() or not np.isfinite(own).all():
        return False
    return bool((own[1:] / own[:-1]).min() > 1.2 and own[-1] / own[0] > 5)


def merge_factors(sources: Sequence[Source]) -> list[Factor]:
    """The factors of all sources, and the run where there are several."""
    found: dict[str, Factor] = {}
    if len(sources) > 1:
        found["run"] = Factor("run", tuple(source.name for source in sources), "run")
    for source in sources:
        for factor in source.factors:
            known = found.get(factor.name, factor)
            values = tuple(dict.fromkeys((*known.values, *factor.values)))
            found[factor.name] = known._replace(values=values)
    return list(found.values())


def factor_looks(
    drawn: Sequence[Mapping[str, Any]], factors: Sequence[Factor]
) -> dict[tuple[str, str], Mapping[str, Any]]:
    """What a factor's value alone decides of the look of its curves: the samples at switches."""
    found: dict[tuple[str, str], Mapping[str, Any]] = {}
    with_it = {"colour": "dark", "width": "opacity"}  # go together
    for factor in factors:
        same = {
            value: [curve for curve in drawn if curve["values"].get(factor.name) == value]
            for value in factor.values
        }
        decided = [
            part
            for part in ("colour", "dash", "width")
            if all(len({curve[part] for curve in own}) == 1 for own in same.values() if own)
            and len({curve[part] for curve in drawn}) > 1
        ]
        parts = [*decided, *(with_it[part] for part in decided if part in with_it)]
        neutral = {"colour": NEUTRAL, "dark": NEUTRAL, "dash": "solid", **curves.STROKE}
        for value, own in same.items():
            if own and decided and len(factor.values) > 1:
                found[factor.name, value] = {**neutral, **{part: own[0][part] for part in parts}}
    return found


def switched_off(count: int, factors: Sequence[Factor]) -> set[tuple[str, str]]:
    """Values that are off at first, so that no more curves are shown than can be told apart."""
    off: set[tuple[str, str]] = set()
    others = [factor for factor in factors if factor.name not in ("run", "norm")]
    for factor in sorted(others, key=lambda factor: -len(factor.values)):
        if count <= MOST_AT_FIRST:
            break
        off |= {(factor.name, value) for value in factor.values[1:]}
        count = -(-count // len(factor.values))
    return off
