"""The figures of the forensics: the nearest candidates beside the published points, and a table."""

from typing import Any

import numpy as np

from bnjax import draw
from bnjax.draw import LOOKS, Drawing, Look
from bnjax.frame.published_curves import Published
from bnjax.frame.results import Run
from bnjax.studies.forensics import claims, readings
from bnjax.studies.forensics.published import NUMBERS

MOST_SHOWN = 6  # candidates beside the published points
MARKERS = "osD^vP"
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#000000")
BAR = 0.38  # half the width of a published bar, in arms
LARGEST = 1e4  # factors above it have one colour


def known_numbers(run: Run, published: Published) -> dict[str, tuple[float, ...]]:
    """Published numbers of the run's arms: of the curves that are given, else those kept here."""
    found = readings.first_numbers(published) or NUMBERS
    return {norm: found[norm] for norm in run.norms if norm in found}


def nearest(run: Run, published: Published) -> list[Drawing]:
    """The numbers of the nearest candidates beside the published ones, a panel each."""
    known = known_numbers(run, published)
    if not known:
        return []
    norms = list(known)
    order = claims.ranked(claims.distances(run, known)[1])
    shown = [name for name, _ in order[:MOST_SHOWN]]
    measured = claims.numbers_of(run).sel(norm=norms)
    drawing = Drawing(
        "forensics",
        (2, 3),
        size=(10.5, 6.8),
        title="Before the first step: candidates and the published points",
        text="The six numbers that the first points of the published curves give for each "
        "normaliser, over the step sizes η; bars: published; markers: the nearest candidates, "
        "median over seeds with their range.",
        source=claims.SOURCE,
    )
    places = np.arange(len(norms))
    for index, (panel, name) in enumerate(zip(drawing.panels, readings.NUMBER_NAMES, strict=True)):
        level = np.array([known[norm][index] for norm in norms])
        bar: Any = {"linewidth": 3, "color": "0.6", "legend": False}
        for place, norm, value in zip(places, norms, level, strict=True):
            ends = place - BAR, place + BAR
            panel.line(ends, (value, value), f"published, {LOOKS[norm].label}", **bar)
        for rank, candidate in enumerate(shown):
            own = measured.sel(candidate=candidate).isel(number=index)
            low, middle, high = (end("seed") for end in (own.min, own.median, own.max))
            x = places + 0.9 * BAR * (2 * (rank + 0.5) / len(shown) - 1)
            look = Look(COLOURS[rank], "", MARKERS[rank], "", candidate)
            panel.ranges(x, middle, low, high, candidate, look, linestyle="none", markersize=4)
        panel.set(title=name, log=True, xticks=(places, [LOOKS[norm].label for norm in norms]))
        panel.axes.tick_params(axis="x", labelrotation=20)
    drawing.panels[0].key("published", linewidth=3, color="0.6")
    drawing.legend(drawing.panels[:1], ncols=4)
    drawing.caption = caption(run)
    return [drawing]


def table(run: Run, published: Published) -> list[Drawing]:
    """All candidates by their distance: the typical factor for each normaliser, and for all."""
    known = known_numbers(run, published)
    if not known:
        return []
    by_norm, over_all = claims.distances(run, known)
    order = [name for name, _ in claims.ranked(over_all)]
    found = {LOOKS[norm].label: by_norm.sel(norm=norm).median("seed") for norm in known}
    if len(known) > 1:
        found["all"] = over_all.median("seed")
    columns = list(found)
    values = np.stack(list(found.values()), axis=1)
    values = values[[over_all["candidate"].values.tolist().index(name) for name in order]]
    drawing = Drawing(
        "forensics_table",
        size=(2.6 + 1.25 * len(columns), 1.8 + 0.3 * len(order)),
        title="Typical factor between measured and published numbers",
        text="exp of the root mean square of ln(measured/published) over the six numbers of a "
        "normaliser, and over all of them; median over seeds; 1: equal. From the nearest to the "
        "farthest candidate.",
        source=claims.SOURCE,
    )
    (panel,) = drawing.panels
    x, y = np.arange(len(columns)), np.arange(len(order))
    shown = np.log10(np.minimum(values, LARGEST))
    names = np.asarray(order, dtype=object)
    cells = {"x": np.asarray(columns, dtype=object), "y": names[:, None], "value": values}
    panel.heat(x, y, shown, "typical factor", cmap="viridis_r", vmin=0.0, table=cells)
    for row, column in np.ndindex(*values.shape):
        light = shown[row, column] > 0.6 * max(shown.max(), 1e-9)
        colour = "white" if light else "black"
        text = f"{values[row, column]:.3g}"
        own = f"printed-{row}-{column}"  # on its cell, whatever page the figure is on
        panel.note(text, (column, row), "data", va="center", color=colour, fontsize=8, gid=own)
    panel.set(title="typical factor", xticks=(x, columns), yticks=(y, order), grid=False)
    panel.axes.invert_yaxis()
    drawing.caption = caption(run)
    return [drawing]


def penalty(run: Run, published: Published) -> list[Drawing]:
    """The lower edges of the published loss bands, and the penalty that they tell."""
    curves = {norm: curve for (panel, norm), curve in published.items() if panel == readings.LOSS}
    if not curves:
        return []
    drawing = Drawing(
        "forensics_penalty",
        size=(8.2, 5.0),
        title="A penalty in the published losses",
        text="Lower edge of the published loss bands. Straight line: fitted to its logarithm where "
        "the data are fitted, and extrapolated to the first step; its slope is −4 · C · lr of a "
        "penalty C · Σ kernel². Marks at the left: the penalty of each candidate.",
        source="Santurkar et al. 2018, Fig. 12",
    )
    (panel,) = drawing.panels
    told = []
    for norm, curve in curves.items():
        look, found = LOOKS[norm], readings.penalty(curve)
        panel.line(curve.steps, curve.low, look.label, look)
        panel.compared[readings.LOSS, norm] = True
        ends = np.array([0.0, readings.WINDOW[1]])
        fitted: Any = {"linewidth": 0.7, "legend": False, "color": look.colour}
        panel.line(ends, found.start * np.exp(found.slope * ends), f"{look.label}, fit", **fitted)
        told.append(f"{look.label} {found.coefficient:.3g}, {found.start:.3g}")
    start = run["line_loss"].sel(direction="gradient").isel(probe_step=0, norm=0, seed=0)
    penalties = start - run["train_loss"].isel(step=0, norm=0, seed=0)
    for value in sorted({round(float(value), 2) for value in penalties}):
        near = abs(penalties - value) < 0.01
        names = " ".join(penalties["candidate"].values[near.values][:2])
        panel.points(0.0, value, f"penalty of {names}", markersize=5, legend=False)
        panel.note(f"{value:.2f} {names}", (150.0, value), "data", ha="left", fontsize=7)
    panel.set(xlabel=draw.STEP, ylabel="loss  [nat]", log=True)
    panel.legend()
    drawing.caption = f"C, and C · Σ kernel² at step 0: {'; '.join(told)}"
    return [drawing]


def caption(run: Run) -> str:
    count = len(run.seeds)
    over = "one seed" if count == 1 else f"{count} seeds"
    return (
        f"base: {draw.network(run.options)}, {run.facts['dataset']}\n"
        f"{draw.setting(run)}, before the first step, {over}"
    )


FIGURES = (nearest, table, penalty)
