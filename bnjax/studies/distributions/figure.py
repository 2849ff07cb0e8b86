"""Figures of activations: their histograms over training, and how stable they are.

Medians over seeds, except for the histograms, which are those of the first seed: units of two seeds
have nothing to do with each other.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes

from bnjax.draw import numbers, style
from bnjax.draw.elements import (
    dead,
    draw_loss,
    mark_ends,
    over_seeds,
    plot,
    setting,
    spread,
    subject,
)
from bnjax.draw.style import LOOKS
from bnjax.frame.published_curves import Published
from bnjax.frame.results import Results
from bnjax.studies.distributions import claims

SHOWN = (15.0, 50.0, 85.0)  # percentiles, those of Ioffe & Szegedy 2015, Fig. 1
TITLES = {
    "drift": "earth mover distance\nto the next probe",
    "unit": "earth mover distance\nof one unit to the next probe",
    "mean": "change of units' mean\nin one step",
    "variance": "change of units' variance\nin one step",
}


def draw(results: Results, published: Published, folder: Path) -> Sequence[Path]:
    """Draw `distributions` and `stability` from a run's results.

    Args:
      results: as `bnjax.frame.results.read` returns them.
      published: unused: no curve of these figures is published.
      folder: where the figures go.

    Returns:
      The paths of the files.
    """
    del published
    return [*draw_histograms(results, folder), *draw_stability(results, claims.QUANTITIES, folder)]


def draw_histograms(results: Results, folder: Path) -> Sequence[Path]:
    """For each layer and arm the histogram and percentiles of activations over training."""
    norms = [str(norm) for norm in results.axes["norm"]]
    layers = [str(layer) for layer in results.axes["shown_layer"]]
    size = (0.8 + 2.4 * len(norms), 1.3 + 1.9 * len(layers))
    with style.figure(len(layers), len(norms), size, sharex=True) as (drawn, panels):
        grid = np.array(panels).reshape(len(layers), len(norms))
        for row, layer in zip(grid, layers, strict=True):
            for panel, norm in zip(row, norms, strict=True):
                draw_histogram(panel, results, norm, layer)
            row[0].set_ylabel(f"{layer}\nactivation")
        for panel, norm in zip(grid[0], norms, strict=True):
            panel.set_title(LOOKS[norm].label)
        for panel in grid[-1]:
            panel.set_xlabel("training step")
        handles, names = grid[0, 0].get_legend_handles_labels()
        drawn.legend(handles, names, loc="outside lower center", ncols=2)
        seed = int(results.axes["seed"][0])
        notes = [
            caption(results),
            f"Activations before the non-linearity, seed {seed}; darker: more of them; "
            "each panel has its own scale.",
            *dead(results),
        ]
        style.caption(drawn, "\n".join(notes))
        return style.save(drawn, folder, "distributions")


def draw_histogram(panel: Axes, results: Results, norm: str, layer: str) -> None:
    """One layer of one arm: histogram as grey levels, percentiles of all and of one unit."""
    steps, seed = results.axes["probe_step"], int(results.axes["seed"][0])
    histogram, quantiles, of_unit = (
        claims.field(results, f"distributions.{name}", norm, seed, layer)
        for name in ("histogram", "percentiles", "channel_percentiles")
    )
    inner = histogram[:, 1:-1]  # the outer bins hold all beyond, which is no density
    # Each step by its own peak, so that a narrow distribution does not fade the wide ones.
    levels_of_grey, bins = (inner / inner.max(axis=-1, keepdims=True)).T, results.axes["bin"][1:-1]
    mesh = panel.pcolormesh(
        steps,
        bins,
        levels_of_grey,
        shading="nearest",
        cmap="Greys",
        vmin=0,
        vmax=1.6,
        rasterized=True,
        label=numbers.hidden("histogram, share of each step's peak, if not 0"),
    )
    found = levels_of_grey != 0  # most bins are empty; NaN is not 0
    x, y = np.broadcast_to(steps, found.shape), np.broadcast_to(bins[:, None], found.shape)
    numbers.behind(mesh, "grid", x=x[found], y=y[found], value=levels_of_grey[found])
    levels = [int(np.flatnonzero(results.axes["percentile"] == level)[0]) for level in SHOWN]
    named = f"percentiles {', '.join(f'{level:g}' for level in SHOWN)}"
    for values, colour, line, whose in (
        (quantiles, "#0072B2", "-", "all units"),
        (of_unit, "#D55E00", (0, (3, 1)), f"unit {results.config['unit']}"),
    ):
        for column, level in zip(levels, SHOWN, strict=True):
            first = column == levels[0]
            lines = panel.plot(
                steps,
                values[:, column],
                color=colour,
                linestyle=line,
                linewidth=1.2 if column == levels[1] else 0.7,
                label=f"{named} of {whose}" if first else None,
            )
            series = f"percentile {level:g} of {whose}"
            numbers.behind(lines[0], "line", series=series, x=steps, y=values[:, column])
    limits(panel, np.concatenate([quantiles, of_unit[:, levels]], axis=-1))
    mark_ends(panel, results, norm)


def limits(panel: Axes, values: np.ndarray) -> None:
    """An activation axis that holds nearly all that was measured."""
    finite = values[np.isfinite(values)]
    if len(finite):
        low, high = finite.min(), finite.max()
        margin = 0.15 * (high - low) or 1.0
        panel.set_ylim(low - margin, high + margin)


def draw_stability(
    results: Results, quantities: Sequence[claims.Quantity], folder: Path
) -> Sequence[Path]:
    """For each layer what the claims compare, against the step; training progress below."""
    layers = [str(layer) for layer in results.axes["shown_layer"]]
    shape = (len(layers) + 1, len(quantities))
    size = (0.9 + 2.5 * shape[1], 1.5 + 1.8 * shape[0])
    with style.figure(*shape, size, sharex=True) as (drawn, panels):
        grid = np.array(panels).reshape(shape)
        for row, layer in zip(grid, layers, strict=False):
            for panel, quantity in zip(row, quantities, strict=True):
                draw_quantity(panel, results, quantity, layer)
            row[0].set_ylabel(f"{layer}\nrelative to deviation")
        for panel, quantity in zip(grid[0], quantities, strict=True):
            panel.set_title(TITLES[quantity.identifier])
        draw_loss(grid[-1, 0], results)
        grid[-1, 0].set_title("training")
        for panel in grid[-1, 1:]:
            panel.set_axis_off()
        for panel in (*grid[-2, 1:], grid[-1, 0]):
            panel.set_xlabel("training step")
            panel.tick_params(labelbottom=True)
        handles, names = grid[0, 0].get_legend_handles_labels()
        grid[-1, 1].legend(handles, names, loc="center left")
        notes = [caption(results), f"Lines: {spread(results)}.", *dead(results)]
        style.caption(drawn, "\n".join(notes))
        return style.save(drawn, folder, "stability")


def draw_quantity(panel: Axes, results: Results, quantity: claims.Quantity, layer: str) -> None:
    """One quantity of one layer for every arm."""
    for norm in results.axes["norm"]:
        values = np.array(
            [
                quantity.values(results, str(norm), seed, layer)
                for seed in results.axes["seed"].tolist()
            ]
        )
        plot(panel, results, str(norm), results.axes["probe_step"], over_seeds(values))
    style.log_scale(panel)
    panel.grid(visible=True)


def caption(results: Results) -> str:
    """What was run, on what."""
    return f"{subject(results)}, {setting(results.config)}"
