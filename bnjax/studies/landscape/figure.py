"""The figure of a landscape run: loss, gradient and smoothness along the gradient, and training."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from bnjax.draw import style
from bnjax.draw.elements import draw_training, setting, spread, subject, unit
from bnjax.draw.line_panels import KEYS, draw_band, draw_smoothness, mark_plateaus
from bnjax.draw.style import LOOKS
from bnjax.frame.published_curves import Published
from bnjax.frame.results import Results
from bnjax.studies.landscape import claims
from bnjax.studies.landscape.differences_figure import at_step_sizes, draw_differences
from bnjax.studies.landscape.published_landscape import family


class PublishedPanels(NamedTuple):
    """The published curves of panels a, b and c, of the differences, and the runs' learning rate.

    Those of the differences have the step size in their names: `fig11a_vgg_difference_eta0.05`.
    """

    names: tuple[str, str, str]
    differences: str
    lr: float


PUBLISHED = {
    "vgg": PublishedPanels(
        ("fig12b_vgg_loss", "fig12c_vgg_gradpred", "fig12d_vgg_beta"), "fig11a_vgg_difference", 0.1
    ),
    "dln": PublishedPanels(
        ("fig10a_dln_loss", "fig10b_dln_gradpred", "fig10c_dln_beta"), "fig11b_dln_difference", 1e-6
    ),
}
ROWS = ("loss", "predictiveness", "smoothness")
TITLES = ("a  Loss variation", "b  Gradient predictiveness", "c  Effective β-smoothness")
TEST = {"marker": "o", "linestyle": "none", "markersize": 4, "fillstyle": "none"}


def draw(results: Results, published: Published, folder: Path) -> Sequence[Path]:
    """Draw `landscape` from a run's results, one figure a direction and rate.

    Args:
      results: as `bnjax.frame.results.read` returns them.
      published: curves to draw beside the measured ones; may be empty.
      folder: where the figures go.

    Returns:
      The paths of the files.
    """
    paths: list[Path] = []
    for rate, here in claims.each_rate(results):
        end = f"_{rate}" if rate else ""
        paths += draw_landscape(here, published, folder, end)
        along = PUBLISHED.get(family(here.config))
        at_steps = at_step_sizes(published, along.differences) if along else {}
        paths += draw_differences(here, at_steps, folder, f"gradient_difference{end}")
    return paths


def draw_landscape(results: Results, published: Published, folder: Path, end: str) -> list[Path]:
    """The figures at one learning rate, one a direction; `end` is that of their names."""
    paths: list[Path] = []
    columns = side_by_side([str(norm) for norm in results.axes["norm"]])
    for direction in results.axes["direction"]:
        name = f"landscape{end}" if direction == "gradient" else f"landscape_{direction}{end}"
        along = PUBLISHED.get(family(results.config)) if direction == "gradient" else None
        with style.mosaic(*arrangement(len(columns))) as (drawn, panels):
            for row in ROWS:  # before anything is drawn, so that each scale is that of all columns
                for i in range(1, len(columns)):
                    panels[f"{row} {i}"].sharey(panels[f"{row} 0"])
            for i, norms in enumerate(columns):
                loss, predictiveness, smoothness = line = [panels[f"{row} {i}"] for row in ROWS]
                draw_band(loss, results, norms, direction, "losses")
                draw_band(predictiveness, results, norms, direction, "gradient_distances")
                draw_smoothness(smoothness, results, norms, direction)
                last = i + 1 == len(columns)
                mark_plateaus(smoothness, results, beside=len(columns) > 1, named=last)
                for panel, panel_name in zip(line, along.names if along else (), strict=False):
                    style.overlay(panel, norms, published, panel_name)
            draw_training(panels["training"], results)
            for panel in drawn.axes:
                style.step_limits(panel, len(results.axes["step"]))
                style.log_scale(panel)
                panel.grid(visible=True)
            name_panels(panels, columns, unit(results))
            add_legend(drawn, panels, results)
            note = f"\n{style.PUBLISHED_NOTE}, lr {along.lr:g}" if published and along else ""
            style.caption(drawn, caption(results, direction) + note)
            paths += style.save(drawn, folder, name)
    return paths


def side_by_side(norms: list[str]) -> list[list[str]]:
    """The arms of each column of panels: two, or more without `none`, in one; else each beside it.

    Example:
      >>> side_by_side(["none", "batch"])
      [['none', 'batch']]
      >>> side_by_side(["none", "batch", "l1"])
      [['none', 'batch'], ['none', 'l1']]
    """
    if len(norms) < 3 or "none" not in norms:
        return [norms]
    return [["none", norm] for norm in norms if norm != "none"]


def arrangement(columns: int) -> tuple[list[list[str]], tuple[float, float]]:
    """The panels row by row, and the size of the figure in inches."""
    names = [[f"{row} {i}" for i in range(columns)] for row in ROWS]
    if columns == 1:
        loss, predictiveness, smoothness = names
        return [loss + predictiveness, [*smoothness, "training"]], (9.0, 6.8)
    return [*names, ["training"] * columns], (1.5 + 2.8 * columns, 10.5)


def name_panels(panels: dict[str, Axes], columns: list[list[str]], loss_unit: str) -> None:
    """Titles and axes of panels: one column has those of its own, several those of their rows."""
    labels = (f"loss L(θ − ηd)  {loss_unit}", "‖∇L(θ − ηd) − ∇L(θ)‖₂", "β = ‖Δ∇L‖₂ / ‖ηd‖₂")
    panels["training"].set_xlabel("training step")
    for row, title, label in zip(ROWS, TITLES, labels, strict=True):
        first = panels[f"{row} 0"]
        if len(columns) == 1:
            first.set(title=title, ylabel=label, xlabel="training step")
        else:
            first.set_ylabel(f"{title}\n{label}")
            for i in range(len(columns)):
                panels[f"{row} {i}"].tick_params(labelleft=i == 0)
                panels[f"{row} {i}"].xaxis.set_major_locator(MaxNLocator(4, integer=True))
    if len(columns) > 1:
        for i, norms in enumerate(columns):
            panels[f"{ROWS[0]} {i}"].set_title(LOOKS[norms[-1]].label)


def add_legend(drawn: Figure, panels: dict[str, Axes], results: Results) -> None:
    """One legend below all panels: the arms, and what else is drawn in their colours."""
    handles: dict[str, list[Any]] = {}
    for panel in drawn.axes:
        if panel is not panels["training"]:
            for handle, name in zip(*panel.get_legend_handles_labels(), strict=True):
                handles.setdefault(name, []).append(handle)
    # A band of panel a over the line of panel c.
    shown: dict[str, Any] = {name: (found[0], found[-1]) for name, found in handles.items()}
    keys = {f"c: {name}": look for name, look in KEYS.items()} | {"d: test set": TEST}
    if "rounding.gradient_error" not in results.arrays:
        del keys["c: rounding"]
    meanings = [Line2D([], [], color="0.35", **look) for look in keys.values()]
    drawn.legend([*shown.values(), *meanings], [*shown, *keys], loc="outside lower center", ncols=5)


def caption(results: Results, direction: str) -> str:
    """What was run, on what."""
    config = results.config
    low, high = results.axes["step_size"][[0, -1]]
    points = len(results.axes["step_size"])
    parts = [
        subject(results),
        f"{setting(config)}, {config['statistics']} "
        f"statistics, η from {low:.3g} to {high:.3g} along the {direction} ({points} points), "
        f"{spread(results)}",
    ]
    if config["parameters"] != "all":
        parts[1] += f", {config['parameters']} layer only"
    fates: dict[str, list[str]] = {}
    for norm in map(str, results.axes["norm"]):
        reason = claims.plateau(results, norm).reason.removeprefix(f"{norm} ")
        fates.setdefault(reason, []).append(LOOKS[norm].label)
    parts += [f"{', '.join(labels)}: {reason}" for reason, labels in fates.items()]
    return "\n".join(parts)
