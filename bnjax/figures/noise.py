"""The figures of noisy BatchNorm (Santurkar et al. 2018, Fig. 2 and 8)."""

from collections.abc import Sequence
from pathlib import Path

from bnjax.claims import noise
from bnjax.figures import style
from bnjax.figures.distributions import caption, draw_histograms, draw_stability
from bnjax.figures.elements import dead, draw_loss, over_seeds, plot, spread, unit
from bnjax.figures.style import LOOKS
from bnjax.runs.published import Published
from bnjax.runs.results import Results

ACCURACY = "fig2_vgg_acc"  # the panel of the published curves, in percent


def draw(results: Results, published: Published, folder: Path) -> Sequence[Path]:
    """Draw `noisy_batchnorm`, `distributions` and `stability` from the results of Fig. 2.

    Args:
      results: as `bnjax.runs.results.read` returns them.
      published: curves to draw beside the measured ones; may be empty.
      folder: where the figures go.

    Returns:
      The paths of the files.
    """
    return [
        *draw_training(results, published, folder),
        *draw_histograms(results, folder),
        *draw_stability(results, noise.NOISY_QUANTITIES, folder),
    ]


def draw_training(results: Results, published: Published, folder: Path) -> Sequence[Path]:
    """Draw `noisy_batchnorm`: accuracy and loss of all arms over training (Fig. 2, left)."""
    with style.figure(1, 2, size=(9.0, 4.2)) as (drawn, (accuracy, loss)):
        for norm in results.axes["norm"]:
            look = LOOKS[str(norm)]
            values = 100 * over_seeds(results.select("train.accuracy", norm=norm))
            plot(accuracy, results, str(norm), results.axes["step"], values)
            test = 100 * over_seeds(results.select("test.accuracy", norm=norm))
            accuracy.plot(
                results.axes["test_step"],
                test,
                color=look.colour,
                marker=look.marker,
                linestyle="none",
                markersize=5,
                fillstyle="none",
                clip_on=False,
            )
        draw_loss(loss, results)
        style.overlay(accuracy, results.axes["norm"], published, ACCURACY)
        accuracy.set(title="a  Accuracy", ylabel="accuracy  [%]", ylim=(0, 102))
        accuracy.grid(alpha=0.25, linewidth=0.5)
        loss.set(title="b  Training", ylabel=f"minibatch loss  {unit(results)}")
        for panel in (accuracy, loss):
            panel.set_xlabel("training step")
            panel.set_xlim(0, results.axes["step"][-1] + 1)
        handles, names = loss.get_legend_handles_labels()
        drawn.legend(handles, names, loc="outside lower center", ncols=4)
        notes = [
            caption(results),
            f"Lines: minibatch of the step, {spread(results)}; markers: whole test set under "
            "running statistics, without noise.",
            *dead(results),
            *([style.PUBLISHED_NOTE] if published else []),
        ]
        style.caption(drawn, "\n".join(notes))
        return style.save(drawn, folder, "noisy_batchnorm")
