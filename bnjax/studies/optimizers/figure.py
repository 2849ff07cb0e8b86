"""Figures of the optimisers: ends by learning rate and initialiser, symmetry, gaps, copies."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from bnjax import draw
from bnjax.draw import LOOKS, STEP, Drawing, Panel
from bnjax.frame.published_curves import Published
from bnjax.frame.results import Run
from bnjax.judge.compare import why_not_trained
from bnjax.judge.curves import chance_accuracy
from bnjax.studies.optimizers import USUAL_RATES, Setting, claims
from bnjax.studies.optimizers.claims import OPTIMIZERS, SYMMETRIC, around, at, base, last, usual

SMALLEST = 1e-9  # where a difference of exactly 0 is drawn on a logarithmic axis
INITIALIZERS = {
    "he_normal": "He",
    "glorot_normal": "Glorot",
    "two_over_root_n": "2/√n",
    "small_normal": "Gaussian 0.01",
    "constant": "all 0.01",
}


def start(setting: Setting) -> str:
    """An initialiser as an axis shows it."""
    return INITIALIZERS.get(setting.initializer, setting.initializer.replace("_", " "))


def caption(run: Run, note: str, *, optimizer: bool = True) -> str:
    """Network, data, seeds and setting, and a note."""
    own, seeds = at(run, base(run), usual(run)), len(run.seeds)
    trained = draw.setting(own) if optimizer else f"batch {run.options['batch_size']}"
    over = "one seed" if seeds == 1 else f"mean over {seeds} seeds"
    return f"{draw.subject(own)}; {trained}; {over}; {note}"


def finals(run: Run, norm: str, settings: list[Setting], multiples: list[float]) -> Iterator[Any]:
    """Final test accuracy in percent, mean over seeds, and whether the network trains."""
    for setting in settings:
        for multiple in multiples:
            own = at(run, setting, multiple).sel(norm=norm)
            accuracy = 100 * float(claims.final_accuracy(own).mean())
            yield accuracy, not why_not_trained(own, norm)


def learning_rates(run: Run, published: Published) -> Drawing:
    """Final test accuracy against learning rate, a panel for each optimiser."""
    del published  # there are no published curves
    settings, multiples = around(run, "optimizer"), run.values("multiple")
    columns = min(3, len(settings))
    rows = -(-len(settings) // columns)
    drawing = Drawing(
        "learning_rates",
        (rows, columns),
        size=(1.2 + 2.9 * columns, 1.2 + 2.5 * rows),
        sharey=True,
        title="The end against the learning rate",
        text="Final test accuracy of each optimiser at multiples of its usual learning rate.",
        caption=caption(
            run,
            f"initialiser {start(base(run))}; hollow: does not train, 0 if diverged",
            optimizer=False,
        ),
    )
    for panel, setting in zip(drawing.panels, settings, strict=False):
        rates = np.array(multiples) * USUAL_RATES[setting.optimizer]
        for norm in run.norms:
            look = LOOKS[norm]
            y, trains = np.array([*finals(run, norm, [setting], multiples)]).T
            panel.line(rates, y, look=look, linewidth=1.2, legend=False)
            full: Any = {"markersize": 6, "zorder": 5, "legend": False}
            for mask, words, fill in (
                (trains == 1, "trains", "full"),
                (trains == 0, "does not train", "none"),
            ):
                if mask.any():
                    name = f"{look.label}, {words}"
                    panel.points(rates[mask], y[mask], name, look, fillstyle=fill, **full)
            panel.key(look.label, look, marker=look.marker)
        panel.reference(100 * chance_accuracy(run), "chance")
        panel.set(xscale="log", ylim=(-4, 104), title=OPTIMIZERS[setting.optimizer])
        panel.set(xlabel="learning rate")
    for row in drawing.rows:
        row[0].set(ylabel="final test accuracy [%]")
    for panel in drawing.panels[len(settings) :]:
        panel.hide()
    drawing.legend(drawing.panels[:1], ncols=4)
    return drawing


def places(count: int, width: float) -> list[float]:
    """Places of the normalisers' marks around a tick."""
    return [(place - (count - 1) / 2) * width for place in range(count)]


def initializers(run: Run, published: Published) -> Drawing:
    """The end from each initialiser, and how alike channels stay."""
    del published
    drawing = Drawing(
        "initializers",
        (1, 2),
        size=(9.6, 4.2),
        title="The end by initialiser, and symmetry",
        text="Final test accuracy, and the greatest difference of two channels of a hidden layer "
        "relative to its largest weight: channels that start alike stay alike.",
        caption=caption(run, "×: does not train, 0 if diverged; b: largest over layers and seeds"),
    )
    ends, symmetry = drawing.panels
    settings, multiple = around(run, "initializer"), usual(run)
    names, width = [start(setting) for setting in settings], 0.8 / len(run.norms)
    for norm, offset in zip(run.norms, places(len(run.norms), width), strict=True):
        found = [*finals(run, norm, settings, [multiple])]
        values = [value for value, _ in found]
        x = np.arange(len(settings)) + offset
        ends.bars(x, values, look=LOOKS[norm], width=width, table={"x": names})
        for place, (value, trains) in zip(x, found, strict=True):
            text = f"{value:.0f}" if trains else f"{value:.0f}×"
            ends.note(text, (place, value), "data", va="bottom", fontsize=7)
    ends.reference(100 * chance_accuracy(run), "chance")
    ends.set(title="a  Ends, by initialiser", ylabel="final test accuracy [%]", ylim=(0, 108))
    ends.set(xlim=(-0.6, len(names)), grid=False)
    ends.axes.set_xticks(range(len(names)), names, rotation=30, ha="right")
    ends.legend(loc="upper left", bbox_to_anchor=(0, -0.3), ncols=2)
    shown = [s for s in settings if s is settings[0] or s.initializer in SYMMETRIC]
    for setting, marker in zip(shown, "osv", strict=False):
        for norm in run.norms:
            look = LOOKS[norm]._replace(marker=marker)
            own = claims.relative_differences(at(run, setting, multiple).sel(norm=norm))
            largest = np.nan_to_num(own.max(["seed", "kernel"], skipna=False))
            style: Any = {"markersize": 5, "zorder": 3, "linewidth": 1.5}
            if norm == "none":
                style |= {"markersize": 9, "zorder": 4, "fillstyle": "none"}
            symmetry.line(
                own["probe_step"],
                np.maximum(largest, SMALLEST),
                f"{start(setting)}, {look.label}",
                look,
                marker=True,
                table={"y": largest},
                **style,
            )
    symmetry.set(title="b  Do channels of a hidden layer stay alike?", xlabel=STEP, log=True)
    symmetry.set(ylabel="largest difference of two channels\n/ largest weight")
    symmetry.set(ylim=(SMALLEST / 3, 10))
    where = ("axes fraction", "data")
    symmetry.note("exactly 0", (0.7, SMALLEST * 2), where, ha="left", fontsize=7.5)
    symmetry.legend()
    return drawing


