"""The figure of a shift run: cosines of all layers as heat maps, the highlighted ones as curves."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import AxesImage

from bnjax.draw import numbers, style
from bnjax.draw.elements import over_seeds, setting, spread, subject
from bnjax.draw.style import LOOKS
from bnjax.frame.published_curves import Published
from bnjax.frame.results import Results


class Measure(NamedTuple):
    """A way to compare a layer's two gradients."""

    field: str  # of `bnjax.probes.Shift`
    title: str
    published: str  # how the published curves call it; empty: they do not have it


MEASURES = (
    Measure("cosines", "cos(G, G')", "cos"),
    Measure("distances", "‖G − G'‖₂", "l2"),
    Measure("relative_distances", "‖G − G'‖₂ / ‖G‖₂", ""),
)


def draw(results: Results, published: Published, folder: Path) -> Sequence[Path]:
    """Draw `shift`: a row for each learning rate.

    Args:
      results: as `bnjax.frame.results.read` returns them.
      published: curves to draw beside the measured ones; may be empty.
      folder: where the figures go.

    Returns:
      The paths of the files.
    """
    norms, lrs, layers = (results.axes[axis] for axis in ("norm", "lr", "layer"))
    highlighted = results.config["layers"]
    columns = len(norms) + len(MEASURES)
    size = (3.0 * columns, 1.2 + 3.0 * len(lrs))
    with style.figure(len(lrs), columns, size=size) as (drawn, panels):
        for row, lr in enumerate(lrs.tolist()):
            here = results.at(lr=lr)
            maps = panels[row * columns : row * columns + len(norms)]
            for panel, norm in zip(maps, norms, strict=True):
                image = draw_map(panel, here, str(norm), layers)
                panel.set_title(f"{norm}, lr {lr:g}")
            drawn.colorbar(image, ax=maps, label="cos(G, G')", shrink=0.8)
            lines = panels[row * columns + len(norms) : (row + 1) * columns]
            for panel, measure in zip(lines, MEASURES, strict=True):
                for index, layer in enumerate(highlighted):
                    draw_layer(panel, here, measure.field, layer, index)
                    curve = published_name(results.config["model"], measure, layer, lr)
                    style.overlay(panel, norms, published, curve)
                panel.set_title(f"{measure.title}, lr {lr:g}")
                if measure.field != "cosines":
                    style.log_scale(panel)
                panel.grid(visible=True)
                panel.set_xlabel("training step")
                style.step_limits(panel, len(results.axes["step"]))
        handles, names = panels[-1].get_legend_handles_labels()
        drawn.legend(handles, names, loc="outside lower right", ncols=len(names))
        note = f"; {style.PUBLISHED_NOTE}" if published else ""
        style.caption(drawn, caption(results) + note)
        return style.save(drawn, folder, "shift")


def published_name(model: str, measure: Measure, layer: str, lr: float) -> str:
    """The panel of the published curves of one layer; there may be none of that name."""
    number = layer.removeprefix("conv").removeprefix("dense")
    figure = {"dln": "fig3b_dln", "vgg": "fig3a_vgg"}.get(model[:3], "")
    return f"{figure}_ics_{measure.published}_layer{number}_lr{lr:g}".replace("e-0", "e-")


def caption(results: Results) -> str:
    """What was run, on what, and what G and G' are."""
    return (
        f"{subject(results)}, "
        f"{setting(results.config, with_lr=False)}, {spread(results)}\n"
        "G: gradient of a layer; G': the same after the layers below took the step's actual update"
    )


def draw_map(panel: Axes, results: Results, norm: str, layers: np.ndarray) -> AxesImage:
    """Cosines of all layers over training; grey where an arm had ended."""
    steps = results.axes["probe_step"]
    cosines = over_seeds(results.select("shift.cosines", norm=norm)).T
    panel.set_facecolor("0.8")
    width = steps[1] - steps[0] if len(steps) > 1 else 1
    image = panel.imshow(
        cosines,
        aspect="auto",
        origin="lower",
        cmap="RdYlBu",
        vmin=-1,
        vmax=1,
        interpolation="none",
        extent=(steps[0] - width / 2, steps[-1] + width / 2, 0.5, len(layers) + 0.5),
        label=numbers.hidden(LOOKS[norm].label),
    )
    numbers.behind(image, "grid", x=steps, y=layers[:, None], value=cosines)
    shown = range(0, len(layers), max(1, len(layers) // 8))
    panel.set_yticks([index + 1 for index in shown], [str(layers[index]) for index in shown])
    panel.set_xlabel("training step")
    return image


def draw_layer(panel: Axes, results: Results, name: str, layer: str, index: int) -> None:
    """One field of one layer for every arm; the second and later layers are drawn thinner."""
    for norm in results.axes["norm"]:
        look = LOOKS[str(norm)]
        panel.plot(
            results.axes["probe_step"],
            over_seeds(results.select(f"shift.{name}", norm=norm, layer=layer)),
            color=look.colour,
            linestyle=look.line,
            linewidth=1.6 if index == 0 else 0.8,
            marker=look.marker,
            markersize=3 if index == 0 else 2,
            markevery=0.1,
            label=f"{look.label}, {layer}",
        )
