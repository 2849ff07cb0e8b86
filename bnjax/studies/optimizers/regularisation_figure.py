"""The figure of generalisation gaps and of averages over copies of test images."""

from pathlib import Path

import numpy as np

from bnjax.draw import numbers, style
from bnjax.draw.style import LOOKS
from bnjax.draw.variants import norms_of, setting
from bnjax.frame.results import Results
from bnjax.frame.variants import Variant
from bnjax.judge import variants as arms
from bnjax.judge.ending import compare, last_row


def told(variant: Variant) -> str:
    """Whether a network saw moved images, as a panel names it."""
    return f"trained {'with' if variant.augment else 'without'} augmentation"


def draw_regularisation(results: Results, folder: Path) -> list[Path]:
    """The generalisation gap of the base, dropout and augmentation; averages over copies."""
    multiple = arms.usual(results)
    variants = [
        *arms.around(results, "dropout"),
        *arms.around(results, "augment")[1:],
    ]
    names = ["base"] + [
        "augmentation" if variant.augment != variants[0].augment else f"dropout {variant.dropout:g}"
        for variant in variants[1:]
    ]
    norms = norms_of(results)
    with style.figure(1, 2, size=(9.6, 4.0)) as (drawn, panels):
        gaps, averages = panels
        width = 0.8 / len(norms)
        for place, norm in enumerate(norms):
            look, offset = LOOKS[norm], (place - (len(norms) - 1) / 2) * width
            for row, variant in enumerate(variants):
                arm = arms.arm(results, variant, multiple)
                ended = [last_row(arm, norm, s) for s in results.axes["seed"].tolist()]
                train = 100 * np.mean([end.train_accuracy for end in ended])
                test = 100 * np.mean([end.accuracy[0] for end in ended])
                shown = {"color": look.colour, "marker": look.marker, "markersize": 6}
                gap = gaps.plot([row + offset] * 2, [train, test], color=look.colour, linewidth=1)
                numbers.behind(gap[0], "none")
                for images, value, fill in (("training", train, "none"), ("test", test, "full")):
                    gaps.plot(
                        row + offset,
                        value,
                        fillstyle=fill,
                        linestyle="none",
                        label=numbers.hidden(f"{look.label}, {names[row]}, {images} images"),
                        **shown,
                    )
            gaps.plot([], [], color=look.colour, marker=look.marker, label=look.label)
        gaps.plot([], [], "o", color="0.4", fillstyle="none", label="training images")
        gaps.plot([], [], "o", color="0.4", label="test images")
        gaps.set_xticks(range(len(names)), names)
        gaps.set(
            title="a  Generalisation gap", ylabel="accuracy [%]", xlim=(-0.6, len(names) - 0.4)
        )
        gaps.grid(visible=True, axis="y")
        style.legend(gaps)
        kinds = [kind for kind in results.axes["averaged"].tolist() if kind != "original"]
        trained = arms.around(results, "augment")
        ticks = []
        for column, variant in enumerate(trained):
            arm = arms.arm(results, variant, multiple)
            for row, kind in enumerate(kinds):
                centre = column * (len(kinds) + 1) + row
                ticks.append((centre, kind))
                for place, norm in enumerate(norms):
                    look, offset = LOOKS[norm], (place - (len(norms) - 1) / 2) * 0.3
                    value = compare(arm, norm, kind).difference
                    averages.errorbar(
                        centre + offset,
                        value.centre,
                        [[value.centre - value.low], [value.high - value.centre]],
                        color=look.colour,
                        marker=look.marker,
                        capsize=3,
                        linestyle="none",
                        label=numbers.hidden(f"{look.label}, {kind}, {told(variant)}"),
                    )
            averages.annotate(
                told(variant).replace(" a", "\na"),
                (column * (len(kinds) + 1) + (len(kinds) - 1) / 2, 1.0),
                xycoords=("data", "axes fraction"),
                ha="center",
                va="top",
                fontsize=8,
            )
        averages.axhline(0, color="0.35", linewidth=0.9, label=numbers.hidden("none gained"))
        averages.set_xticks([x for x, _ in ticks], [kind for _, kind in ticks], rotation=20)
        averages.set(title="b  Average over copies", ylabel="test accuracy gained [points]")
        averages.margins(y=0.25)
        averages.grid(visible=True, axis="y")
        shift = results.config["shift"]
        seeds = len(results.axes["seed"])
        note = (
            "copies: mirror image (flips), moved by "
            f"{shift} pixels down, up, right, left (translations); bars: 95 % over "
            f"{'images, paired' if seeds == 1 else 'seeds'}"
        )
        style.caption(drawn, f"{setting(results, optimizer=True)}; {note}")
        return style.save(drawn, folder, "regularisation")
