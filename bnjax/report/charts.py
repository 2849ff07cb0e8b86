"""The charts of a run, or of several over each other, as plain values for the page's program.

The axes of a variable decide its chart: curves against the training step, a slice at one probed
step that a slider moves, curves against an axis of its own, or a surface over a plane.
Published curves stand over measured ones as in the table that a figure was drawn from.
"""

import csv
import html
import io
import math
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import numpy as np
import xarray

from bnjax.draw.drawing import COLUMNS, LOOKS, PUBLISHED
from bnjax.errors import RunError
from bnjax.frame.messages import printable
from bnjax.frame.results import Run
from bnjax.report.dark import on_dark
from bnjax.report.pack import Numbers

# Okabe & Ito's colours for arms that are no normalisers.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "triangle-down", "star", "cross")
MATPLOTLIB = {"-": "solid", "--": "dash", "-.": "dashdot", ":": "dot"}
MOST = 300  # curves of a chart
# Line width: hue and dashes belong to the arm. Of two runs over each other the first is thin, the
# second wide and paler.
STROKE = {"width": 1.9, "opacity": 1.0}
STROKES = ({"width": 1.3, "opacity": 1.0}, {"width": 4.5, "opacity": 0.8})


class Factor(NamedTuple):
    """Something in which curves differ, with all its values as a person reads them."""

    name: str
    values: tuple[str, ...]
    label: str


def shown(value: Any) -> str:
    """A value from a run as a chart may show it: charts read a little HTML, so none is left."""
    plain = value.item() if isinstance(value, np.generic) else value
    text = f"{plain:g}" if isinstance(plain, float) else str(plain)
    return html.escape(printable(text, 80), quote=False)


def dash(line: Any) -> str:
    """Matplotlib's line style as a chart has it; dashes of its own in points."""
    if isinstance(line, str):
        return MATPLOTLIB.get(line, "longdash")
    return ",".join(f"{1.5 * length:g}px" for length in line[1])


def leading(run: Run) -> tuple[str, ...]:
    """The leading axes of every variable: factors, then the seed."""
    return tuple(map(str, run["train_loss"].dims[:-1])) if "train_loss" in run else ()


def axis_label(run: Run, axis: str) -> str:
    found = run.data[axis].attrs.get("long_name") if axis in run.data.coords else None
    return printable(found or axis.replace("_", " "), 200)


def factors(run: Run) -> list[Factor]:
    def label(name: str, value: Any) -> str:
        known = name == "norm" and str(value) in LOOKS
        return shown(LOOKS[str(value)].label if known else value)

    return [
        Factor(name, tuple(label(name, value) for value in run.values(name)), axis_label(run, name))
        for name in leading(run)
    ]


def name_arms(run: Run, *, seeds: bool = False) -> dict[tuple[int, ...], str]:
    """Labels by the places along the leading axes: all values that vary, the main one bare."""
    found = factors(run)
    hue = main_factor(found)
    said = [
        i
        for i, factor in enumerate(found)
        if i == hue or (len(factor.values) > 1 and (seeds or factor.name != "seed"))
    ]
    return {
        index: ", ".join(
            found[i].values[index[i]]
            if i == hue
            else f"{found[i].label} {found[i].values[index[i]]}"
            for i in said
        )
        or "run"
        for index in np.ndindex(*(len(factor.values) for factor in found))
    }


def main_factor(found: Sequence[Factor]) -> int:
    """The place of the factor that decides the hue: the normaliser, or the first that varies."""
    names = [factor.name for factor in found]
    if "norm" in names:
        return names.index("norm")
    varying = (i for i, one in enumerate(found) if len(one.values) > 1 and one.name != "seed")
    return next(varying, 0)


def make_curves(run: Run, source: int, name: str) -> tuple[list[dict[str, Any]], int]:
    """All arms and seeds for the page's program, at most `MOST`, and the number left out.

    `name` is that of the run, empty where there is one run only.
    """
    before, stroke = (f"{name}: ", STROKES[source % len(STROKES)]) if name else ("", STROKE)
    found = factors(run)
    names = [factor.name for factor in found]
    sizes = [len(factor.values) for factor in found]
    hue = main_factor(found)
    others = [i for i, size in enumerate(sizes) if size > 1 and i != hue and names[i] != "seed"]
    seed = names.index("seed") if "seed" in names else None
    labels, arms = name_arms(run, seeds=True), name_arms(run)
    made: list[dict[str, Any]] = []
    for index in list(np.ndindex(*sizes))[:MOST]:
        colour, line = COLOURS[index[hue] % len(COLOURS)] if names else COLOURS[0], "solid"
        if "norm" in names:
            look = LOOKS[str(run.values("norm")[index[hue]])]
            colour, line = look.colour, dash(look.line)
        if others:
            line = DASHES[index[others[0]] % len(DASHES)]
        place = index[others[1]] if len(others) > 1 else index[seed] if seed is not None else 0
        values = {factor.name: factor.values[i] for factor, i in zip(found, index, strict=True)}
        made.append(
            {
                "values": {**values, "run": name} if name else values,
                "label": f"{before}{labels[index]}",
                "colour": colour,
                "dash": line,
                "symbol": SYMBOLS[place % len(SYMBOLS)],
                "arm": f"{before}{arms[index]}",
                "first": seed is None or index[seed] == 0,
                **stroke,
                "source": source,
                "dark": on_dark(colour),
            }
        )
    return made, math.prod(sizes) - len(made)


