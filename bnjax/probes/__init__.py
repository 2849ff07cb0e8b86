"""Probes: `loss(params) -> scalar` in, named arrays out, nothing touched."""

from bnjax.arithmetic.layers import Parameter, describe
from bnjax.probes.activations import Distribution, distribution
from bnjax.probes.audit import Audit, Group, audit, equilibrium_angle
from bnjax.probes.composite import Composite
from bnjax.probes.curvature import (
    CURVATURES,
    MODES,
    Diagonal,
    Product,
    curvature_vector_product,
    diagonal,
    hessian_vector_product,
)
from bnjax.probes.earth_mover import Affine, EarthMover, earth_mover
from bnjax.probes.line import Line, Probe, line, losses_on_line
from bnjax.probes.magnitudes import Magnitudes, kinds, magnitudes
from bnjax.probes.points import in_float32, map_points, mean_over
from bnjax.probes.rounding import rounding_noise
from bnjax.probes.shift import Shift, layer_order, shift
from bnjax.probes.spectrum import Spectrum, density, spectrum
from bnjax.probes.surface import (
    Plane,
    coordinates,
    filter_direction,
    values_on_line,
    values_on_plane,
)
from bnjax.probes.symmetry import Symmetry, symmetry
from bnjax.probes.theory import Equality, Steepness, Theory, steepness, theory

__all__ = [
    "CURVATURES",
    "MODES",
    "Affine",
    "Audit",
    "Composite",
    "Diagonal",
    "Distribution",
    "EarthMover",
    "Equality",
    "Group",
    "Line",
    "Magnitudes",
    "Parameter",
    "Plane",
    "Probe",
    "Product",
    "Shift",
    "Spectrum",
    "Steepness",
    "Symmetry",
    "Theory",
    "audit",
    "coordinates",
    "curvature_vector_product",
    "density",
    "describe",
    "diagonal",
    "distribution",
    "earth_mover",
    "equilibrium_angle",
    "filter_direction",
    "hessian_vector_product",
    "in_float32",
    "kinds",
    "layer_order",
    "line",
    "losses_on_line",
    "magnitudes",
    "map_points",
    "mean_over",
    "rounding_noise",
    "shift",
    "spectrum",
    "steepness",
    "symmetry",
    "theory",
    "values_on_line",
    "values_on_plane",
]
