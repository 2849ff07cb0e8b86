"""The figures and tables of a theory run: residuals, assumptions, terms of both networks."""

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np

from bnjax import draw
from bnjax.draw import STEP, Drawing, Panel, Table, plain_log_ticks
from bnjax.frame.published_curves import Published
from bnjax.frame.results import Run
from bnjax.judge.compare import EQUAL_LOSS, at_pairs
from bnjax.studies.theory import claims

DASHES = ("-", "--", "-.", ":", (0, (3, 1, 1, 1)))  # of layers
BLUE, ORANGE, GREEN = "#0072B2", "#D55E00", "#009E73"
RESIDUALS: tuple[tuple[str, str, dict[str, Any]], ...] = (  # field, name, style
    ("lipschitz_residual", "4.1, 1/m", {"color": BLUE, "marker": "s", "markersize": 3.5}),
    ("channel_curvature_residual", "4.2", {"color": ORANGE, "marker": "o", "markersize": 3.5}),
    ("channel_worst_residual", "4.4", {"color": GREEN, "marker": "^", "markersize": 3.5}),
    ("printed_residual", "4.1 as printed, 1/√m", {"color": "0.35", "linestyle": "--"}),
)
TERMS: tuple[tuple[str, str, str, dict[str, Any]], ...] = (  # field, symbol, name and style of it
    ("theory_gradient_squared", "‖v‖²", "lipschitz", {"color": "#000000", "marker": "s"}),
    ("theory_curvature", "vᵀĤv", "curvature", {"color": "#CC79A7", "marker": "^"}),
)
SOURCE = "Santurkar et al. 2018"


def tables(run: Run, _: Published) -> Iterator[Table]:
    """A row for each network, seed, step and layer (and channel) that was measured."""
    axes = ("norm", "seed", "probe_step", "probed_layer", "channel")
    for name, dims in (("theory_layers", axes[:-1]), ("theory_channels", axes)):
        fields = [name for name, values in run.data.items() if values.dims == dims]
        found = run.data[fields].to_dataframe(dim_order=dims).dropna(how="all")
        rows = found.rename(columns=lambda name: name.removeprefix("theory_")).reset_index()
        content = [
            {key: "" if value != value else value for key, value in row.items()}
            for row in rows.to_dict("records")
        ]
        if content:
            yield Table(name, content)


def theory(run: Run, _: Published) -> Iterator[Drawing]:
    """Residuals, assumptions, and what the projections take away, of the network with BatchNorm."""
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
    for field, name, style in RESIDUALS:
        sizes = abs(here[f"theory_{field}"])
        largest = sizes.max([axis for axis in sizes.dims if axis != "probe_step"], skipna=False)
        residuals.line(steps, largest, name, **style)
    residuals.reference(claims.tolerance(run), "tolerance")
    quadratic = here["theory_channel_quadratic"]
    convex = (quadratic >= 0).where(quadratic.notnull()).mean("channel", skipna=False)
    lost = 1 - here["theory_gradient_squared"] / here["theory_scaled_gradient_squared"]
    shares = (
        (assumptions, here["theory_aligned_share"], "⟨ŷ, g⟩ > 0, {}", BLUE),
        (assumptions, convex, "vᵀHv ≥ 0, {}", ORANGE),
        (removed, lost, "{}", BLUE),
    )
    for (layer, dashes), (panel, values, name, colour) in itertools.product(layers(run), shares):
        shown = values.sel(probed_layer=layer).median("seed")
        panel.line(steps, shown, name.format(layer), color=colour, linestyle=dashes)
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


def theory_comparison(run: Run, _: Published) -> Drawing:
    """Both terms of each layer, training, and the ratio of the terms at equal loss."""
    where = "v = ∂L/∂y by all of a layer's activations y (before BatchNorm, where there is one)"
    columns = len(run.values("probed_layer")) + 1
    drawing = Drawing(
        "theory_comparison",
        (2, columns),
        size=(1.0 + 2.9 * columns, 7.6),
        title="Lipschitz and curvature terms, with and without BatchNorm",
        text=f"‖v‖² and vᵀĤv with {where} against the step, and their ratio where both networks "
        "have equal loss.",
        source=f"{SOURCE}, Theorems 4.1 and 4.2",
        caption=f"{caption(run)}\n{where}; gaps: curvature below 0",
    )
    for panels, (field, symbol, _name, _style) in zip(drawing.rows, TERMS, strict=True):
        for panel, layer in zip(panels, run.values("probed_layer"), strict=False):
            values = run[field].sel(probed_layer=layer)
            draw.curves(panel, run, values, marker=True, markersize=3, linewidth=1.2)
            panel.set(title=f"{layer}: {symbol}", xlabel=STEP, log=True)
    training, ratios = (panels[-1] for panels in drawing.rows)
    draw.training(training, run, test=True)
    training.set(title="Training", xlabel=STEP)
    training.legend()
    draw_ratios(ratios, run)
    drawing.panels[0].legend()
    return drawing


def draw_ratios(panel: Panel, run: Run) -> None:
    """The ratio none/batch of both terms at pairs of steps with equal loss, of all seeds."""
    found, both = False, {"none", "batch"} <= {*run.norms}
    panel.set(title="none / BatchNorm at equal loss", xlabel="loss (training goes right)")
    for (field, _, name, style), (layer, dashes) in itertools.product(
        TERMS if both else (), layers(run)
    ):
        here = run.sel(probed_layer=layer)
        pairs = [equal_losses(here.sel(seed=seed), field) for seed in run.seeds]
        loss, ratio = np.concatenate(pairs, axis=1)
        order = np.argsort(loss)
        found |= bool(np.isfinite(ratio).any())
        style = {**style, "linestyle": dashes, "markersize": 3, "linewidth": 0.8}
        panel.line(loss[order], ratio[order], f"{name}, {layer}", **style)
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
    loss = run["theory_loss"]
    (none, batch), (_, losses) = (
        at_pairs(values, loss, ("none", "batch"), EQUAL_LOSS, run.facts["chance_loss"])
        for values in (claims.positive(field)(run), loss)
    )
    return np.stack([losses, none / batch])


def layers(run: Run) -> list[tuple[str, Any]]:
    """Layers and their dashes."""
    return list(zip(run.values("probed_layer"), itertools.cycle(DASHES), strict=False))


def caption(run: Run) -> str:
    """What was run, on what."""
    precision = "float64" if run.options["float64"] else "float32"
    return (
        f"{draw.subject(run)}\n{draw.setting(run)}, batch statistics, ε = "
        f"{run.options['epsilon']:g}, probe in {precision}, {draw.spread(run)}"
    )


FIGURES = (tables, theory, theory_comparison)