def trained(setting: Setting) -> str:
    """Whether a network saw moved images, as a panel names it."""
    return f"trained {'with' if setting.augment else 'without'} augmentation"


def regularisation(run: Run, published: Published) -> Drawing:
    """The generalisation gap of the base, dropout and augmentation; averages over copies."""
    del published
    over = "images, paired" if len(run.seeds) == 1 else "seeds"
    drawing = Drawing(
        "regularisation",
        (1, 2),
        size=(9.6, 4.0),
        title="Generalisation gap, and averages over copies",
        text="Training and test accuracy with dropout and augmentation; test accuracy gained by "
        "averaging predictions over moved copies of each image.",
        caption=caption(
            run,
            "copies: mirror image (flips), moved by "
            f"{run.options['shift']} pixels down, up, right, left (translations); bars: 95 % over "
            f"{over}",
        ),
    )
    draw_gaps(drawing.panels[0], run)
    draw_averages(drawing.panels[1], run)
    return drawing


def draw_gaps(panel: Panel, run: Run) -> None:
    """Training and test accuracy at the end, one above the other."""
    settings = [*around(run, "dropout"), *around(run, "augment")[1:]]
    names = ["base"] + [
        "augmentation" if s.augment != settings[0].augment else f"dropout {s.dropout:g}"
        for s in settings[1:]
    ]
    for norm, offset in zip(run.norms, places(len(run.norms), 0.8 / len(run.norms)), strict=True):
        look = LOOKS[norm]
        for row, (name, setting) in enumerate(zip(names, settings, strict=True)):
            own = at(run, setting, usual(run)).sel(norm=norm)
            test = last(own, "accuracy").isel(averaged=0)
            ends = {"training": last(own, "train_accuracy"), "test": test}
            both = [100 * float(values.mean(skipna=False)) for values in ends.values()]
            line: Any = {"linestyle": "-", "linewidth": 1, "table": None, "legend": False}
            panel.line([row + offset] * 2, both, look=look, **line)
            for images, value, fill in zip(ends, both, ("none", "full"), strict=True):
                series = f"{look.label}, {name}, {images} images"
                style: Any = {"markersize": 6, "fillstyle": fill, "legend": False}
                panel.points(row + offset, value, series, look, **style)
        panel.key(look.label, look, marker=look.marker, linestyle="-", linewidth=1.5)
    for images, fill in (("training", "none"), ("test", "full")):
        grey: Any = {"color": "0.4", "marker": "o", "linestyle": "none", "fillstyle": fill}
        panel.key(f"{images} images", **grey)
    panel.set(title="a  Generalisation gap", ylabel="accuracy [%]", grid="y")
    panel.set(xlim=(-0.6, len(names) - 0.4), xticks=(range(len(names)), names))
    panel.legend()


def draw_averages(panel: Panel, run: Run) -> None:
    """What averages over copies of each image gain, with their intervals."""
    kinds = [kind for kind in run.values("averaged") if kind != "original"]
    settings, ticks = around(run, "augment"), {}
    for column, setting in enumerate(settings):
        first = column * (len(kinds) + 1)
        for place, kind in enumerate(kinds):
            ticks[first + place] = kind
            for norm, offset in zip(run.norms, places(len(run.norms), 0.3), strict=True):
                look = LOOKS[norm]
                own = at(run, setting, usual(run)).sel(norm=norm)
                _, *values = claims.gained_by_copies(own, kind).difference[:4]
                y, low, high = (100 * value for value in values)
                series = f"{look.label}, {kind}, {trained(setting)}"
                style: Any = {"linestyle": "none", "capsize": 3, "markersize": 6, "legend": False}
                panel.ranges(first + place + offset, y, low, high, series, look, **style)
        head, middle = trained(setting).replace(" a", "\na"), first + (len(kinds) - 1) / 2
        panel.note(head, (middle, 1.0), ("data", "axes fraction"), va="top", fontsize=8)
    panel.reference(0.0, "none gained", named=False, linestyle="-")
    panel.set(title="b  Average over copies", ylabel="test accuracy gained [points]", grid="y")
    panel.set(xticks=([*ticks], [*ticks.values()]))
    panel.axes.tick_params("x", rotation=20)
    panel.axes.margins(y=0.25)


FIGURES = (learning_rates, initializers, regularisation)
