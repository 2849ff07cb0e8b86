"""Figures of the optimisers: ends by learning rate and initialiser, symmetry, gaps, copies."""

from typing import Any

import numpy as np

from bnjax import draw
from bnjax.draw import LOOKS, STEP, Drawing, Look, Panel
from bnjax.frame.published_curves import Published
from bnjax.frame.results import Run
from bnjax.judge.compare import why_not_trained
from bnjax.judge.curves import chance_accuracy
from bnjax.studies.optimizers import USUAL_RATES, Setting, claims
from bnjax.studies.optimizers.claims import COPIES, OPTIMIZERS, REGULARISED, around, at, base

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
    own, seeds = at(run, base(run)), len(run.seeds)
    trained = draw.setting(own) if optimizer else f"batch {run.options['batch_size']}"
    over = "one seed" if seeds == 1 else f"mean over {seeds} seeds"
    return f"{draw.subject(own)}; {trained}; {over}; {note}"


def arms(run: Run, width: float) -> list[tuple[str, Look, float]]:
    """The normalisers, their looks, and where around a tick the marks of each stand."""
    first = (1 - len(run.norms)) / 2
    return [(norm, LOOKS[norm], (first + place) * width) for place, norm in enumerate(run.norms)]


def final(run: Run, norm: str) -> tuple[float, bool]:
    """Test accuracy of a network in percent, mean over seeds, and whether it trains."""
    accuracy = claims.final_accuracy(run.sel(norm=norm)).mean()
    return 100 * float(accuracy), not why_not_trained(run, norm)


