"""The figure of a sharpness run: where each network stands against its edges, and at equal loss."""

from typing import Any

import xarray

from bnjax import draw
from bnjax.draw import LOOKS, STEP, Drawing, Panel
from bnjax.frame.published_curves import Published
from bnjax.frame.results import Run
from bnjax.judge.compare import training_loss, why_not_trained
from bnjax.studies.landscape.claims import largest_smoothness
from bnjax.studies.sharpness import claims

OTHER = {"running": "-", "recalibrated": ":"}  # statistics, by line
TEXT = (
    "In units of the edge of stability: (a) batch sharpness, the mean over batches of gᵀHg/‖g‖², "
    "times lr/2, with the 95 % interval of the mean; (b) critical sharpness 2/η_c of the step over "
    "2/lr − wd; (c) spherical sharpness ‖w‖² λ_max of the layers with a normaliser, times their "
    "effective rate lr/‖w‖², over 2. (d–f) Against the training loss, for comparison at equal "
    "loss: batch sharpness · lr/2, the change of the gradient D(lr)/‖g‖ by one step along it (2: "
    "it turns round, 1: it vanishes), and the largest β over η = lr · {½, 1, 2, 4}, times lr/2; "
    "every probe and seed. (c–h) have the networks that train only. "
    "(g) The angle by which a step turns a layer, over its equilibrium √(2·lr·wd/(1 + b)), median "
    "over layers. (h) Distance of the loss of the test set under running and recalibrated "
    "statistics from that under the statistics of its batches."
)
SOURCE = (
    "Andreyev & Beneventano 2024 (2412.20553); Kalra et al. 2026 (2601.16979); Lyu, Li & Arora "
    "2022 (2206.07085); Kosson et al. 2024 (2305.17212); Wu & Johnson 2021 (2105.07576)"
)


def sharpness(run: Run, _: Published) -> Drawing:
    """Edges along training, the same at equal loss, rotation, statistics and training."""
    drawing = Drawing(
        "sharpness",
        (3, 3),
        size=(10.8, 9.6),
        title="Sharpness against the edge of stability",
        text=TEXT,
        source=SOURCE,
        caption="\n".join(
            [
                draw.subject(run),
                f"{draw.setting(run)}, weight decay {run.options['weight_decay']:g}, "
                f"{draw.spread(run)}; {run.data.sizes['batch']} batches a probe",
                *draw.untrained(run),
            ]
        ),
    )
    edges, at_loss, (turning, gap, training) = drawing.rows
    style: Any = {"marker": True, "markevery": 0.1, "markersize": 3}
    alive = [norm for norm in run.norms if not why_not_trained(run, norm)] or run.norms
    invariant = [norm for norm in alive if claims.is_scale_invariant(run.sel(norm=norm), norm)]
    half = run["update_learning_rate"] / 2
    draw.bands(edges[0], run["sharpness_low"] * half, run["sharpness_high"] * half, legend=False)
    draw.curves(edges[0], run, claims.batch(run), **style)
    draw.curves(edges[1], run, claims.critical(run), **style)
    of_arms(edges[2], run, claims.spherical(run), invariant, **style)
    titles = (
        "a  Batch sharpness · lr/2",
        "b  Critical sharpness / (2/lr − wd)",
        "c  Spherical sharpness · effective rate / 2",
    )
    for panel, title in zip(edges, titles, strict=True):
        panel.reference(1.0, "edge of stability")
        panel.set(title=title, xlabel=STEP, log=True)
    against_loss(at_loss, run, alive)
    of_arms(turning, run, claims.rotation(run), invariant, **style)
    turning.reference(1.0, "equilibrium")
    turning.set(title="g  Rotation over equilibrium", xlabel=STEP, log=True)
    statistics_gap(gap, run, alive)
    draw.training(training, run)
    training.set(title="i  Training loss", xlabel=STEP)
    losses = run["train_loss"].sel(norm=alive)
    low, high = float(losses.where(losses > 0).min()), float(losses.max())
    training.set(ylim=(0.5 * low, 2 * high))  # none that diverges
    drawing.legend([edges[1], gap], ncols=6)
    return drawing


def of_arms(
    panel: Panel, run: Run, values: xarray.DataArray, norms: list[str], **style: Any
) -> None:
    """The curves of some arms; a note where there is none, or nothing known of them."""
    own = values.sel(norm=norms)
    if not own.notnull().any():
        return panel.note("no scale-invariant layer with decay" if norms else "none here")
    draw.curves(panel, run, own, **style)


def against_loss(panels: list[Panel], run: Run, norms: list[str]) -> None:
    """Quantities of every probe and seed against the loss of the step's minibatch.

    Only below chance, and only of networks that train.
    """
    losses = training_loss(run).where(training_loss(run) < run.facts["chance_loss"])
    shown = losses.sel(norm=norms)
    least, most = float(shown.where(shown > 0).min()), float(shown.max())
    quantities = {
        "d  Batch sharpness · lr/2": claims.batch(run),
        "e  D(lr)/‖g‖": claims.turn(run),
        "f  Largest β · lr/2": largest_smoothness(run) * run.options["lr"] / 2,
    }
    for panel, (title, values) in zip(panels, quantities.items(), strict=True):
        panel.set(title=title, xlabel="minibatch loss, below chance")
        if not least > 0:  # also where there is none
            panel.note("no loss between 0 and chance")
            continue
        for norm in norms:
            x, y = (one.sel(norm=norm).transpose("seed", "probe_step") for one in (losses, values))
            few: Any = {"markersize": 2.5, "alpha": 0.6, "legend": False}
            panel.points(x.values.ravel(), y.values.ravel(), look=LOOKS[norm], **few)
        panel.reference(*((2.0, "turns round") if title[0] == "e" else (1.0, "edge of stability")))
        ends: Any = {"xscale": "log", "xlim": (1.1 * most, least / 1.1)}  # training goes right
        panel.set(log=True, **ends)


def statistics_gap(panel: Panel, run: Run, norms: list[str]) -> None:
    """The distance of the loss under other statistics from that under the batch's."""
    gaps = claims.apart(run)
    known = [norm for norm in norms if claims.keeps_statistics(run.sel(norm=norm), norm)]
    for statistics, line in OTHER.items():
        for norm in known:
            values = gaps.sel(norm=norm, statistics=statistics).median("seed")
            look = LOOKS[norm]._replace(line=line)
            panel.line(values["probe_step"], values, f"h: {statistics} statistics", look)
    if not known:
        panel.note("no network here keeps statistics")
    panel.set(title="h  |Loss − loss under batch statistics|", xlabel=STEP, log=True)


FIGURES = (sharpness,)
