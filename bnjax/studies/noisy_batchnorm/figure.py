"""The figures of noisy BatchNorm (Santurkar et al. 2018, Fig. 2 and 8)."""

from bnjax import draw
from bnjax.draw import Drawing
from bnjax.frame.published_curves import Published
from bnjax.frame.results import Run
from bnjax.studies.distributions.figure import caption, distributions, stability_of
from bnjax.studies.noisy_batchnorm.claims import MEASURES, running_window

ACCURACY = "fig2_vgg_acc"  # the panel of the published curves, in percent


def noisy_batchnorm(run: Run, published: Published) -> Drawing:
    """Accuracy and loss of all arms over training (Fig. 2, left)."""
    window, seeds = running_window(run.data.sizes["step"]), len(run.seeds)
    bands = "one seed" if seeds == 1 else f"{draw.spread(run)}, bands: their range"
    note = (
        f"Training: running median of the last {window} minibatches, {bands}; faint: every one. "
        "Test set: running statistics, no noise."
    )
    drawing = Drawing(
        "noisy_batchnorm",
        (1, 2),
        size=(9.0, 4.6),
        title="Training with noise after BatchNorm",
        text="Accuracy and loss of networks whose activations get noise of a mean and a variance "
        "that are redrawn at every step, a ← s·a + m, after BatchNorm; beside those without.",
        source="Santurkar et al. 2018, Fig. 2 and Algorithm 1",
        caption="\n".join([caption(run, note), *[draw.PUBLISHED_NOTE] * bool(published)]),
    )
    for panel, quantity in zip(drawing.panels, ("accuracy", "loss"), strict=True):
        draw.progress(panel, run, quantity, window)
    drawing.panels[0].published(published, ACCURACY, run.norms)
    drawing.legend(drawing.panels[1:], ncols=4)
    return drawing


def stability(run: Run, _: Published) -> Drawing:
    """What the claims compare, against the step (Fig. 8)."""
    return stability_of(run, MEASURES)


FIGURES = (noisy_batchnorm, distributions, stability)
