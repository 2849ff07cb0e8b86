"""The figures of noisy BatchNorm (Santurkar et al. 2018, Fig. 2 and 8)."""

from collections.abc import Sequence
from pathlib import Path

from bnjax.draw import style
from bnjax.draw.elements import dead
from bnjax.frame.published_curves import Published
from bnjax.frame.results import Results
from bnjax.studies.distributions.figure import caption, draw_histograms, draw_stability
from bnjax.studies.noisy_batchnorm import claims as noisy_batchnorm
from bnjax.studies.vgg_training.figure import draw_panel

ACCURACY = "fig2_vgg_acc"  # the panel of the published curves, in percent


def draw(results: Results, published: Published, folder: Path) -> Sequence[Path]:
    """Draw `noisy_batchnorm`, `distributions` and `stability` from the results of Fig. 2.

    Args:
      results: as `bnjax.frame.results.read` returns them.
      published: curves to draw beside the measured ones; may be empty.
      folder: where the figures go.

    Returns:
      The paths of the files.
    """
    return [
        *draw_training(results, published, folder),
        *draw_histograms(results, folder),
        *draw_stability(results, noisy_batchnorm.NOISY_QUANTITIES, folder),
    ]


def draw_training(results: Results, published: Published, folder: Path) -> Sequence[Path]:
    """Draw `noisy_batchnorm`: accuracy and loss of all arms over training (Fig. 2, left)."""
    window = noisy_batchnorm.running_window(len(results.axes["step"]))
    with style.figure(1, 2, size=(9.0, 4.6)) as (drawn, panels):
        for panel, quantity in zip(panels, ("accuracy", "loss"), strict=True):
            draw_panel(panel, results, quantity, window)
        style.overlay(panels[0], results.axes["norm"], published, ACCURACY)
        handles, names = panels[1].get_legend_handles_labels()
        drawn.legend(handles, names, loc="outside lower center", ncols=4)
        seeds = len(results.axes["seed"])
        bands = "one seed" if seeds == 1 else f"median over {seeds} seeds, bands: their range"
        notes = [
            caption(results),
            f"Training: running median of the last {window} minibatches, {bands}; "
            "faint: every one. Test set: running statistics, no noise.",
            *dead(results),
            *([style.PUBLISHED_NOTE] if published else []),
        ]
        style.caption(drawn, "\n".join(notes))
        return style.save(drawn, folder, "noisy_batchnorm")
