"""The figure of the batch size: accuracy, landscape and training loss against it."""

from typing import Any

from bnjax import draw
from bnjax.draw import LOOKS, Drawing
from bnjax.frame.published_curves import Published
from bnjax.frame.results import Run
from bnjax.judge.compare import why_not_trained
from bnjax.judge.curves import last_loss, test_accuracy
from bnjax.studies.landscape import claims as landscape


def batch_size(run: Run, published: Published) -> Drawing:
    """One number of every arm against the batch size: median over seeds, bars over their range."""
    del published  # the published numbers are of another data set
    sizes = run.values("batch_size")
    dead = {
        norm: [size for size in sizes if why_not_trained(run.sel(batch_size=size), norm)]
        for norm in run.norms
    }
    drawing = Drawing(
        "batch_size",
        (2, 2),
        size=(8.6, 6.8),
        sharex=True,
        title="Normalisers against the batch size",
        text="Test accuracy, training loss, and the greatest ‖g(η) − g‖₂ and β(η) against the "
        "batch size; all arms see the same number of examples.",
        source="Ba, Kiros & Hinton 2016; Wu & He 2018",
        caption=caption(run, any(dead.values())),
    )
    distance = landscape.largest_distance(run).median("probe_step")
    smoothness = landscape.largest_smoothness(run).median("probe_step")
    shown = (
        ("a  Test set", "test accuracy  [%]", 100 * test_accuracy(run)),
        ("b  Training", f"training loss, last tenth  {draw.unit(run)}", last_loss(run)),
        ("c  Gradient predictiveness", "largest ‖∇L(θ − ηg) − g‖₂", distance),
        ("d  Effective β-smoothness", "largest β(η)", smoothness),
    )
    for panel, (title, label, values) in zip(drawing.panels, shown, strict=True):
        for norm in run.norms:
            look, own = LOOKS[norm], values.sel(norm=norm)
            middle, low, high = (
                end("seed", skipna=False) for end in (own.median, own.min, own.max)
            )
            bars: Any = {"markersize": 5, "fillstyle": "none"}
            bars["capsize"] = 2 if len(run.seeds) > 1 else 0
            panel.ranges(sizes, middle, low, high, look=look, **bars)
            crossed = middle.sel(batch_size=dead[norm])
            crosses: Any = {"marker": "x", "markersize": 9, "legend": False}
            panel.points(dead[norm], crossed, f"{look.label}, does not train", look, **crosses)
        panel.set(title=title, ylabel=label, log=panel is not drawing.panels[0])
        panel.axes.set_xscale("log", base=2)
        panel.set(xticks=(sizes, [f"{size:g}" for size in sizes]))
        panel.axes.set_xticks([], minor=True)
    drawing.panels[1].reference(run.facts["chance_loss"], "chance")
    for panel in drawing.panels[1:]:
        if panel.axes.get_yscale() == "log":
            draw.plain_log_ticks(panel.axes.yaxis)
    for panel in drawing.rows[1]:
        panel.set(xlabel="batch size  [examples]")
    drawing.legend(drawing.panels[:1], ncols=4)
    return drawing


def caption(run: Run, dead: bool) -> str:
    """What was run, on what, and how it is drawn."""
    options, sizes, seeds = run.options, run.values("batch_size"), len(run.seeds)
    lr = f"lr {options['lr']:g}"
    if options["scaling"] == "linear":
        lr += f" at a batch of {options['reference_batch']}, in proportion to the batch"
    spread = "one seed" if seeds == 1 else f"{draw.spread(run)}, bars: their range"
    return (
        f"{draw.network(options)}, {run.facts['dataset']}; {draw.optimizer(run)}, {lr}; every arm "
        f"sees {options['steps'] * sizes[-1]:,} examples\n"
        f"c, d: on the batch of the step, η from {options['multiples'][0]:g} to "
        f"{options['multiples'][-1]:g} times the arm's lr, median over "
        f"{run.data.sizes['probe_step']} probes; {spread}" + "; ×: does not train" * dead
    )


FIGURES = (batch_size,)
