"""The figure of an earth mover run: distances with their bounds, channels, moments, training."""

from typing import Any

from bnjax import draw
from bnjax.draw import Drawing, Panel
from bnjax.frame.published_curves import Published
from bnjax.frame.results import Run
from bnjax.studies.distributions.figure import by_layer, caption

TITLES = [
    "a  Earth mover distance\nof the layer and bounds",
    "b  Sliced distance\nover the layer's deviation",
    "c  Distance of channels\nover their mean deviation",
    "d  Change of channels'\nhigher moments",
]
THIN: dict[str, Any] = {"linewidth": 0.6}
DOTTED: dict[str, Any] = {
    **THIN, "linestyle": "-", "marker": ".", "markersize": 4, "markevery": 4,
}  # fmt: skip
HIDDEN: dict[str, Any] = {"legend": False, "ends": False}
MEANINGS: dict[str, dict[str, Any]] = {
    "a: distance; d: skewness": {"linewidth": 1.4},
    "a: bounds by moments; d: kurtosis": THIN,
    "a: bound by γ and β of BatchNorm": DOTTED,
}


def earth_mover(run: Run, _: Published) -> Drawing:
    """A row for each layer, and training."""
    drawing = by_layer(
        "earth_mover",
        run,
        TITLES,
        training="e  Training",
        title="Internal covariate shift as an earth mover distance",
        text="Distance W₁ of a layer's outputs on the batch before and after the step's actual "
        "update, with the bounds ‖μ₁ − μ₂‖ ≤ W₁ ≤ √(‖μ₁ − μ₂‖² + tr Σ₁ + tr Σ₂); sliced over "
        "random directions; of single channels; change of the third and fourth standardised "
        "moment.",
        source="Huang & Yu 2020",
        caption=caption(run, note(run), f"Lines: {draw.spread(run)}."),
    )
    for panels, layer in zip(drawing.rows, run.values("shown_layer"), strict=False):
        draw_layer(panels, run.sel(shown_layer=layer), layer)
    keys = drawing.rows[-1][1]
    for name in list(MEANINGS)[: 3 if "batch" in run.norms else 2]:
        keys.key(name, color="0.35", **MEANINGS[name])
    keys.legend(loc="center left")
    if legend := keys.axes.get_legend():  # it may reach into the empty panel beside it
        legend.set_in_layout(False)
    return drawing


def draw_layer(panels: list[Panel], run: Run, layer: str) -> None:
    """One layer for every arm: distance with bounds, sliced, channels, moments."""
    whole, slices, channels, higher = panels
    of = {str(name).removeprefix("earth_mover_"): values for name, values in run.data.items()}
    draw.curves(whole, run, of["exact" if run.options["exact"] else "scaled"])
    for bound in ("lower", "upper"):
        draw.curves(whole, run, of[bound], f"{{}}, {bound} bound by moments", **HIDDEN, **THIN)
    draw.curves(whole, run, of["norm_bound"], "{}, bound by γ and β", **HIDDEN, **DOTTED)
    draw.curves(slices, run, of["scaled"] / of["deviation"])
    quantiles = (of["channel_percentiles"] / of["channel_deviation"]).median("seed")
    low, middle, high = (quantiles.isel(percentile=place) for place in range(3))
    draw.curves(channels, run, middle)
    draw.bands(channels, low, high, "{}, 15th to 85th percentile", hatch=True, legend=False)
    draw.curves(higher, run, of["skewness_change"])
    draw.curves(higher, run, of["kurtosis_change"], "{}, kurtosis", **HIDDEN, **THIN)
    for panel in panels:
        panel.set(log=True)
    whole.set(
        ylabel=f"{layer}, D = {float(of['dimension'].isel(norm=-1, seed=0, probe_step=0)):.0f}"
    )


def note(run: Run) -> str:
    """What the panels show."""
    distance = "in all dimensions" if run.options["exact"] else "sliced, scaled to all dimensions"
    return (
        "Outputs of a layer on the step's batch before and after the step's actual update. "
        f"a: {distance}, units of the output; D: dimension. b: mean over {run.options['slices']} "
        "directions, over c_D. c: median over channels, shaded: 15th to 85th percentile. "
        "d: mean over channels of the absolute change of standardised moments, no unit."
    )


FIGURES = (earth_mover,)
