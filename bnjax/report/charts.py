"""All charts of a run, or of several over each other, as plain values that a page's program draws.

What an array is drawn as follows from its axes alone: against the training step, as a slice at one
probed step that a slider moves, against an axis of its own, or as a surface.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from bnjax.frame.results import Run as Results
from bnjax.report import curves as run_curves
from bnjax.report import plots
from bnjax.report.curves import shown
from bnjax.report.pack import Numbers
from bnjax.report.sources import STROKE, Places, Source, common, described, merged, probe_steps
from bnjax.report.thinning import thin

MOST_CHARTS = 80
MOST_AT_FIRST = 24  # curves that are on when a page is opened
NEUTRAL = "#808080"
COORDINATES = ("columns", "row", "step_sizes")  # fields that say where others were measured


class Group(NamedTuple):
    """All charts of one run, or of several over each other."""

    content: Mapping[str, Any]  # plain values, for the page's program
    factors: Sequence[run_curves.Factor]
    looks: Mapping[tuple[str, str], Mapping[str, Any]]  # of the values of factors
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
        made.append(plots.chart(name, sources, places))
    training = [plots.train_chart(field, sources, places) for field in fields(arrays)]
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
        "curves": described(sources),
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
    off = switched_off(len(content["curves"]), factors)
    if off:
        notes.append("not all curves are switched on at first")
    return Group(content, factors, looks(sources, factors), off, choices, sections, steps, notes)


def fields(arrays: Sequence[str]) -> list[str]:
    """What was measured at every training step, loss and accuracy first."""
    found = [name.removeprefix("train.") for name in arrays if name.startswith("train.")]
    first = [name for name in ("loss", "accuracy") if name in found]
    return [*first, *(name for name in found if name not in first)]


def looks(
    sources: Sequence[Source], factors: Sequence[run_curves.Factor]
) -> Mapping[tuple[str, str], Mapping[str, Any]]:
    """What a factor's value decides alone of the look of its curves: the key of the page."""
    drawn = described(sources)
    found: dict[tuple[str, str], dict[str, Any]] = {}
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
        for value, own in same.items():
            if own and decided and len(factor.values) > 1:
                neutral = {"colour": NEUTRAL, "dark": NEUTRAL, "dash": "solid", **STROKE}
                kept = {part: own[0][part] for part in decided}
                with_it = {"colour": "dark", "width": "opacity"}  # go together
                more = {with_it[part]: own[0][with_it[part]] for part in decided if part in with_it}
                found[factor.name, value] = {**neutral, **kept, **more}
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
