"""The figures of networks of which a part is trained: how well it does, and with which features."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from bnjax.draw import numbers, style
from bnjax.draw.elements import over_seeds, setting, spread
from bnjax.draw.style import Look
from bnjax.frame.published_curves import Published
from bnjax.frame.results import Results
from bnjax.studies.batchnorm_only.claims import SWITCHED_OFF, depth_of, ended, networks

LOOKS = {
    "all": Look("#000000", "-", "o", "", "everything"),
    "bn": Look("#0072B2", "-", "s", "", "γ and β"),
    "bn+output": Look("#56B4E9", (0, (5, 1)), "D", "", "γ, β and output layer"),
    "random": Look("#D55E00", "--", "^", "", "as many random, per channel"),
    "random_anywhere": Look("#E69F00", "-.", "v", "", "as many random, anywhere"),
    "output": Look("#009E73", ":", "X", "", "output layer"),
}
CHANCE: dict[str, Any] = {
    "color": "0.35",
    "linestyle": (0, (6, 2)),
    "linewidth": 0.9,
    "label": numbers.hidden("chance"),
}


def draw(results: Results, published: Published, folder: Path) -> Sequence[Path]:
    """Draw `batchnorm_only` for the first network, and `variants` where there are several.

    Args:
      results: as `bnjax.frame.results.read` returns them.
      published: not used; there are no published curves.
      folder: where the figures go.

    Returns:
      The paths of the files.
    """
    del published
    found = list(networks(results))
    first = found[0][1]
    with style.figure(2, 2, size=(7.6, 6.4)) as (drawn, panels):
        draw_accuracy(panels[0], first)
        draw_scales(panels[1], first)
        draw_clamping(panels[2], first)
        draw_zeros(panels[3], first)
        handles, labels = panels[0].get_legend_handles_labels()
        drawn.legend(handles, labels, loc="outside lower center", ncols=3)
        style.caption(drawn, caption(first))
        paths = style.save(drawn, folder, "batchnorm_only")
    return [*paths, *(draw_variants(results, folder) if len(found) > 1 else [])]


def parts(results: Results) -> list[str]:
    """The arms."""
    return [str(part) for part in results.axes["trained"]]


def chance(results: Results) -> float:
    """The accuracy of guessing, in percent."""
    return float(100 * np.exp(-results.facts["chance_loss"]))


def draw_accuracy(panel: Axes, results: Results) -> None:
    """Test accuracy along training."""
    for part in parts(results):
        look = LOOKS[part]
        panel.plot(
            results.axes["test_step"],
            100 * over_seeds(results.select("test.accuracy", trained=part)),
            color=look.colour,
            linestyle=look.line,
            marker=look.marker,
            markersize=4,
            linewidth=1.2,
            label=look.label,
        )
    # Its name would hide what stays there.
    panel.axhline(chance(results), zorder=0, **CHANCE)
    panel.set(title="a  Accuracy", xlabel="training step", ylabel="test accuracy  [%]")
    panel.grid(visible=True)


def draw_scales(panel: Axes, results: Results) -> None:
    """Distributions of γ before training and after it in each arm that trains γ."""
    centres = results.axes["bin"]
    shown = [part for part in parts(results) if part in ("all", "bn", "bn+output")]
    start = over_seeds(100 * ended(results, "scales", parts(results)[0], "before"))
    filled = panel.fill_between(centres, start, step="mid", color="0.85", label="before training")
    numbers.behind(filled, "line", x=centres, y=start)
    for part in shown:
        look = LOOKS[part]
        share = over_seeds(100 * ended(results, "scales", part))
        panel.step(
            centres,
            share,
            where="mid",
            color=look.colour,
            linestyle=look.line,
            linewidth=1,
            label=numbers.hidden(look.label),
        )
    panel.set(title="b  Distribution of γ", xlabel="γ", ylabel="share of features  [%]")
    # The outer bins hold all beyond, and would pass for modes of their own.
    panel.set_xticks([centres[0], -1, 0, 1, centres[-1]], ["< −2", "−1", "0", "1", "> 2"])
    panel.set_ylim(0, None)
    panel.legend(loc="upper left")


def draw_clamping(panel: Axes, results: Results) -> None:
    """Accuracy with small γ set to 0, and how many are small."""
    limits = results.axes["threshold"]
    places = np.arange(len(limits))
    for part in parts(results):
        look = LOOKS[part]
        clamped = 100 * over_seeds(ended(results, "clamped_accuracy", part))
        panel.plot(
            places,
            clamped,
            color=look.colour,
            linestyle=look.line,
            marker=look.marker,
            markersize=4,
            label=numbers.hidden(look.label),
        )
    panel.set_xticks(places, ["none", *(f"{limit:g}" for limit in limits[1:])])
    panel.set(
        title="c  Without small γ",
        xlabel="γ set to 0 where |γ| is below",
        ylabel="test accuracy  [%]",
        ylim=(0, None),
    )
    panel.grid(visible=True)


def draw_zeros(panel: Axes, results: Results) -> None:
    """Shares of zero ReLU outputs before and after, and of features switched off."""
    shown = parts(results)
    for place, part in enumerate(shown):
        look = LOOKS[part]
        before, after = (
            100 * ended(results, "zeros", part, end).mean() for end in ("before", "after")
        )
        off = 100 * ended(results, "small", part, threshold=SWITCHED_OFF).mean()
        way = panel.plot([place - 0.15, place + 0.15], [before, after], color=look.colour, lw=1)
        numbers.behind(way[0], "none")
        for side, value, marker, fill, name in (
            (-0.15, before, "o", "none", "zero activations, before"),
            (0.15, after, "o", "full", "zero activations, after"),
            (0, off, "_", "full", f"features with |γ| < {SWITCHED_OFF:g}, after"),
        ):
            points = panel.plot(
                place + side,
                value,
                marker=marker,
                fillstyle=fill,
                color=look.colour,
                linestyle="none",
                markersize=12 if marker == "_" else 6,
                label=name if place == 0 else numbers.hidden(name),
            )
            numbers.behind(points[0], "points", x=part, y=value)
    panel.set_xticks(range(len(shown)), shown)
    panel.set(title="d  Sparsity", xlabel="trained", ylabel="share  [%]", ylim=(0, 100))
    panel.set_xlim(-0.6, len(shown) - 0.4)
    legend = panel.legend(loc="upper left")
    for handle in legend.legend_handles:
        handle.set_color("0.2")  # type: ignore[union-attr]


def draw_variants(results: Results, folder: Path) -> list[Path]:
    """Accuracy and generalisation gap of every network."""
    found = list(networks(results))
    names = [variant_name(suffix) for suffix, _ in found]
    height = 2.2 + 0.32 * len(names)
    with style.figure(1, 2, size=(7.6, height), sharey=True) as (drawn, panels):
        for part in parts(results):
            look = LOOKS[part]
            accuracy = [ended(own, "test_accuracy", part).mean() for _, own in found]
            train = [ended(own, "train_accuracy", part).mean() for _, own in found]
            gaps = np.array(train) - np.array(accuracy)
            for panel, values in zip(panels, (accuracy, gaps), strict=True):
                panel.plot(
                    100 * np.array(values),
                    range(len(names)),
                    color=look.colour,
                    marker=look.marker,
                    linestyle="none",
                    markersize=6,
                    alpha=0.85,
                    label=look.label,
                )
        panels[0].axvline(chance(results), **CHANCE)
        panels[0].set_yticks(range(len(names)), names)
        panels[0].set_ylim(len(names) - 0.5, -0.5)
        panels[0].set(title="a  Accuracy", xlabel="test accuracy  [%]")
        panels[1].set(title="b  Generalisation gap", xlabel="training − test accuracy  [points]")
        for panel in panels:
            panel.grid(visible=True)
        handles, labels = panels[0].get_legend_handles_labels()
        drawn.legend(handles, labels, loc="outside lower center", ncols=3)
        style.caption(drawn, caption(results, with_network=False))
        return style.save(drawn, folder, "batchnorm_only_variants")


def variant_name(suffix: str) -> str:
    """The name of a network as an axis shows it."""
    words = {"-depth-": "depth ", "-norm-every-": ", BN every ", "-scale-init-": ", γ "}
    for key, word in words.items():
        suffix = suffix.replace(key, word)
    return suffix.removeprefix(", ")


def caption(results: Results, *, with_network: bool = True) -> str:
    """What was run, on what, and how."""
    config, facts = results.config, results.facts
    network = f"ResNet-{depth_of(results)}" if with_network else "ResNets"
    steps = len(results.axes["step"])
    removed = "".join(
        f", no {what} in {' '.join(config[option])}"
        for option, what in (("no_scale", "γ"), ("no_shift", "β"))
        if config[option]
    )
    kept = "" if config["decay_norm"] else " (not on γ, β)"
    shown = " and ".join(
        f"{100 * drop:g} %" if drop < 1 else f"step {drop:g}" for drop in config["lr_drops"]
    )
    drops = f", ÷ 10 at {shown}"

    return (
        f"{network} ×{config['width']:g}{removed}, {facts['dataset']}; {setting(config)}"
        f"{drops if config['lr_drops'] else ''}, weight decay {config['weight_decay']:g}{kept}, "
        f"{steps:,} steps; colours and markers: what is trained, dashed: chance; "
        f"{spread(results)}"
    )
