"""The curves of a run: its arms and seeds, where their numbers lie in an array, and their looks."""

import html
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from bnjax.draw.style import LOOKS
from bnjax.frame.messages import printable
from bnjax.frame.results import Run as Results
from bnjax.report import quantities

# Okabe & Ito's colours for arms that are no normalisers.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
DASHES = ("solid", "dash", "dot", "dashdot", "longdash", "longdashdot")
SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "triangle-down", "star", "cross")
MATPLOTLIB = {"-": "solid", "--": "dash", "-.": "dashdot", ":": "dot"}
MOST = 300  # curves of a chart


class Factor(NamedTuple):
    """Something in which curves differ, with all its values as a person reads them."""

    name: str
    values: tuple[str, ...]
    label: str


class Curve(NamedTuple):
    """One arm and seed: its place in the leading axes of every array, and its look."""

    place: tuple[int, ...]
    values: Mapping[str, str]  # of each factor
    label: str
    colour: str
    dash: str
    symbol: str
    arm: str  # the label without the seed
    first: bool  # of the seeds of its arm


def shown(value: Any) -> str:
    """A value from a run as a chart may show it: charts read a little HTML, so none is left."""
    plain = value.item() if isinstance(value, np.generic) else value
    text = f"{plain:g}" if isinstance(plain, float) else str(plain)
    return html.escape(printable(text, 80), quote=False)


def outer(results: Results) -> tuple[str, ...]:
    """The leading axes that all arrays share: arms and seeds."""
    return results.dims["train.loss"][:-1] if "train.loss" in results.dims else ()


def factors(results: Results) -> list[Factor]:
    """The factors of a run in the order of its axes."""
    return [
        Factor(
            name, tuple(label(name, value) for value in results.axes[name]), quantities.axis(name)
        )
        for name in outer(results)
    ]


def label(name: str, value: Any) -> str:
    """A value of a factor as a person reads it."""
    if name == "norm" and str(value) in LOOKS:
        return shown(LOOKS[str(value)].label)
    return shown(value)


def curves(results: Results) -> tuple[list[Curve], int]:
    """All curves of a run, and how many are left out because they are too many."""
    names = outer(results)
    found = factors(results)
    sizes = [len(factor.values) for factor in found]
    total = math.prod(sizes)
    varying = [i for i, name in enumerate(names) if name != "seed" and sizes[i] > 1]
    by_norm = "norm" in names
    hue = main(names, varying)
    others = [i for i in varying if i != hue]
    seed = names.index("seed") if "seed" in names else None
    several = seed is not None and sizes[seed] > 1
    made: list[Curve] = []
    for index in np.ndindex(*sizes):
        if len(made) == MOST:
            break
        said = [i for i in range(len(names)) if i == hue or i in others or (i == seed and several)]
        colour, dash_of = COLOURS[index[hue] % len(COLOURS)] if names else COLOURS[0], "solid"
        if by_norm:
            look = LOOKS[str(results.axes["norm"][index[hue]])]
            colour = look.colour
            dash_of = dash(look.line)
        if others:
            dash_of = DASHES[index[others[0]] % len(DASHES)]
        place = index[others[1]] if len(others) > 1 else index[seed] if seed is not None else 0
        made.append(
            Curve(
                index,
                {name: found[i].values[index[i]] for i, name in enumerate(names)},
                words(found, index, hue, said),
                colour,
                dash_of,
                SYMBOLS[place % len(SYMBOLS)],
                words(found, index, hue, [i for i in said if i != seed]),
                seed is None or index[seed] == 0,
            )
        )
    return made, total - len(made)


def main(names: Sequence[str], varying: Sequence[int]) -> int:
    """The factor that a curve is first of all: its normaliser, or what else varies first."""
    return list(names).index("norm") if "norm" in names else next(iter(varying), 0)


def words(found: Sequence[Factor], index: Sequence[int], hue: int, said: Sequence[int]) -> str:
    """The name of a curve: the values of its factors, all but the main one with their names."""
    parts = (
        found[i].values[index[i]] if i == hue else f"{found[i].label} {found[i].values[index[i]]}"
        for i in said
    )
    return ", ".join(parts) or "run"


def dash(line: Any) -> str:
    """Matplotlib's line style as a chart has it; dashes of its own in points."""
    if isinstance(line, str):
        return MATPLOTLIB.get(line, "longdash")
    return ",".join(f"{1.5 * length:g}px" for length in line[1])


def fits(results: Results, name: str) -> bool:
    """Whether an array has the curves' axes first, and numbers."""
    lead = outer(results)
    values = results.arrays[name]
    return (
        bool(lead)
        and results.dims[name][: len(lead)] == lead
        and values.dtype.kind in "biuf"
        and values.size > 0
    )


def arrays(results: Results) -> Iterator[tuple[str, tuple[str, ...]]]:
    """The arrays that can be drawn, the best known first, and their axes after the curves'."""
    lead = len(outer(results))
    order = list(quantities.QUANTITIES)
    known = {name: order.index(name) for name in results.arrays if name in order}
    for name in sorted(results.arrays, key=lambda name: (known.get(name, len(order)), name)):
        if fits(results, name):
            yield name, results.dims[name][lead:]
