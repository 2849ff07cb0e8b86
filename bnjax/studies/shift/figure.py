"""The figure of a shift run: cosines of all layers as heat maps, the highlighted ones as curves."""

from bnjax import draw
from bnjax.draw import Drawing, measured
from bnjax.frame.published_curves import Published
from bnjax.frame.results import Run

# How the published curves call the measures; empty: they do not have it.
PUBLISHED = ("cos", "l2", "")


def shift(run: Run, published: Published) -> Drawing:
    """A row for each learning rate: a map of all layers for each arm, then the measures."""
    norms = run.norms
    several = "lr" in run.data.dims
    lrs = run.values("lr") if several else [run.options["lr"]]
    columns = len(norms) + len(measured.SHIFT)
    drawing = Drawing(
        "shift",
        (len(lrs), columns),
        size=(3.0 * columns, 1.2 + 3.0 * len(lrs)),
        caption=f"{draw.subject(run)}, {draw.setting(run, lr=False)}, {draw.spread(run)}\n"
        "G: gradient of a layer; G': the same after the layers below took the step's actual update"
        + f"; {draw.PUBLISHED_NOTE}"
        * bool(published),
        **measured.SHIFT_TEXT,
    )
    highlighted, steps = run.options["layers"], run.data.sizes["step"]
    for lr, panels in zip(lrs, drawing.rows, strict=True):
        here = run.sel(lr=lr) if several else run
        measured.shift_panels(drawing, panels, here, highlighted, steps, f", lr {lr:g}")
        for panel, curve in zip(panels[len(norms) :], PUBLISHED, strict=True):
            for layer in highlighted:
                panel.published(published, published_name(run, curve, layer, lr), norms)
    drawing.legend(drawing.panels[-1:], loc="outside lower right")
    return drawing


def published_name(run: Run, measure: str, layer: str, lr: float) -> str:
    """The panel of the published curves of one layer; there may be none of that name."""
    number = layer.removeprefix("conv").removeprefix("dense")
    figure = {"dln": "fig3b_dln", "vgg": "fig3a_vgg"}.get(run.options["model"][:3], "")
    return f"{figure}_ics_{measure}_layer{number}_lr{lr:g}".replace("e-0", "e-")


FIGURES = (shift,)
