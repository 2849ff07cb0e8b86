"""Floor 1: probes. `loss(params) -> scalar` in, a NamedTuple of arrays out, nothing touched."""

from bnjax.probes.line import Line, line
from bnjax.probes.precision import rounding_noise

__all__ = ["Line", "line", "rounding_noise"]
