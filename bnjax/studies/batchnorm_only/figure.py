"""The figures of networks of which a part is trained: how well it does, and with which features."""

from collections.abc import Iterator
from typing import Any

from bnjax import draw
from bnjax.draw import Drawing, Look, Panel
from bnjax.frame.published_curves import Published
from bnjax.frame.results import Run
from bnjax.judge.curves import chance_accuracy
from bnjax.studies.batchnorm_only import SWITCHED_OFF, claims
from bnjax.studies.batchnorm_only.claims import ended, networks, switched_off

LOOKS = {
    "all": Look("#000000", "-", "o", "", "everything"),
    "bn": Look("#0072B2", "-", "s", "", "γ and β"),
    "bn+output": Look("#56B4E9", (0, (5, 1)), "D", "", "γ, β and output layer"),
    "random": Look("#D55E00", "--", "^", "", "as many random, per channel"),
    "random_anywhere": Look("#E69F00", "-.", "v", "", "as many random, anywhere"),
    "output": Look("#009E73", ":", "X", "", "output layer"),
}
SOURCE = "Frankle, Schwab & Morcos 2020"
ACCURACY = "test accuracy  [%]"


def features(run: Run, published: Published) -> Drawing:
    """The first network: accuracy along training, γ, clamping, sparsity."""
    del published  # there are no published curves
    _, _, run = next(networks(run))
    drawing = Drawing(
        "batchnorm_only",
        (2, 2),
        size=(7.6, 6.4),
        title="Training γ and β alone",
        text="(a) Test accuracy where a part of the parameters is trained. (b) Distribution of γ "
        "before and after. (c) Test accuracy with small γ set to 0. (d) Shares of zero outputs "
        "of ReLUs and of features that are switched off.",
        source=SOURCE,
        caption=caption(run, draw.network(run.options)),
    )
    accuracy, scales, clamping, zeros = drawing.panels
    along, centres, limits = run["test_accuracy"], run["bin"].values, run.values("threshold")
    start = 100 * ended(run, "scales", "before").isel(trained=0).median("seed")
    scales.axes.fill_between(centres, start, step="mid", color="0.85", label="before training")
    scales.keep("before training", "line", x=centres, y=start)
    for part in run.values("trained"):
        own, look = run.sel(trained=part), LOOKS[part]
        style: Any = {"marker": True, "markersize": 4}
        y = 100 * along.sel(trained=part).median("seed")
        accuracy.line(along["test_step"], y, look=look, linewidth=1.2, **style)
        if part in ("all", "bn", "bn+output"):
            y = 100 * ended(own, "scales").median("seed")
            scales.line(centres, y, look=look, linewidth=1, drawstyle="steps-mid", legend=False)
        y = 100 * ended(own, "clamped_accuracy").median("seed")
        clamping.line(range(len(limits)), y, look=look, linewidth=1.5, legend=False, **style)
    # Its name would hide what stays there.
    accuracy.reference(100 * chance_accuracy(run), "chance", named=False, zorder=0)
    accuracy.set(title="a  Accuracy", xlabel="training step", ylabel=ACCURACY)
    scales.set(title="b  Distribution of γ", xlabel="γ", ylabel="share of features  [%]")
    # The outer bins hold all beyond, and would pass for modes of their own.
    ends = [centres[0], -1, 0, 1, centres[-1]], ["< −2", "−1", "0", "1", "> 2"]
    scales.set(xticks=ends, grid=False)
    scales.axes.set_ylim(0, None)
    scales.legend(loc="upper left")
    clamping.set(title="c  Without small γ", xlabel="γ set to 0 where |γ| is below")
    clamping.set(ylabel=ACCURACY, ylim=(0, None))
    clamping.set(xticks=(range(len(limits)), ["none", *(f"{limit:g}" for limit in limits[1:])]))
    draw_zeros(zeros, run)
    drawing.legend([accuracy], ncols=3)
    return drawing


def draw_zeros(panel: Panel, run: Run) -> None:
    """Shares of zero ReLU outputs before and after, and of features switched off."""
    parts = run.values("trained")
    marks: dict[str, Any] = {
        "zero activations, before": {"marker": "o", "markersize": 6, "fillstyle": "none"},
        "zero activations, after": {"marker": "o", "markersize": 6},
        f"features with |γ| < {SWITCHED_OFF:g}, after": {"marker": "_", "markersize": 12},
    }
    for place, part in enumerate(parts):
        own, look = run.sel(trained=part), LOOKS[part]
        found = ended(own, "zeros", "before"), ended(own, "zeros"), switched_off(own)
        values = [100 * float(each.mean()) for each in found]
        x = [place - 0.15, place + 0.15, place]
        panel.axes.plot(x[:2], values[:2], color=look.colour, linewidth=1)
        for side, value, (name, style) in zip(x, values, marks.items(), strict=True):
            panel.points(side, value, name, look, table={"x": part}, legend=False, **style)
    for name, style in marks.items():
        panel.key(name, color="0.2", linestyle="none", **style)
    panel.set(title="d  Sparsity", xlabel="trained", ylabel="share  [%]", ylim=(0, 100))
    panel.set(xlim=(-0.6, len(parts) - 0.4), xticks=(range(len(parts)), parts), grid=False)
    panel.legend(loc="upper left")


def all_networks(run: Run, published: Published) -> Iterator[Drawing]:
    """Accuracy and generalisation gap of every network, where there are several."""
    del published
    _, names, found = zip(*networks(run), strict=True)
    if len(found) == 1:
        return
    drawing = Drawing(
        "batchnorm_only_variants",
        (1, 2),
        size=(7.6, 2.2 + 0.32 * len(names)),
        sharey=True,
        title="Training γ and β alone: all networks",
        text="Test accuracy and generalisation gap (training − test accuracy) of each network.",
        source=SOURCE,
        caption=caption(run, f"ResNets ×{run.options['width']:g}"),
    )
    accuracy, gap = drawing.panels
    for part in run.values("trained"):
        arms = [own.sel(trained=part) for own in found]
        values = [ended(own, "test_accuracy") for own in arms], map(claims.gap, arms)
        for panel, each in zip(drawing.panels, values, strict=True):
            x = [100 * float(value.mean()) for value in each]
            panel.points(x, range(len(names)), look=LOOKS[part], markersize=6, alpha=0.85)
    accuracy.vertical(100 * chance_accuracy(run), "chance")
    accuracy.set(title="a  Accuracy", xlabel=ACCURACY, ylim=(len(names) - 0.5, -0.5))
    accuracy.set(yticks=(range(len(names)), names))
    gap.set(title="b  Generalisation gap", xlabel="training − test accuracy  [points]")
    drawing.legend([accuracy], ncols=3)
    yield drawing


def caption(run: Run, network: str) -> str:
    """What was run, on what, and how."""
    options = run.options
    removed = "".join(
        f", no {what} in {' '.join(options[option])}"
        for option, what in (("no_scale", "γ"), ("no_shift", "β"))
        if options[option]
    )
    kept = "" if options["decay_norm"] else " (not on γ, β)"
    drops = " and ".join(
        f"{100 * drop:g} %" if drop < 1 else f"step {drop:g}" for drop in options["lr_drops"]
    )
    return (
        f"{network}{removed}, {run.facts['dataset']}; {draw.setting(run)}"
        f"{f', ÷ 10 at {drops}' if drops else ''}, weight decay {options['weight_decay']:g}{kept}, "
        f"{options['steps']:,} steps; colours and markers: what is trained, dashed: chance; "
        f"{draw.spread(run)}"
    )


FIGURES = (features, all_networks)
