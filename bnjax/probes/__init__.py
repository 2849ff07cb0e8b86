"""Probes: `loss(params) -> scalar` in, a NamedTuple of arrays out, nothing touched."""

from bnjax.probes.line import Line, line, losses_on_line
from bnjax.probes.precision import rounding_noise
from bnjax.probes.shift import Shift, layer_order, shift

__all__ = ["Line", "Shift", "layer_order", "line", "losses_on_line", "rounding_noise", "shift"]
