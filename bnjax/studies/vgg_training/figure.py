"""The figure of training curves: loss and accuracy against steps, a column per learning rate."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from bnjax.draw import numbers, style
from bnjax.draw.elements import mark_ends, over_seeds, setting, subject, unit
from bnjax.draw.style import LOOKS
from bnjax.frame.published_curves import Published
from bnjax.frame.results import Results
from bnjax.judge.curves import smooth
from bnjax.judge.learning_rates import at_each_lr
from bnjax.judge.pairs import why_not_trained
from bnjax.studies.vgg_training import claims

LARGEST_LOSS = 30  # in units of chance; a loss beyond it is on its way to infinity


def draw(results: Results, published: Published, folder: Path) -> Sequence[Path]:
    """Draw `training` from a run's results.

    Args:
      results: as `bnjax.frame.results.read` returns them.
      published: curves to draw beside the measured ones; may be empty.
      folder: where the figures go.

    Returns:
      The paths of the files.
    """
    columns = at_each_lr(results)
    quantities = ("loss", "accuracy") if claims.has_classes(results) else ("loss",)
    # One learning rate: loss and accuracy side by side; several: one below the other.
    rows, width = (len(quantities), len(columns)) if len(columns) > 1 else (1, len(quantities))
    size = (max(6.4, 1.0 + 4.0 * width), 1.2 + 3.3 * rows)
    with style.figure(rows, width, size=size) as (drawn, panels):
        pairs = [(quantity, *column) for quantity in quantities for column in columns]
        has_overlay = False
        for panel, (quantity, lr, at_lr) in zip(panels, pairs, strict=True):
            draw_panel(panel, at_lr, quantity, results.config["window"])
            has_overlay |= overlay_published(panel, at_lr, published, quantity)
            panel.set_title(f"{quantity.capitalize()}, learning rate {lr:g}")
        share_scale(panels, rows, width)
        is_cut = cut_losses(panels[: len(columns)], results)
        for panel in panels[-width:]:
            style.legend(panel)
        notes = [style.PUBLISHED_NOTE] if has_overlay else []
        notes += [f"losses above {LARGEST_LOSS} times chance are outside the panel"] * is_cut
        note = "\n" + "; ".join(notes) if notes else ""
        style.caption(drawn, caption(results) + note)
        return style.save(drawn, folder, "training")


def draw_panel(panel: Axes, results: Results, quantity: str, window: int) -> None:
    """Training minibatches, raw and their running median, and the test set, of every arm."""
    scale = 100 if quantity == "accuracy" else 1
    for norm in map(str, results.axes["norm"]):
        look = LOOKS[norm]
        raw = scale * results.select(f"train.{quantity}", norm=norm)
        smoothed = np.array([smooth(seed, window) for seed in raw])
        steps = results.axes["step"]
        if window > 1:
            label = numbers.hidden(f"{look.label}, training, every minibatch")
            panel.plot(steps, raw[0], color=look.colour, linewidth=0.4, alpha=0.3, label=label)
        if len(raw) > 1:
            low, high = smoothed.min(axis=0), smoothed.max(axis=0)
            shown: dict[str, Any] = {"color": look.colour, "alpha": 0.15, "linewidth": 0}
            label = numbers.hidden(f"{look.label}, training")
            panel.fill_between(steps, low, high, label=label, **shown)
        panel.plot(
            steps,
            over_seeds(smoothed),
            color=look.colour,
            linestyle=look.line,
            linewidth=1.3,
            label=f"{look.label}, training",
        )
        panel.plot(
            results.axes["test_step"],
            over_seeds(scale * results.select(f"test.{quantity}", norm=norm)),
            color=look.colour,
            marker=look.marker,
            linestyle="none",
            markersize=4,
            fillstyle="none",
            label=f"{look.label}, test set",
        )
        mark_ends(panel, results, norm)
    if quantity == "loss":
        style.reference_line(panel, results.facts["chance_loss"], "chance")
        style.log_scale(panel)
    unit_shown = unit(results) if quantity == "loss" else "[%]"
    panel.set(xlabel="training step", ylabel=f"{quantity}  {unit_shown}")
    style.step_limits(panel, len(results.axes["step"]))
    panel.grid(visible=True)


def share_scale(panels: Sequence[Axes], rows: int, columns: int) -> None:
    """Panels of one quantity at several learning rates have one scale, to be compared by eye."""
    for row in range(rows if columns > 1 and rows > 1 else 0):
        own = panels[row * columns : (row + 1) * columns]
        for panel in own[1:]:
            panel.sharey(own[0])
            own[0].autoscale(axis="y")


def cut_losses(panels: Sequence[Axes], results: Results) -> bool:
    """Keep the climb of an arm that diverges from flattening all else: the view ends, not the data.

    Returns:
      Whether something measured lies outside.
    """
    limit = LARGEST_LOSS * results.facts["chance_loss"]
    measured = np.concatenate(
        [results.arrays[f"{part}.loss"].ravel() for part in ("train", "test")]
    )
    is_cut = bool((measured[np.isfinite(measured)] > limit).any())
    if is_cut:
        for panel in panels:
            panel.set_ylim(top=limit)
            inside = measured[np.isfinite(measured) & (measured > 0)]
            panel.set_ylim(bottom=0.5 * inside.min(initial=limit))
    return is_cut


def overlay_published(panel: Axes, results: Results, published: Published, quantity: str) -> bool:
    """Published minibatch accuracies at this learning rate, or losses of the linear network.

    Returns:
      Whether there was a curve to draw.
    """
    norms = [str(norm) for norm in results.axes["norm"]]
    lr = results.config["lr"]
    name = ""
    if results.config["model"] == "dln":
        name = "fig5b_dln_loss" if lr == 1e-6 else ""
    elif quantity == "accuracy" and results.config["model"].startswith("vgg"):
        has_lp_norms = lr == 0.1 and set(norms) & set(claims.LP_NORMS)
        name = "fig5a_vgg_acc" if has_lp_norms else f"fig3a_vgg_acc_lr{lr:g}"
    style.overlay(panel, norms, published, name)
    return any((name, norm) in published for norm in norms)


def caption(results: Results) -> str:
    """What was run, on what, and how it is drawn."""
    config = results.config
    seeds = len(results.axes["seed"])
    window = config["window"]
    lines = [subject(results)]
    spread = "one seed" if seeds == 1 else f"lines: median over {seeds} seeds, bands: their range"
    if window > 1:
        faint = "faint: every minibatch" + ("" if seeds == 1 else " of the first seed")
        lines.append(
            f"{setting(config, with_lr=False)}; training: running median of the last {window} "
            f"minibatches, {faint}; {spread}"
        )
    else:
        lines.append(
            f"{setting(config, with_lr=False)}; training: every step as measured; {spread}"
        )
    if (results.arrays["train.finite"] == 0).any():
        lines[-1] += "; ×: diverged"
    for lr, at_lr in at_each_lr(results):
        fates = [why_not_trained(at_lr, str(norm)) for norm in results.axes["norm"]]
        told = "; ".join(fate for fate in fates if fate)
        if all(fates):
            told = f"NO ARM TRAINS: {told}"
        if told:
            lines.append(f"lr {lr:g}: {told}")
    return "\n".join(lines)
