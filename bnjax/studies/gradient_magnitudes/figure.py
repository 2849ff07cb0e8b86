"""The figure of gradient magnitudes: a panel for each arm, a line for each kind of parameter."""

from typing import Any

import numpy as np

from bnjax import draw
from bnjax.draw import LOOKS, STEP, Drawing, Look
from bnjax.frame.published_curves import Published
from bnjax.frame.results import Run

KINDS = {  # lines and markers differ as well as hues
    "kernel": Look("#000000", "-", "", "", "kernels"),
    "bias": Look("#E69F00", "--", "o", "", "biases that none cancels"),
    "cancelled_bias": Look("#999999", ":", "x", "", "biases that a normaliser cancels"),
    "scale": Look("#0072B2", "-.", "s", "", "scales γ"),
    "shift": Look("#D55E00", (0, (5, 1)), "^", "", "shifts β"),
    "other": Look("#009E73", (0, (1, 1)), "D", "", "other parameters of normalisers"),
}


def gradient_magnitudes(run: Run, published: Published) -> Drawing:
    """All kinds that each arm has, on one scale, and the training loss."""
    del published  # no curve of this figure is published
    count = len(run.norms)
    columns = min(4, count + 1)
    rows = -(-(count + 1) // columns)
    drawing = Drawing(
        "gradient_magnitudes",
        (rows, columns),
        size=(0.8 + 3.0 * columns, 1.4 + 2.8 * rows),
        title="Gradient magnitudes by kind of parameter",
        text="Mean of |∂L/∂θ| over all parameters of a kind, on the batch of the step. Biases that "
        "a normaliser cancels have no gradient and are kept apart.",
        source="Frankle, Schwab & Morcos 2020, and its follow-up",
        caption="\n".join(
            [
                f"{draw.subject(run)}, {draw.setting(run)}",
                "Mean absolute gradient of the objective over all parameters of a kind, on the "
                f"step's batch, without weight decay. Lines: {draw.spread(run)}.",
                *draw.untrained(run),
            ]
        ),
    )
    arms, training = drawing.panels[:count], drawing.panels[count]
    means = run["magnitudes_mean"].median("seed")
    for panel in arms[1:]:
        panel.axes.sharey(arms[0].axes)
    for panel, norm in zip(arms, run.norms, strict=True):
        for kind in run.values("kind"):
            values, look = means.sel(norm=norm, kind=kind), KINDS[kind]
            if np.isfinite(values).any():
                style: Any = {"linewidth": 1, "marker": True, "markevery": 0.1, "markersize": 3}
                panel.line(run["probe_step"], values, look=look, **style)
        draw.mark_ends(panel, run, norm)
        panel.set(title=LOOKS[norm].label, xlabel=STEP, log=True)
    arms[0].set(ylabel="mean |∂L/∂θ|  [loss per unit of θ]")
    draw.training(training, run)
    training.set(title="Training", xlabel=STEP)
    training.legend(loc="best")
    for panel in drawing.panels[count + 1 :]:
        panel.hide()
    drawing.legend(arms, ncols=3)
    return drawing


FIGURES = (gradient_magnitudes,)
