"""The curves of a run, one for each arm and seed: names, places in the arrays, and looks.

A page that has to stay small shows fewer numbers of them, and notes say which are left out.
"""

import html
import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
import xarray

from bnjax.draw.drawing import LOOKS
from bnjax.frame.messages import printable
from bnjax.frame.results import Run

# Okabe & Ito's colours for arms that are no normalisers.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "triangle-down", "star", "cross")
MATPLOTLIB = {"-": "solid", "--": "dash", "-.": "dashdot", ":": "dot"}
MOST = 300  # curves of a chart
# On a dark page each colour has a contrast of at least 3. Deuteranopes see any two of them apart,
# most clearly where both have the same dashes. Hues are those of the figures.
DARK_PAGE = "#1D2024"  # `--paper` of the page
ON_DARK = {
    "#D55E00": "#D55E00", "#0072B2": "#1C83D2", "#009E73": "#0FC7BB", "#CC79A7": "#FDA6C9",
    "#E69F00": "#E69F00", "#56B4E9": "#4BC0F6", "#000000": "#FFFFFF", "#332288": "#9F8BFF",
    "#117733": "#64CF80", "#5A98A7": "#9FDCF7", "#882255": "#DA4791", "#2A9682": "#6CB599",
    "#9A9473": "#DDCC77", "#E06D68": "#C4647B", "#999933": "#999933", "#AA4499": "#D16BBC",
    "#661100": "#C66D50", "#5891C8": "#6699CC",
}  # fmt: skip
NEUTRAL_ON_DARK = "#9AA0A8"  # a series of no arm
# Line width: hue and dashes belong to the arm. Of two runs over each other the first is thin, the
# second wide and paler.
STROKE = {"width": 1.9, "opacity": 1.0}
STROKES = ({"width": 1.3, "opacity": 1.0}, {"width": 4.5, "opacity": 0.8})


class Factor(NamedTuple):
    """Something in which curves differ, with all its values as a person reads them."""

    name: str
    values: tuple[str, ...]
    label: str


class Curve(NamedTuple):
    """One arm and seed."""

    values: Mapping[str, str]  # of each factor
    label: str
    colour: str
    dash: str
    symbol: str
    arm: str  # the label without the seed
    first: bool  # of the seeds of its arm

    def content(self, source: int, run: str, stroke: Mapping[str, float]) -> dict[str, Any]:
        """The curve for the page's program; `run` is empty where there is one run only."""
        values = {**self.values, "run": run} if run else self.values
        before = f"{run}: " if run else ""
        return {
            **self._asdict(),
            **stroke,
            "values": values,
            "label": f"{before}{self.label}",
            "arm": f"{before}{self.arm}",
            "source": source,
            "dark": on_dark(self.colour),
        }


def shown(value: Any) -> str:
    """A value from a run as a chart may show it: charts read a little HTML, so none is left."""
    plain = value.item() if isinstance(value, np.generic) else value
    text = f"{plain:g}" if isinstance(plain, float) else str(plain)
    return html.escape(printable(text, 80), quote=False)


def on_dark(colour: str) -> str:
    """The colour of the same arm on a dark page."""
    return ON_DARK.get(colour, NEUTRAL_ON_DARK)


def dash(line: Any) -> str:
    """Matplotlib's line style as a chart has it; dashes of its own in points."""
    if isinstance(line, str):
        return MATPLOTLIB.get(line, "longdash")
    return ",".join(f"{1.5 * length:g}px" for length in line[1])


def leading(run: Run) -> tuple[str, ...]:
    """The leading axes of every variable: factors, then the seed."""
    return tuple(map(str, run["train_loss"].dims[:-1])) if "train_loss" in run else ()


def axis_label(run: Run, axis: str) -> str:
    """The name of an axis as a person reads it."""
    found = run.data[axis].attrs.get("long_name") if axis in run.data.coords else None
    return printable(found or axis.replace("_", " "), 200)


def factors(run: Run) -> list[Factor]:
    """The factors of a run, the seed included, in the order of its axes."""

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


def make_curves(run: Run) -> tuple[list[Curve], int]:
    """All curves of a run, at most `MOST`, and the number of curves left out."""
    found = factors(run)
    names = [factor.name for factor in found]
    sizes = [len(factor.values) for factor in found]
    hue = main_factor(found)
    others = [i for i, size in enumerate(sizes) if size > 1 and i != hue and names[i] != "seed"]
    seed = names.index("seed") if "seed" in names else None
    labels, arms = name_arms(run, seeds=True), name_arms(run)
    made: list[Curve] = []
    for index in list(np.ndindex(*sizes))[:MOST]:
        colour, line = COLOURS[index[hue] % len(COLOURS)] if names else COLOURS[0], "solid"
        if "norm" in names:
            look = LOOKS[str(run.values("norm")[index[hue]])]
            colour, line = look.colour, dash(look.line)
        if others:
            line = DASHES[index[others[0]] % len(DASHES)]
        place = index[others[1]] if len(others) > 1 else index[seed] if seed is not None else 0
        values = {name: found[i].values[index[i]] for i, name in enumerate(names)}
        symbol, first = SYMBOLS[place % len(SYMBOLS)], seed is None or index[seed] == 0
        made.append(Curve(values, labels[index], colour, line, symbol, arms[index], first))
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
