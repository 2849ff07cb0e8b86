"""The figure of the batch size: accuracy, landscape and training loss against it."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, NullLocator

from bnjax.draw import drawing, numbers, style
from bnjax.draw.elements import network, setting, unit
from bnjax.draw.style import LOOKS
from bnjax.frame.published_curves import Published
from bnjax.frame.results import Results
from bnjax.judge.curves import last_loss
from bnjax.judge.curves import test_accuracy as final_accuracy
from bnjax.judge.pairs import why_not_trained
from bnjax.studies.landscape import claims as landscape


def draw(results: Results, published: Published, folder: Path) -> Sequence[Path]:
    """Draw `batch_size` from a run's results.

    Args:
      results: as `bnjax.frame.results.read` returns them.
      published: unused: the published numbers are of another data set.
      folder: where the figures go.

    Returns:
      The paths of the files.
    """
    del published
    values: tuple[tuple[str, str, Callable[[Results, str, int], float]], ...] = (
        ("a  Test set", "test accuracy  [%]", accuracy),
        ("b  Training", f"training loss, last tenth  {unit(results)}", last_loss),
        ("c  Gradient predictiveness", "largest ‖∇L(θ − ηg) − g‖₂", largest_distance),
        ("d  Effective β-smoothness", "largest β(η)", largest_smoothness),
    )
    with style.figure(2, 2, (8.6, 6.8), sharex=True) as (drawn, panels):
        for panel, (title, label, value) in zip(panels, values, strict=True):
            draw_panel(panel, results, value)
            panel.set(title=title, ylabel=label)
        style.reference_line(panels[1], results.facts["chance_loss"], "chance")
        for panel in panels[1:]:
            style.log_scale(panel)
            if panel.get_yscale() == "log":
                drawing.plain_log_ticks(panel.yaxis)
        for panel in panels[2:]:
            panel.set_xlabel("batch size  [examples]")
        handles, names = panels[0].get_legend_handles_labels()
        drawn.legend(handles, names, loc="outside lower center", ncols=4)
        style.caption(drawn, "\n".join(caption(results)))
        return style.save(drawn, folder, "batch_size")


def accuracy(results: Results, norm: str, seed: int) -> float:
    """Test accuracy [%] at the end, at one batch size."""
    return 100 * final_accuracy(results, norm, seed)


def largest_distance(results: Results, norm: str, seed: int) -> float:
    """Median over probed steps of the largest change of the gradient."""
    return float(np.nanmedian(landscape.largest_distance(results, norm, seed)))


def largest_smoothness(results: Results, norm: str, seed: int) -> float:
    """Median over probed steps of the largest β."""
    return float(np.nanmedian(landscape.largest_smoothness(results, norm, seed)))


def draw_panel(panel: Axes, results: Results, value: Callable[[Results, str, int], float]) -> None:
    """One number of every arm against the batch size: median over seeds, bars over their range."""
    sizes = results.axes["batch_size"].tolist()
    seeds = results.axes["seed"].tolist()
    at_sizes = [results.at(batch_size=size) for size in sizes]
    for norm in map(str, results.axes["norm"]):
        look = LOOKS[norm]
        found = np.array([[value(each, norm, seed) for seed in seeds] for each in at_sizes])
        middle = np.median(found, axis=1)
        panel.errorbar(
            sizes,
            middle,
            yerr=np.stack([middle - found.min(axis=1), found.max(axis=1) - middle]),
            color=look.colour,
            linestyle=look.line,
            linewidth=1.3,
            marker=look.marker,
            markersize=5,
            fillstyle="none",
            capsize=2 if len(seeds) > 1 else 0,
            label=look.label,
        )
        dead = [i for i, each in enumerate(at_sizes) if why_not_trained(each, norm)]
        panel.plot(
            [sizes[i] for i in dead],
            middle[dead],
            marker="x",
            markersize=9,
            color=look.colour,
            linestyle="none",
            label=numbers.hidden(f"{look.label}, does not train"),
        )
    panel.set_xscale("log", base=2)
    panel.xaxis.set_major_locator(FixedLocator(sizes))
    panel.xaxis.set_minor_locator(NullLocator())
    panel.xaxis.set_major_formatter(lambda size, _: f"{size:g}")
    panel.grid(visible=True)


def caption(results: Results) -> list[str]:
    """What was run, on what, and how it is drawn."""
    config, facts = results.config, results.facts
    sizes, seeds = results.axes["batch_size"].tolist(), len(results.axes["seed"])
    lr = f"lr {config['lr']:g}"
    if config["scaling"] == "linear":
        lr += f" at a batch of {config['reference_batch']}, in proportion to the batch"
    optimiser = setting(config, with_lr=False).split(",")[0]
    spread = "one seed" if seeds == 1 else f"median over {seeds} seeds, bars: their range"
    dead = any(
        why_not_trained(results.at(batch_size=size), str(norm))
        for size in sizes
        for norm in results.axes["norm"]
    )
    return [
        f"{network(config)}, {facts['dataset']}; {optimiser}, {lr}; every arm sees "
        f"{config['steps'] * sizes[-1]:,} examples",
        f"c, d: on the batch of the step, η from {config['multiples'][0]:g} to "
        f"{config['multiples'][-1]:g} times the arm's lr, median over "
        f"{len(results.axes['probe_step'])} probes; {spread}" + ("; ×: does not train" * dead),
    ]
