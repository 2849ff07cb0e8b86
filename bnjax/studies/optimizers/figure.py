"""Figures of the optimiser experiment, drawn from its results alone."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from bnjax.draw import numbers, style
from bnjax.draw.style import LOOKS
from bnjax.draw.variants import (
    NOT_TRAINED,
    OPTIMIZERS,
    chance_accuracy,
    final,
    initializer_name,
    norms_of,
    points,
    setting,
)
from bnjax.frame.published_curves import Published
from bnjax.frame.results import Results
from bnjax.judge import variants as arms
from bnjax.studies.optimizers.regularisation_figure import draw_regularisation
from bnjax.studies.optimizers.symmetry import relative_differences
from bnjax.train.optimizers import USUAL_RATES

SMALLEST = 1e-9  # where a difference of exactly 0 is drawn on a logarithmic axis


def draw(results: Results, published: Published, folder: Path) -> Sequence[Path]:
    """Draw `learning_rates`, `initializers` and `regularisation` from a run's results.

    Args:
      results: as `bnjax.frame.results.read` returns them.
      published: curves to draw beside the measured ones; there are none.
      folder: where the figures go.

    Returns:
      The paths of the files.
    """
    del published
    return [
        *draw_rates(results, folder),
        *draw_initializers(results, folder),
        *draw_regularisation(results, folder),
    ]


def draw_rates(results: Results, folder: Path) -> list[Path]:
    """Final test accuracy against learning rate, a panel for each optimiser."""
    variants, multiples = arms.around(results, "optimizer"), results.axes["multiple"].tolist()
    columns = min(3, len(variants))
    rows = -(-len(variants) // columns)
    size = (1.2 + 2.9 * columns, 1.2 + 2.5 * rows)
    with style.figure(rows, columns, size=size, sharey=True) as (drawn, panels):
        for panel, variant in zip(panels, variants, strict=False):
            rates = [multiple * USUAL_RATES[variant.optimizer] for multiple in multiples]
            for norm in norms_of(results):
                points(panel, norm, rates, [final(results, variant, m, norm) for m in multiples])
            style.reference_line(panel, chance_accuracy(results), "chance")
            panel.set(xscale="log", ylim=(-4, 104), title=OPTIMIZERS[variant.optimizer])
            panel.set_xlabel("learning rate")
            panel.grid(visible=True)
        for panel in panels[len(variants) :]:
            panel.set_axis_off()
        for panel in panels[::columns]:
            panel.set_ylabel("final test accuracy [%]")
        handles = panels[0].get_legend_handles_labels()
        last = panels[len(variants) :]
        if last:
            last[0].legend(*handles, loc="center")
        else:
            drawn.legend(*handles, loc="outside lower center", ncols=4)
        base = arms.base(results)
        note = f"initialiser {initializer_name(base.initializer)}; {NOT_TRAINED}"
        style.caption(drawn, f"{setting(results, optimizer=False)}; {note}")
        return style.save(drawn, folder, "learning_rates")


def draw_initializers(results: Results, folder: Path) -> list[Path]:
    """The end from each initialiser, and how alike units stay."""
    variants, multiple = arms.around(results, "initializer"), arms.usual(results)
    with style.figure(1, 2, size=(9.6, 4.2)) as (drawn, panels):
        ends, symmetry = panels
        norms = norms_of(results)
        width = 0.8 / len(norms)
        for place, norm in enumerate(norms):
            look = LOOKS[norm]
            found = [final(results, variant, multiple, norm) for variant in variants]
            x = np.arange(len(variants)) + (place - (len(norms) - 1) / 2) * width
            bars = ends.bar(
                x,
                [value for value, _ in found],
                width,
                color=look.colour,
                hatch=look.hatch,
                edgecolor="white",
                label=look.label,
            )
            starts = [initializer_name(variant.initializer) for variant in variants]
            numbers.behind(bars.patches[0], "bar", x=starts, y=[value for value, _ in found])
            for bar, (value, trains) in zip(bars, found, strict=True):
                text = f"{value:.0f}" if trains else f"{value:.0f}×"
                ends.annotate(
                    text, (bar.get_x() + width / 2, value), ha="center", va="bottom", fontsize=7
                )
        names = [initializer_name(variant.initializer) for variant in variants]
        ends.set_xticks(range(len(names)), names, rotation=30, ha="right")
        ends.set(
            title="a  Ends, by initialiser",
            ylabel="final test accuracy [%]",
            ylim=(0, 108),
            xlim=(-0.6, len(names)),
        )
        style.reference_line(ends, chance_accuracy(results), "chance")
        ends.legend(loc="upper left", bbox_to_anchor=(0, -0.3), ncols=2)
        shown = [v for v in variants if v is variants[0] or v.initializer in arms.SYMMETRIC]
        markers = dict(zip((v.initializer for v in shown), "osv", strict=False))
        for variant in shown:
            arm = arms.arm(results, variant, multiple)
            for norm in norms:
                look = LOOKS[norm]
                spread = np.nan_to_num(np.max(relative_differences(arm, norm), axis=(0, 2)))
                lines = symmetry.plot(
                    results.axes["probe_step"],
                    np.maximum(spread, SMALLEST),
                    color=look.colour,
                    linestyle=look.line,
                    marker=markers[variant.initializer],
                    markersize=9 if norm == "none" else 5,
                    zorder=4 if norm == "none" else 3,
                    fillstyle="none" if norm == "none" else "full",
                    label=f"{initializer_name(variant.initializer)}, {look.label}",
                )
                numbers.behind(lines[0], "line", x=results.axes["probe_step"], y=spread)
        symmetry.set(
            title="b  Do units of a hidden layer stay alike?",
            yscale="log",
            xlabel="step",
            ylabel="largest difference of two units\n/ largest weight",
            ylim=(SMALLEST / 3, 10),
        )
        symmetry.grid(visible=True)
        symmetry.annotate(
            "exactly 0", (0.7, SMALLEST * 2), xycoords=("axes fraction", "data"), fontsize=7.5
        )
        style.legend(symmetry)
        style.caption(
            drawn, f"{setting(results, optimizer=True)}; ×: does not train, 0 if diverged"
        )
        return style.save(drawn, folder, "initializers")
