"""The distributions of the shown layers, and their change with the noise drawn anew."""

from collections.abc import Mapping
from typing import Any

from bnjax.frame.arm import Arm
from bnjax.studies.distributions import measure as distributions
from bnjax.studies.distributions.measure import EDGES, check_options
from bnjax.train import Measurement

__all__ = ["axes", "check_options", "probes"]


def probes(arm: Arm) -> Mapping[str, Measurement]:
    """The distributions of the shown layers of one arm."""
    return distributions.probes(arm, EDGES, redraw=True)


def axes(options: Any) -> Mapping[str, Any]:
    """Shown layers, centres of the bins, and levels of percentiles."""
    return distributions.axes(options, EDGES)
