"""The figures and tables of a theory run: residuals, assumptions, terms of both networks."""

from collections.abc import Iterator

import numpy as np

from bnjax import draw
from bnjax.draw import STEP, Drawing, Panel, Table, plain_log_ticks
from bnjax.draw.drawing import PLAIN
from bnjax.frame.published_curves import Published
from bnjax.frame.results import Run
from bnjax.judge.compare import EQUAL_LOSS, at_pairs
from bnjax.studies.theory import claims

DASHES = ("-", "--", "-.", ":", (0, (3, 1, 1, 1)))  # of layers
BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"
RESIDUALS = (
    ("lipschitz_residual", "4.1, 1/m", BLUE, "s"),
    ("channel_curvature_residual", "4.2", ORANGE, "o"),
    ("channel_worst_residual", "4.4", GREEN, "^"),
)
TERMS = (  # field, symbol, name, colour and marker at equal loss
    ("theory_gradient_squared", "‖v‖²", "lipschitz", "#000000", "s"),
    ("theory_curvature", "vᵀĤv", "curvature", "#CC79A7", "^"),
)
SOURCE = "Santurkar et al. 2018"


def tables(run: Run, published: Published) -> Iterator[Table]:
    """A row for each network, seed, step and layer (and channel) that was measured."""
    del published  # the paper has no figure of its theorems
    for name, inner in (("theory_layers", ()), ("theory_channels", ("channel",))):
        axes = ("norm", "seed", "probe_step", "probed_layer", *inner)
        fields = [
            str(field)
            for field, values in run.data.items()
            if str(field).startswith("theory_") and values.dims == axes
        ]
        found = run.data[fields].to_dataframe(dim_order=axes).dropna(how="all")
        rows = found.rename(columns=lambda name: name.removeprefix("theory_")).reset_index()
        if len(rows):
            yield Table(
                name,
                [
                    {key: "" if value != value else value for key, value in row.items()}
                    for row in rows.to_dict("records")
                ],
            )


def theory(run: Run, published: Published) -> Iterator[Drawing]:
    """Residuals, assumptions, and what the projections take away, of the network with BatchNorm."""
    del published
    if "batch" not in run.norms:
        return
    drawing = Drawing(
        "theory",
        (1, 3),
        size=(11.0, 4.0),
        title="Theorems 4.1, 4.2 and 4.4, with the printed errors corrected",
        text="(a) Largest relative difference of both sides over channels and layers; 4.1: ‖v‖² = "
        "γ²/σ² · (‖g‖² − ⟨1, g⟩²/m − ⟨g, ŷ⟩²/m), 4.2: vᵀĤv = γ²/σ² · vᵀHv − γ/(mσ²) · ⟨g, ŷ⟩ · "
        "‖v‖². (b) Share of channels at which their assumptions hold. (c) Share of γ²/σ² ‖g‖² that "
        "the two projections take away.",
        source=f"{SOURCE}, Section 4",
        caption=f"{caption(run)}\na: worst seed, layer and channel. ⟨ŷ, g⟩ and 4.1: all channels "
        f"of a layer; vᵀHv, 4.2 and 4.4: channels {' '.join(map(str, run.values('channel')))}",
    )
    residuals, assumptions, removed = drawing.panels
    here = run.sel(norm="batch")
    steps = here["probe_step"]
    for field, name, colour, marker in RESIDUALS:
        sizes = abs(here[f"theory_{field}"])
        largest = sizes.max([axis for axis in sizes.dims if axis != "probe_step"], skipna=False)
        residuals.line(steps, largest, name, color=colour, marker=marker, markersize=3.5)
    printed = here["theory_printed_residual"].max(["seed", "probed_layer"], skipna=False)
    residuals.line(steps, printed, "4.1 as printed, 1/√m", color="0.35", linestyle="--")
    residuals.reference(claims.tolerance(run), "tolerance")
    quadratic = here["theory_channel_quadratic"]
    convex = (quadratic >= 0).where(quadratic.notnull()).mean("channel", skipna=False)
    lost = 1 - here["theory_gradient_squared"] / here["theory_scaled_gradient_squared"]
    for layer, dashes in layers(run):
        for panel, values, name, colour in (
            (assumptions, here["theory_aligned_share"], f"⟨ŷ, g⟩ > 0, {layer}", BLUE),
            (assumptions, convex, f"vᵀHv ≥ 0, {layer}", ORANGE),
            (removed, lost, layer, BLUE),
        ):
            shown = values.sel(probed_layer=layer).median("seed")
            panel.line(steps, shown, name, PLAIN._replace(colour=colour, line=dashes))
    residuals.set(title="a  Residuals", ylabel="largest |left − right| / size of terms", log=True)
    assumptions.set(title="b  Assumptions of 4.2", ylabel="share of channels", ylim=(-0.03, 1.03))
    removed.set(
        title="c  Taken away by the projections", ylabel="1 − ‖v‖² / (γ²/σ² ‖g‖²)", log=True
    )
    for panel in drawing.panels:
        draw.mark_ends(panel, run, "batch")
        panel.set(xlabel=STEP, steps=run.data.sizes["step"])
        panel.legend()
    yield drawing


