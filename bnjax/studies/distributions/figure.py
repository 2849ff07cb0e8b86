"""Figures of activations: their histograms over training, and how stable they are."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from bnjax import draw
from bnjax.draw import LOOKS, STEP, Drawing, Look, Panel
from bnjax.frame.published_curves import Published
from bnjax.frame.results import Run
from bnjax.judge.kit import Quantity
from bnjax.studies.distributions.claims import MEASURES

SHOWN = (15.0, 50.0, 85.0)  # percentiles, those of Ioffe & Szegedy 2015, Fig. 1
NAMED = f"percentiles {', '.join(f'{level:g}' for level in SHOWN)}"
TITLES = {
    "drift": "earth mover distance\nto the next probe",
    "unit": "earth mover distance\nof one channel to the next probe",
    "mean": "change of channels' mean\nin one step",
    "variance": "change of channels' variance\nin one step",
}
ALL = Look("#0072B2", "-", "", "", "all channels")
ONE = Look("#D55E00", (0, (3, 1)), "", "", "one channel")
GREYS: dict[str, Any] = {"cmap": "Greys", "vmin": 0, "vmax": 1.6, "missing": "white"}


def distributions(run: Run, published: Published) -> Drawing:
    """For each layer and arm the histogram and percentiles of activations over training.

    Those of the first seed: channels of two seeds have nothing to do with each other.
    """
    del published  # these figures have no published curve
    norms, layers, seed = run.norms, run.values("shown_layer"), run.seeds[0]
    note = (
        f"Activations before the non-linearity, seed {seed}; stronger grey: more of them; "
        "each panel has its own scale."
    )
    drawing = Drawing(
        "distributions",
        (len(layers), len(norms)),
        size=(0.8 + 2.4 * len(norms), 1.3 + 1.9 * len(layers)),
        sharex=True,
        title="Distributions of activations over training",
        text="For each probed step the histogram of a layer's activations before the "
        "non-linearity on the batch of the step, as grey levels, and percentiles of all channels "
        "and of one channel.",
        source="Santurkar et al. 2018, Fig. 1, 2, 6, 9; Ioffe & Szegedy 2015, Fig. 1",
        caption=caption(run, note),
    )
    for panels, layer in zip(drawing.rows, layers, strict=True):
        for panel, norm in zip(panels, norms, strict=True):
            draw_histogram(panel, run.sel(norm=norm, seed=seed, shown_layer=layer))
            draw.mark_ends(panel, run, norm)
        panels[0].set(ylabel=f"{layer}\nactivation")
    for panel, norm in zip(drawing.rows[0], norms, strict=True):
        panel.set(title=LOOKS[norm].label)
    for panel in drawing.rows[-1]:
        panel.set(xlabel=STEP)
    drawing.legend(drawing.panels[:1], ncols=2)
    return drawing


def draw_histogram(panel: Panel, run: Run) -> None:
    """One layer of one arm: histogram as grey levels, percentiles of all and of one channel."""
    steps, bins = run["probe_step"].values, run["bin"].values[1:-1]
    # Without the outer bins: they hold all beyond, which is no density.
    histogram = run["distributions_histogram"].transpose("probe_step", "bin").values[:, 1:-1]
    # Each step by its own peak, so that a narrow distribution does not fade the wide ones.
    with np.errstate(invalid="ignore"):  # of a step all of whose activations lie beyond
        greys = (histogram / histogram.max(axis=-1, keepdims=True)).T
    name = "histogram, share of each step's peak, if not 0"
    panel.heat(steps, bins, greys, name, table=None, **GREYS)
    row, column = np.nonzero(greys)  # most bins are empty; NaN is not 0
    panel.keep(name, "grid", x=steps[column], y=bins[row], value=greys[row, column])
    of_all, of_one = run["distributions_percentiles"], run["distributions_channel_percentiles"]
    for values, look in (
        (of_all, ALL),
        (of_one, ONE._replace(label=f"channel {run.options['channel']}")),
    ):
        for level in SHOWN:
            name = f"percentile {level:g} of {look.label}"
            legend = f"{NAMED} of {look.label}" if level == SHOWN[0] else False
            width, own = 1.2 if level == SHOWN[1] else 0.7, values.sel(percentile=level)
            panel.line(steps, own, name, look, linewidth=width, legend=legend)
    shown = np.append(of_all.values, of_one.sel(percentile=[*SHOWN]).values)
    shown = shown[np.isfinite(shown)]
    if len(shown):  # an axis that holds nearly all that was measured
        low, high = shown.min(), shown.max()
        margin = 0.15 * (high - low) or 1.0
        panel.set(ylim=(low - margin, high + margin))


def stability(run: Run, published: Published) -> Drawing:
    """For each layer what the claims compare, against the step."""
    del published
    return stability_of(run, MEASURES)


def stability_of(run: Run, measures: Mapping[str, Quantity]) -> Drawing:
    """The figure of some measures of stability, by their keys in `TITLES`."""
    drawing = by_layer(
        "stability",
        run,
        [TITLES[name] for name in measures],
        title="How stable the distributions are",
        text="Change of a layer's activations from probe to probe (earth mover distance) and in "
        "one step (average over channels of the change of mean and variance), relative to the "
        "deviation.",
        source="Santurkar et al. 2018, Fig. 2, 8",
        caption=caption(run, f"Lines: {draw.spread(run)}."),
    )
    for column, measure in enumerate(measures.values()):
        values = measure.of(run)
        for panels, layer in zip(drawing.rows, run.values("shown_layer"), strict=False):
            draw.curves(panels[column], run, values.sel(shown_layer=layer))
            panels[column].set(log=True)
            panels[0].set(ylabel=f"{layer}\nrelative to deviation")
    return drawing


def by_layer(
    name: str, run: Run, titles: list[str], training: str = "training", **texts: str
) -> Drawing:
    """A row of empty panels for each layer; in the row below training, and a legend of the arms."""
    rows, columns = len(run.values("shown_layer")) + 1, len(titles)
    size = (0.9 + 2.5 * columns, 1.5 + 1.8 * rows)
    drawing = Drawing(name, (rows, columns), size, sharex=True, **texts)
    *_, last, below = drawing.rows
    for panel, title in zip(drawing.rows[0], titles, strict=True):
        panel.set(title=title)
    draw.training(below[0], run)
    below[0].set(title=training)
    for panel in below[1:]:
        panel.hide()
    for panel in (*last[1:], below[0]):
        panel.set(xlabel=STEP)
        panel.axes.tick_params(labelbottom=True)
    for norm in run.norms:
        below[1].key(LOOKS[norm].label, LOOKS[norm])
    below[1].legend(loc="center left")
    return drawing


def caption(run: Run, *notes: str) -> str:
    """What was run, on what, and notes on what is drawn."""
    return "\n".join([f"{draw.subject(run)}, {draw.setting(run)}", *notes, *draw.untrained(run)])


FIGURES = (distributions, stability)
