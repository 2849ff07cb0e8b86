"""The distributions of the shown layers, and their change with the noise drawn anew."""

from collections.abc import Mapping
from typing import Any

from bnjax.frame.arm import Arm, require_layers
from bnjax.studies.distributions.measure import EDGES, LEVELS, make_distributions
from bnjax.train import Probe, every


def probes(arm: Arm) -> Mapping[str, Probe]:
    """The distributions of the shown layers of one arm."""
    options = arm.options
    measure = make_distributions(
        arm.model,
        arm.optimizer,
        options.layers,
        EDGES,
        percentiles=LEVELS,
        unit=options.unit,
        redraw=True,
    )
    return {"distributions": Probe(every(options.probe_every), measure, ("shown_layer",))}


def axes(options: Any) -> Mapping[str, Any]:
    """Shown layers, centres of the bins, and levels of percentiles."""
    return {
        "shown_layer": options.layers,
        "bin": (EDGES[1:] + EDGES[:-1]) / 2,
        "percentile": LEVELS,
    }


def check_options(options: Any) -> None:
    """Refuse layers that the network does not have."""
    require_layers("--layers", options.layers, options)
