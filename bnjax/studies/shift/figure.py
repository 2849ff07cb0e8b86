"""The figure of a shift run: cosines of all layers as heat maps, the highlighted ones as curves."""

from bnjax import draw
from bnjax.draw import LOOKS, STEP, Drawing
from bnjax.frame.published_curves import Published
from bnjax.frame.results import Run

MEASURES = (  # field, title, and how the published curves call it; empty: they do not have it
    ("cosines", "cos(G, G')", "cos"),
    ("distances", "‖G − G'‖₂", "l2"),
    ("relative_distances", "‖G − G'‖₂ / ‖G‖₂", ""),
)


def shift(run: Run, published: Published) -> Drawing:
    """A row for each learning rate: a map of all layers for each arm, then the measures."""
    norms, layers = run.norms, run.values("layer")
    several = "lr" in run.data.dims
    lrs = run.values("lr") if several else [run.options["lr"]]
    columns = len(norms) + len(MEASURES)
    drawing = Drawing(
        "shift",
        (len(lrs), columns),
        size=(3.0 * columns, 1.2 + 3.0 * len(lrs)),
        title="Internal covariate shift of the layers",
        text="For a layer i with weights Wᵢ: G = ∇L by Wᵢ before a step; G′ = the same after the "
        "layers below took the optimiser's actual update, on the same batch. Cosine of both "
        "(ideal 1) and ‖G − G′‖₂ (ideal 0).",
        source="Santurkar et al. 2018, Definition 2.1 and Fig. 3",
        caption=f"{draw.subject(run)}, {draw.setting(run, lr=False)}, {draw.spread(run)}\n"
        "G: gradient of a layer; G': the same after the layers below took the step's actual update"
        + f"; {draw.PUBLISHED_NOTE}"
        * bool(published),
    )
    for lr, panels in zip(lrs, drawing.rows, strict=True):
        here = run.sel(lr=lr) if several else run
        cosines = here["shift_cosines"].median("seed").transpose("norm", "layer", "probe_step")
        maps, lines = panels[: len(norms)], panels[len(norms) :]
        for panel, norm in zip(maps, norms, strict=True):
            image = panel.heat(
                here["probe_step"], layers, cosines.sel(norm=norm), LOOKS[norm].label,
                cmap="RdYlBu", vmin=-1, vmax=1,
            )  # fmt: skip
            panel.set(title=f"{norm}, lr {lr:g}", xlabel=STEP, grid=False)
        drawing.colour_bar(maps, "cos(G, G')", image, shrink=0.8)
        for panel, (field, title, curve) in zip(lines, MEASURES, strict=True):
            for i, layer in enumerate(run.options["layers"]):  # the first one is drawn thicker
                draw.curves(
                    panel, here, here[f"shift_{field}"].sel(layer=layer), f"{{}}, {layer}",
                    linewidth=0.8 if i else 1.6, markersize=2 if i else 3, marker=True,
                    markevery=0.1, ends=False,
                )  # fmt: skip
                panel.published(published, published_name(run, curve, layer, lr), norms)
            log, steps = field != "cosines", run.data.sizes["step"]
            panel.set(title=f"{title}, lr {lr:g}", xlabel=STEP, log=log, steps=steps)
    drawing.legend(drawing.panels[-1:], loc="outside lower right")
    return drawing


def published_name(run: Run, measure: str, layer: str, lr: float) -> str:
    """The panel of the published curves of one layer; there may be none of that name."""
    number = layer.removeprefix("conv").removeprefix("dense")
    figure = {"dln": "fig3b_dln", "vgg": "fig3a_vgg"}.get(run.options["model"][:3], "")
    return f"{figure}_ics_{measure}_layer{number}_lr{lr:g}".replace("e-0", "e-")


FIGURES = (shift,)
