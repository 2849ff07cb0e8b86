"""The figure of training curves: loss and accuracy against steps, a column per learning rate."""

from collections.abc import Sequence

import numpy as np

from bnjax import draw
from bnjax.draw import Drawing, Panel
from bnjax.frame.published_curves import Published
from bnjax.frame.results import Run
from bnjax.judge.compare import why_not_trained
from bnjax.judge.kit import each_rate
from bnjax.studies.vgg_training import claims

LARGEST_LOSS = 30  # in units of chance; a loss beyond it is on its way to infinity


def training(run: Run, published: Published) -> Drawing:
    """One learning rate: loss and accuracy side by side; several: one below the other."""
    rates = [here for _, here in each_rate(run)]
    quantities = ("loss", "accuracy") if claims.classifies(run, "") else ("loss",)
    several = len(rates) > 1
    rows, columns = (len(quantities), len(rates)) if several else (1, len(quantities))
    drawing = Drawing(
        "training",
        (rows, columns),
        size=(max(6.4, 1.0 + 4.0 * columns), 1.2 + 3.3 * rows),
        title="Training curves",
        text="Loss and accuracy against the training step: minibatches of training (running median "
        "over the stated window) and the whole test set.",
        source="Santurkar et al. 2018, Fig. 1, 3, 5",
    )
    for first, *others in drawing.rows if several else ():
        for panel in others:  # rates are compared by eye
            panel.axes.sharey(first.axes)
    overlaid = False
    pairs = [(quantity, here) for quantity in quantities for here in rates]
    for panel, (quantity, here) in zip(drawing.panels, pairs, strict=True):
        draw.progress(panel, here, quantity, run.options["window"])
        name = published_name(here, quantity)
        overlaid |= bool(name) and panel.published(published, name, run.norms)
        panel.set(title=f"{quantity.capitalize()}, learning rate {here.options['lr']:g}")
    cut = cut_losses(drawing.panels[: len(rates)], run)
    drawing.legend()
    notes = [draw.PUBLISHED_NOTE] * overlaid
    notes += [f"losses above {LARGEST_LOSS} times chance are outside the panel"] * cut
    drawing.caption = "\n".join(filter(None, [*caption(run), "; ".join(notes)]))
    return drawing


def cut_losses(panels: Sequence[Panel], run: Run) -> bool:
    """Keep the climb of an arm that diverges from flattening all else: the view ends, not the data.

    Returns:
      Whether something measured lies outside.
    """
    limit = LARGEST_LOSS * run.facts["chance_loss"]
    measured = np.concatenate([run[name].values.ravel() for name in ("train_loss", "test_loss")])
    measured = measured[np.isfinite(measured)]
    if not (measured > limit).any():
        return False
    for panel in panels:
        panel.set(ylim=(0.5 * measured[measured > 0].min(initial=limit), limit))
    return True


def published_name(run: Run, quantity: str) -> str:
    """The published minibatch accuracies at this learning rate, or losses of the linear network."""
    lr, model = run.options["lr"], run.options["model"]
    if model == "dln":
        return "fig5b_dln_loss" if lr == 1e-6 else ""
    if quantity == "loss" or not model.startswith("vgg"):
        return ""
    has_lp_norms = lr == 0.1 and {*run.norms} & {*claims.LP_NORMS}
    return "fig5a_vgg_acc" if has_lp_norms else f"fig3a_vgg_acc_lr{lr:g}"


def caption(run: Run) -> list[str]:
    """What was run, on what, and how it is drawn."""
    seeds, window = len(run.seeds), run.options["window"]
    drawn = "every step as measured"
    if window > 1:
        drawn = f"running median of the last {window} minibatches, faint: every minibatch"
        drawn += " of the first seed" if seeds > 1 else ""
    spread = "one seed" if seeds == 1 else f"lines: {draw.spread(run)}, bands: their range"
    diverged = "; ×: diverged" if (run["train_finite"] == 0).any() else ""
    setting = draw.setting(run, lr=False)
    lines = [draw.subject(run), f"{setting}; training: {drawn}; {spread}{diverged}"]
    for _, here in each_rate(run):
        fates = [why_not_trained(here, norm) for norm in run.norms]
        none = "NO ARM TRAINS: " if all(fates) else ""
        if any(fates):
            lines.append(f"lr {here.options['lr']:g}: {none}{'; '.join(filter(None, fates))}")
    return lines


FIGURES = (training,)
