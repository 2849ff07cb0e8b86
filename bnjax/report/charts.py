"""The charts of a run, or of several over each other, as plain values for the page's program.

The axes of a variable decide its chart: curves against the training step, a slice at one probed
step that a slider moves, curves against an axis of its own, or a surface over a plane.
Published curves stand over measured ones as in the table that a figure was drawn from.
"""

import csv
import io
import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np

from bnjax.draw.drawing import COLUMNS, LOOKS, PUBLISHED
from bnjax.errors import RunError
from bnjax.frame.messages import printable
from bnjax.frame.results import Run
from bnjax.report import curves
from bnjax.report.curves import Factor, shown
from bnjax.report.finished import Figure
from bnjax.report.pack import Numbers

MOST_CHARTS = 80
MOST_AT_FIRST = 24  # curves that are on when a page is opened
NEUTRAL = "#808080"
COORDINATES = ("columns", "row", "step_sizes")  # fields that say where others were measured
FEW = 3  # values of an axis below which it is chosen from a list, not drawn along
LOG_RATIO = 50  # between least and greatest beyond which an axis is logarithmic
MOST_MARKED = 60  # points of a line with markers
Chart: TypeAlias = dict[str, Any]  # plain values
# Of each array that is drawn: its name, entries of all its traces, and arrays by further entries.
Traces: TypeAlias = Iterator[tuple[str, dict[str, Any], dict[str, str]]]
PATHS = {"trajectory": "principal_coordinates"}  # of training, in the plane of a surface
PATH_AXES = ("path", "probe_step", "plane_axis")


class Group(NamedTuple):
    """All charts of one run, or of several over each other."""

    content: dict[str, Any]  # plain values, for the page's program
    factors: Sequence[Factor]
    looks: Mapping[tuple[str, str], Mapping[str, Any]]  # of the values of factors
    off: Collection[tuple[str, str]]  # values of factors that are switched off at first
    choices: Mapping[str, tuple[str, Sequence[str]]]  # axes chosen from a list: label, values
    sections: dict[str, list[Chart]]  # charts by their kind
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
        self.data, notes = curves.thin(run)
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

    def part(self, name: str, row: int) -> dict[str, Any]:
        """Place and start of the numbers of one curve."""
        return {"a": self.place(name), "s": row * math.prod(self.data.variables[name].shape[1:])}


def build(identifier: str, runs: Iterable[tuple[str, Run]], numbers: Numbers) -> Group:
    """The charts of some runs over each other: one without a name, or several with one each."""
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
    sections: dict[str, list[Chart]] = {}
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


def train_chart(name: str, sources: Sequence[Source]) -> Chart | None:
    """Minibatches and test set of one quantity against the training step."""
    other = f"test_{name.removeprefix('train_')}"

    def describe(source: Source) -> Traces:
        for field, mode, what in ((name, "lines", "training"), (other, "markers", "test set")):
            axes = source.axes(field)
            if axes in (("step",), ("block",), ("test_step",)):
                x, length = source.place(axes[0]), source.data.sizes[axes[0]]
                yield field, {"x": x, "n": length, "d": 1, "m": mode, "w": what}, {}

    made = framed("training", name, sources, "training step", describe)
    if made:
        made["title"] = made["title"].removeprefix("Minibatch ").capitalize()
        hollow = " Hollow marks: the whole test set." if other in sources[0].data else ""
        made["definition"] += hollow
    return made


def chart(name: str, sources: Sequence[Source]) -> Chart | None:
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

    def describe(source: Source) -> Traces:
        lengths = [source.data.sizes[axis] for axis in axes]
        stride = {axis: math.prod(lengths[i + 1 :]) for i, axis in enumerate(axes)}
        fixed = {along, "probe_step"} if sliced else {along}
        length = source.data.sizes[along]
        entries: dict[str, Any] = {"n": length, "d": stride[along], "x": source.place(along)}
        entries["m"] = "lines+markers" if length <= MOST_MARKED else "lines"
        entries["c"] = {a: stride[a] for a in axes if a not in fixed and source.data.sizes[a] > 1}
        if sliced:
            entries["p"] = stride["probe_step"]
        columns = f"{probe(source, name)}_columns"  # where a line was measured
        yield name, entries, {"x": columns} if source.axes(columns) == axes else {}

    kind = "slice" if sliced else "course" if course else "after"
    log_x = spreads(np.concatenate([source.values(along) for source in sources]))
    return framed(kind, name, sources, label_along(along, sources), describe, logX=log_x)


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


def surface(name: str, sources: Sequence[Source]) -> Chart | None:
    """A surface for each curve, with the path of training where the run has one in its plane."""
    group = probe(sources[0], name)
    columns, rows, path = f"{group}_columns", f"{group}_row", PATHS.get(group, "")

    def describe(source: Source) -> Traces:
        shape = source.data.variables[name].shape
        entries, places = {"rows": shape[1], "columns": shape[2]}, {"x": columns, "y": rows}
        if source.axes(path) == PATH_AXES and source.data.sizes["plane_axis"] == 2:
            entries["n"] = source.data.sizes["probe_step"]
            places["path"] = path
        yield name, entries, places

    along, across = label(sources[0], columns), label(sources[0], rows)
    return framed("surface", name, sources, along, describe, across=across)


def label(source: Source, name: str) -> str:
    """The name of a variable as a person reads it."""
    found = source.data[name].attrs.get("long_name")
    return printable(found or name.replace("_", " ").capitalize(), 200)