def theory_comparison(run: Run, published: Published) -> Drawing:
    """Both terms of each layer, training, and the ratio of the terms at equal loss."""
    del published
    names = run.values("probed_layer")
    columns = len(names) + 1
    drawing = Drawing(
        "theory_comparison",
        (2, columns),
        size=(1.0 + 2.9 * columns, 7.6),
        title="Lipschitz and curvature terms, with and without BatchNorm",
        text="‖v‖² and vᵀĤv with v = ∂L/∂y by all of a layer's activations y (before BatchNorm, "
        "where there is one) against the step, and their ratio where both networks have equal "
        "loss.",
        source=f"{SOURCE}, Theorems 4.1 and 4.2",
        caption=f"{caption(run)}\nv = ∂L/∂y by all of a layer's activations y (before BatchNorm, "
        "where there is one); gaps: curvature below 0",
    )
    for (*panels, _), (field, symbol, *_) in zip(drawing.rows, TERMS, strict=True):
        for panel, layer in zip(panels, names, strict=True):
            values = run[field].sel(probed_layer=layer)
            draw.curves(panel, run, values, marker=True, markersize=3, linewidth=1.2)
            panel.set(title=f"{layer}: {symbol}", xlabel=STEP, log=True)
    training, ratios = drawing.rows[0][-1], drawing.rows[1][-1]
    draw.training(training, run, test=True)
    training.set(title="Training", xlabel=STEP)
    training.legend()
    draw_ratios(ratios, run)
    drawing.panels[0].legend()
    return drawing


def draw_ratios(panel: Panel, run: Run) -> None:
    """The ratio none/batch of both terms at pairs of steps with equal loss, of all seeds."""
    found = False
    panel.set(title="none / BatchNorm at equal loss", xlabel="loss (training goes right)")
    for field, _, name, colour, marker in TERMS if {"none", "batch"} <= {*run.norms} else ():
        for layer, dashes in layers(run):
            here = run.sel(probed_layer=layer)
            pairs = [equal_losses(here.sel(seed=seed), field) for seed in run.seeds]
            loss, ratio = np.concatenate(pairs, axis=1)
            order = np.argsort(loss)
            found |= bool(np.isfinite(ratio).any())
            look = PLAIN._replace(colour=colour, line=dashes, marker=marker)
            panel.line(
                loss[order], ratio[order], f"{name}, {layer}", look,
                marker=True, markersize=3, linewidth=0.8,
            )  # fmt: skip
    if not found:
        panel.note("no pair of probed steps\nhas equal loss in both networks", va="center")
        panel.set(xticks=[], yticks=[])
        return
    panel.set(xscale="log", yscale="log")
    plain_log_ticks(panel.axes.xaxis)
    panel.axes.invert_xaxis()
    panel.reference(1.0, "equal")
    panel.legend()


def equal_losses(run: Run, field: str) -> np.ndarray:
    """Losses of BatchNorm's network at pairs of equal loss, and a term's ratio none/batch there."""
    loss, values, arms = run["theory_loss"], run[field].where(run[field] > 0), ("none", "batch")
    chance = run.facts["chance_loss"]
    none, batch = at_pairs(values, loss, arms, EQUAL_LOSS, chance)
    return np.stack([at_pairs(loss, loss, arms, EQUAL_LOSS, chance)[1], none / batch])


def layers(run: Run) -> list[tuple[str, str | tuple]]:
    """Layers and their dashes."""
    names = run.values("probed_layer")
    return [(layer, DASHES[place % len(DASHES)]) for place, layer in enumerate(names)]


def caption(run: Run) -> str:
    """What was run, on what."""
    options = run.options
    precision = "float64" if options["float64"] else "float32"
    return (
        f"{draw.subject(run)}\n{draw.setting(run)}, batch statistics, ε = {options['epsilon']:g}, "
        f"probe in {precision}, {draw.spread(run)}"
    )


FIGURES = (tables, theory, theory_comparison)