CURVE = "curve"  # the first axis of what is drawn: arms and seeds, in the order of the run
MOST_NUMBERS = 1_500_000  # of one run, but for its training curves
MOST_POINTS = 250_000  # of the training curves of one field
LEAST_POINTS, USUAL_POINTS = 400, 4000  # of one training curve
FEW_PROBES = 200  # probes are thinned before other axes, down to so many


def drawable(run: Run) -> list[str]:
    """The variables of numbers that have the curves' axes first and at least one of their own.

    Those of one probe stand together: a file of results sorts its variables by their shapes.
    """
    lead = leading(run)
    found = [
        str(name)
        for name, values in run.data.data_vars.items()
        if lead
        and values.dims[: len(lead)] == lead
        and len(values.dims) > len(lead)
        and values.dtype.kind in "biuf"
        and values.size
        and name != "train_finite"
    ]
    probes = [str(run[name].attrs.get("probe")) for name in found]
    return sorted(found, key=lambda name: probes.index(str(run[name].attrs.get("probe"))))


def thin(run: Run) -> tuple[xarray.Dataset, list[str]]:
    """The numbers that charts draw, `(curve, …)`, and notes on those left out.

    Training curves of many steps become the least and the greatest of equal blocks of steps, along
    an axis `block`, so that no spike is lost. Of other axes every second, third, … value is kept.
    """
    names, notes = drawable(run), []
    lead = leading(run)
    data = run.data[names]
    if lead and names:
        data = data.stack({CURVE: lead}, create_index=False).drop_vars(lead, errors="ignore")
        data = data.transpose(CURVE, ...).isel({CURVE: slice(MOST)})
    by_step = [name for name in names if data[name].dims == (CURVE, "step")]
    others = [name for name in names if name not in by_step]
    if by_step:
        points = min(max(MOST_POINTS // data.sizes[CURVE], LEAST_POINTS), USUAL_POINTS)
        if data.sizes["step"] > points:
            block = -(-2 * data.sizes["step"] // points)
            found = {
                name: ((CURVE, "block"), extremes(data[name].values, block), data[name].attrs)
                for name in by_step
            }
            steps = block_steps(data["step"].values, block)
            data = data.assign(found).assign_coords(block=("block", steps, data["step"].attrs))
            notes.append(f"training curves: the least and the greatest of every {block} steps")
    for axis, stride in strides(data, others).items():
        data = data.isel({axis: slice(None, None, stride)})
        what = "probes" if axis == "probe_step" else f"values of {axis_label(run, axis)}"
        notes.append(f"one of every {stride} {what}")
    total = 0
    for name in others:
        total += data[name].size
        if total > MOST_NUMBERS:
            notes.append(f"without {printable(data[name].attrs.get('long_name') or name, 200)}")
            data = data.drop_vars(name)
    return data, notes


def strides(data: xarray.Dataset, names: Sequence[str]) -> dict[str, int]:
    """Strides of axes that leave at most `MOST_NUMBERS`, where strides alone can do it."""
    found: dict[str, int] = {}
    sizes = {name: dict(data[name].sizes) for name in names}

    def lengths(name: str) -> dict[str, int]:
        return {str(axis): -(-n // found.get(str(axis), 1)) for axis, n in sizes[name].items()}

    def size(name: str) -> int:
        return math.prod(lengths(name).values())

    while names and sum(map(size, names)) > MOST_NUMBERS:
        own = lengths(max(names, key=size))
        del own[CURVE]
        axis = max(own, key=lambda name: own[name])
        if own.get("probe_step", 0) > FEW_PROBES:
            axis = "probe_step"
        if own[axis] < 10:
            break
        found[axis] = found.get(axis, 1) + 1
    return found


def extremes(values: np.ndarray, block: int) -> np.ndarray:
    """The least and the greatest of each block of the last axis, in the order of their steps."""
    length = values.shape[-1]
    padded = np.full((*values.shape[:-1], -(-length // block) * block), np.nan)
    padded[..., :length] = values
    blocks = padded.reshape(*values.shape[:-1], -1, block)
    first = np.where(np.isnan(blocks), np.inf, blocks).argmin(-1)
    last = np.where(np.isnan(blocks), -np.inf, blocks).argmax(-1)
    low, high = np.fmin.reduce(blocks, axis=-1), np.fmax.reduce(blocks, axis=-1)
    rising = first <= last
    pairs = np.stack([np.where(rising, low, high), np.where(rising, high, low)], axis=-1)
    return pairs.reshape(*values.shape[:-1], -1)


def block_steps(steps: np.ndarray, block: int) -> np.ndarray:
    """The steps at which the two values of each block are drawn: its first and its middle one."""
    starts = steps[::block].astype(float)
    middles = [steps[min(i + block // 2, len(steps) - 1)] for i in range(0, len(steps), block)]
    return np.stack([starts, np.array(middles, float)], axis=-1).ravel()


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


class Figure(NamedTuple):
    """A figure with its words and its files, or a table alone."""

    name: str
    title: str
    text: str
    source: str
    caption: str
    files: Mapping[str, bytes]  # by suffix, e.g. ".svg"


class Group(NamedTuple):
    """All charts of one run, or of several over each other."""

    content: dict[str, Any]  # plain values, for the page's program
    factors: Sequence[Factor]
    looks: Mapping[tuple[str, str], Mapping[str, Any]]  # of the values of factors
    off: Collection[tuple[str, str]]  # values of factors that are switched off at first
    choices: Mapping[str, tuple[str, Sequence[str]]]  # axes chosen from a list: label, values
    sections: dict[str, list[Chart]]  # charts by their kind
    notes: Sequence[str]


class Source:
    """One run of a group: its thinned numbers, and where they lie in the page."""

    def __init__(self, place: int, name: str, run: Run, numbers: Numbers) -> None:
        self.name = shown(name)
        self.run = run
        self.numbers = numbers
        self.factors = factors(run)
        self.curves, left_out = make_curves(run, place, self.name)
        self.data, notes = thin(run)
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
        return {"a": self.place(name), "s": row * math.prod(self.data.variables[name].shape[1:])}


def build(identifier: str, runs: Iterable[tuple[str, Run]], numbers: Numbers) -> Group:
    """The charts of some runs over each other: one without a name, or several with one each."""
    sources = [Source(place, *named, numbers) for place, named in enumerate(runs)]
    first = sources[0]
    common = [
        name
        for name in map(str, first.data.data_vars)
        if all(first.axes(name) == source.axes(name) for source in sources)
    ]
    training = [name for name in common if probe(first, name) == "train"]
    training.sort(key=lambda name: ("train_loss", "train_accuracy", name).index(name))
    others = [
        name
        for name in common
        if name not in training and name.removeprefix(f"{probe(first, name)}_") not in COORDINATES
    ]
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
    drawn = [curve for source in sources for curve in source.curves]
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
            axis_label(first.run, axis),
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
        "steps": sliced_steps(sources) if "slice" in sections else [],
    }
    looks = factor_looks(drawn, factors)
    return Group(content, factors, looks, off, choices, sections, notes)


def sliced_steps(sources: Sequence[Source]) -> list[int]:
    """The steps of a slider: those at which any of the runs was probed."""
    probed = [s.values("probe_step").tolist() for s in sources if "probe_step" in s.data.coords]
    return sorted({int(step) for own in probed for step in own if math.isfinite(step)})


def probe(source: Source, name: str) -> str:
    return str(source.data[name].attrs.get("probe") or name.partition("_")[0])


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
    label = axis_label(sources[0].run, axis)
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
        neutral = {"colour": NEUTRAL, "dark": NEUTRAL, "dash": "solid", **STROKE}
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
MOST_IN_SERIES = 2000  # of a series
MOST_PANELS = 24
KINDS = ("line", "points", "band", "range")
Row = dict[str, str]


def has_published(figure: Figure) -> bool:
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
    title, _, upright = panel.rpartition(" | ")
    traces: list[dict[str, Any]] = []
    values = []
    for (name, kind), rows in series.items():
        if kind not in KINDS:
            continue
        kept = rows[:: -(-len(rows) // MOST_IN_SERIES)]
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
                    "label": shown(re.sub(", (lower|upper) edge$", "", name)),
                    "named": not unnamed,
                    "published": MARK in name,
                    "fill": edge == "high",
                    "edge": kind == "band",
                    "m": "markers" if kind == "points" else "lines",
                    "colour": colour,
                    "dark": on_dark(colour),
                    "dash": dash(look.line) if look and is_arm else "dot",
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