def learning_rates(run: Run, published: Published) -> Drawing:
    """Final test accuracy against learning rate, a panel for each optimiser."""
    del published  # there are no published curves
    settings, multiples = around(run, "optimizer"), run.values("multiple")
    columns = min(3, len(settings))
    rows = -(-len(settings) // columns)
    note = f"initialiser {start(base(run))}; hollow: does not train, 0 if diverged"
    drawing = Drawing(
        "learning_rates",
        (rows, columns),
        size=(1.2 + 2.9 * columns, 1.2 + 2.5 * rows),
        sharey=True,
        title="The end against the learning rate",
        text="Final test accuracy of each optimiser at multiples of its usual learning rate.",
        caption=caption(run, note, optimizer=False),
    )
    marks: Any = {"markersize": 6, "zorder": 5, "legend": False}
    for panel, setting in zip(drawing.panels, settings, strict=False):
        rates = np.array(multiples) * USUAL_RATES[setting.optimizer]
        for norm in run.norms:
            look, ends = LOOKS[norm], [final(at(run, setting, m), norm) for m in multiples]
            y, trains = map(np.array, zip(*ends, strict=True))
            panel.line(rates, y, look=look, linewidth=1.2, legend=False)
            for own, words, fill in (
                (trains, "trains", "full"),
                (~trains, "does not train", "none"),
            ):
                if own.any():
                    name = f"{look.label}, {words}"
                    panel.points(rates[own], y[own], name, look, fillstyle=fill, **marks)
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
    settings = around(run, "initializer")
    draw_ends(drawing.panels[0], run, settings)
    shown = [s for s in settings if s is settings[0] or s.initializer in claims.SYMMETRIC]
    draw_symmetry(drawing.panels[1], run, shown)
    return drawing


def draw_ends(panel: Panel, run: Run, settings: list[Setting]) -> None:
    """Final test accuracies as bars, crossed where a network does not train."""
    names, width = [start(setting) for setting in settings], 0.8 / len(run.norms)
    for norm, look, offset in arms(run, width):
        found = [final(at(run, setting), norm) for setting in settings]
        x, values = np.arange(len(names)) + offset, [value for value, _ in found]
        panel.bars(x, values, look=look, width=width, table={"x": names})
        for place, (value, trains) in zip(x, found, strict=True):
            cross = "" if trains else "×"
            panel.note(f"{value:.0f}{cross}", (place, value), "data", va="bottom", fontsize=7)
    panel.reference(100 * chance_accuracy(run), "chance")
    panel.set(title="a  Ends, by initialiser", ylabel="final test accuracy [%]", ylim=(0, 108))
    panel.set(xlim=(-0.6, len(names)), grid=False)
    panel.axes.set_xticks(range(len(names)), names, rotation=30, ha="right")
    panel.legend(loc="upper left", bbox_to_anchor=(0, -0.3), ncols=2)


def draw_symmetry(panel: Panel, run: Run, settings: list[Setting]) -> None:
    """The largest relative difference of two channels along training."""
    for setting, marker in zip(settings, "osv", strict=False):
        for norm in run.norms:
            look = LOOKS[norm]._replace(marker=marker)
            own = claims.relative_differences(at(run, setting).sel(norm=norm))
            y = np.nan_to_num(own.max(["seed", "kernel"], skipna=False))
            style: Any = {"markersize": 5, "zorder": 3, "linewidth": 1.5, "marker": True}
            if norm == "none":
                style |= {"markersize": 9, "zorder": 4, "fillstyle": "none"}
            name, shown = f"{start(setting)}, {look.label}", np.maximum(y, SMALLEST)
            panel.line(own["probe_step"], shown, name, look, table={"y": y}, **style)
    panel.set(title="b  Do channels of a hidden layer stay alike?", xlabel=STEP, log=True)
    panel.set(ylabel="largest difference of two channels\n/ largest weight")
    panel.set(ylim=(SMALLEST / 3, 10))
    where = ("axes fraction", "data")
    panel.note("exactly 0", (0.7, SMALLEST * 2), where, ha="left", fontsize=7.5)
    panel.legend()


def regularisation(run: Run, published: Published) -> Drawing:
    """The generalisation gap of the base, dropout and augmentation; averages over copies."""
    del published
    over = "images, paired" if len(run.seeds) == 1 else "seeds"
    note = (
        f"copies: mirror image (flips), moved by {run.options['shift']} pixels down, up, right, "
        f"left (translations); bars: 95 % over {over}"
    )
    drawing = Drawing(
        "regularisation",
        (1, 2),
        size=(9.6, 4.0),
        title="Generalisation gap, and averages over copies",
        text="Training and test accuracy with dropout and augmentation; test accuracy gained by "
        "averaging predictions over moved copies of each image.",
        caption=caption(run, note),
    )
    draw_gaps(drawing.panels[0], run)
    draw_averages(drawing.panels[1], run)
    return drawing


def draw_gaps(panel: Panel, run: Run) -> None:
    """Training and test accuracy at the end, one above the other."""
    settings = {"base": base(run)}
    settings |= {f"dropout {s.dropout:g}": s for s in around(run, "dropout")[1:]}
    settings |= dict(zip(["augmentation"], around(run, "augment")[1:], strict=False))
    line: Any = {"linestyle": "-", "linewidth": 1, "table": None, "legend": False}
    fills = {"training": "none", "test": "full"}
    for norm, look, offset in arms(run, 0.8 / len(run.norms)):
        for row, (name, setting) in enumerate(settings.items()):
            own = at(run, setting).sel(norm=norm)
            ends = claims.last(own, "train_accuracy"), claims.plain_accuracy(own)
            both = [100 * float(values.mean(skipna=False)) for values in ends]
            panel.line([row + offset] * 2, both, look=look, **line)
            for value, (images, fill) in zip(both, fills.items(), strict=True):
                series = f"{look.label}, {name}, {images} images"
                style: Any = {"markersize": 6, "fillstyle": fill, "legend": False}
                panel.points(row + offset, value, series, look, **style)
        panel.key(look.label, look, marker=look.marker, linestyle="-", linewidth=1.5)
    for images, fill in fills.items():
        grey: Any = {"color": "0.4", "marker": "o", "linestyle": "none", "fillstyle": fill}
        panel.key(f"{images} images", **grey)
    panel.set(title="a  Generalisation gap", ylabel="accuracy [%]", grid="y")
    panel.set(xlim=(-0.6, len(settings) - 0.4), xticks=(range(len(settings)), [*settings]))
    panel.legend()


def draw_averages(panel: Panel, run: Run) -> None:
    """What averages over copies of each image gain, with their intervals."""
    style: Any = {"linestyle": "none", "capsize": 3, "markersize": 6, "legend": False}
    ticks = {}
    for column, setting in enumerate(around(run, "augment")):
        trained, first = f"trained {REGULARISED['augment'](setting)}", column * (len(COPIES) + 1)
        for place, kind in enumerate(COPIES, first):
            ticks[place] = kind
            for norm, look, offset in arms(run, 0.3):
                found, _ = claims.gained_by_copies(at(run, setting).sel(norm=norm), kind)
                y, low, high = (100 * value for value in found[1:4])
                series = f"{look.label}, {kind}, {trained}"
                panel.ranges(place + offset, y, low, high, series, look, **style)
        head, middle = trained.replace(" a", "\na"), first + (len(COPIES) - 1) / 2
        panel.note(head, (middle, 1.0), ("data", "axes fraction"), va="top", fontsize=8)
    panel.reference(0.0, "none gained", named=False, linestyle="-")
    panel.set(title="b  Average over copies", ylabel="test accuracy gained [points]", grid="y")
    panel.set(xticks=([*ticks], [*ticks.values()]))
    panel.axes.tick_params("x", rotation=20)
    panel.axes.margins(y=0.25)


FIGURES = (learning_rates, initializers, regularisation)