def framed(
    kind: str,
    name: str,
    sources: Sequence[Source],
    along: str,
    describe: Callable[[Source], Traces],
    **more: Any,
) -> Chart | None:
    """A chart whose axes hold all that was measured; None if nothing was."""
    traces, parts, k = [], [np.empty(0)], 0
    for source in sources:
        described = list(describe(source))
        for row in range(len(source.curves)):
            for field, entries, others in described:
                places = {key: source.part(other, row) for key, other in others.items()}
                traces.append({"k": k, **source.part(field, row), **entries, **places})
            k += 1
        arrays = (source.data.variables[field].values for field, *_ in described)
        parts += [values[np.isfinite(values)] for values in arrays]
    finite = np.concatenate(parts)
    if not finite.size:
        return None
    low, high = float(finite.min()), float(finite.max())
    attrs = sources[0].data[name].attrs
    return {
        "kind": kind,
        "name": name,
        "probe": probe(sources[0], name),
        "title": label(sources[0], name),
        "short": label(sources[0], name),
        "definition": printable(attrs.get("definition") or "", 1000),
        "unit": printable(attrs.get("units") or "", 80),
        "along": along,
        "logX": False,
        "logY": is_wide(low, high) and not attrs.get("bounded"),
        "range": [low, high],
        "positive": low > 0,
        "traces": traces,
        "choices": sorted({axis for trace in traces for axis in trace.get("c", ())}),
        **more,
    }


def is_wide(low: float, high: float) -> bool:
    """Whether values from low to high are better drawn logarithmically."""
    return low > 0 and high / low > LOG_RATIO


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


MARK = f", {PUBLISHED}, "  # in the name of a published series
MOST_POINTS = 2000  # of a series
MOST_PANELS = 24
KINDS = ("line", "points", "band", "range")
Row = dict[str, str]


def has_published(figure: Figure) -> bool:
    """Whether published curves were drawn in a figure."""
    return MARK.encode() in figure.files.get(".csv", b"")


def charts(identifier: str, figures: Sequence[Figure], numbers: Numbers) -> list[dict[str, Any]]:
    """A chart for each panel in which published curves were drawn."""
    found: list[dict[str, Any]] = []
    for figure in filter(has_published, figures):
        panels: dict[str, dict[tuple[str, str], list[Row]]] = {}
        for row in read(figure.files[".csv"], figure.name):
            own = panels.setdefault(row["panel"], {})
            own.setdefault((row["series"], row["kind"]), []).append(row)
        for panel, series in panels.items():
            if len(found) < MOST_PANELS and any(MARK in name for name, _ in series):
                made = overlay(figure, panel, series, numbers)
                found.append({"id": f"{identifier}-overlay-{len(found)}", **made})
    return found


def read(table: bytes, name: str) -> Iterator[Row]:
    """The rows of a figure's table; one of another form is a `RunError`."""
    try:
        reader = csv.reader(io.StringIO(table.decode("utf-8"), newline=""))
        if tuple(next(reader, ())) != COLUMNS:
            raise ValueError("it has other columns")
        for row in reader:
            yield dict(zip(COLUMNS, row, strict=True))
    except (ValueError, csv.Error) as error:
        raise RunError(f"{name}.csv cannot be read ({error}): draw it again") from error


def overlay(
    figure: Figure, panel: str, series: dict[tuple[str, str], list[Row]], numbers: Numbers
) -> dict[str, Any]:
    """One panel: measured lines and bands, and the published ones, thin."""
    title, _, upright = panel.rpartition(" | ")
    traces: list[dict[str, Any]] = []
    values = []
    for (name, kind), rows in series.items():
        if kind not in KINDS:
            continue
        kept = rows[:: -(-len(rows) // MOST_POINTS)]
        look = next((look for look in LOOKS.values() if name.startswith(look.label)), None)
        # An arm has its own dashes, its limits and single seeds are dotted.
        is_arm = look is not None and (
            MARK in name
            or re.fullmatch(f"{re.escape(look.label)}(, lower|, upper|, training)?( edge)?", name)
        )
        colour = look.colour if look else "#666666"
        x = numbers.add(column(kept, "x"))
        for edge in ("low", "high") if kind == "band" else ("y",):
            values.append(column(kept, edge))
            # Of two edges one has a name; of measured edges the band has it.
            unnamed = name.endswith("upper edge") or edge == "high"
            unnamed |= MARK not in name and name.endswith("lower edge")
            traces.append(
                {
                    "x": x,
                    "a": numbers.add(values[-1]),
                    "n": len(kept),
                    "label": curves.shown(re.sub(", (lower|upper) edge$", "", name)),
                    "named": not unnamed,
                    "published": MARK in name,
                    "fill": edge == "high",
                    "edge": kind == "band",
                    "m": "markers" if kind == "points" else "lines",
                    "colour": colour,
                    "dark": curves.on_dark(colour),
                    "dash": curves.dash(look.line) if look and is_arm else "dot",
                }
            )
    finite = np.concatenate([part[np.isfinite(part)] for part in values] or [np.empty(0)])
    low, high = (float(finite.min()), float(finite.max())) if finite.size else (0.0, 1.0)
    return {
        "kind": "overlay",
        "name": f"{figure.name}.{title or upright}",
        "title": ": ".join(filter(None, (figure.title, title))),
        "short": printable(upright, 80),
        "definition": figure.text,
        "unit": "",
        "along": "training step",
        "logX": False,
        "logY": is_wide(low, high),
        "range": [low, high],
        "positive": low > 0,
        "traces": traces,
        "choices": [],
    }


def column(rows: Sequence[Row], name: str) -> np.ndarray:
    """One column as numbers; other texts are NaN."""

    def number(text: str) -> float:
        try:
            return float(text)
        except ValueError:
            return np.nan

    return np.array([number(row[name]) for row in rows])
