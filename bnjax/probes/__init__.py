"""Probes: `loss(params) -> scalar` in, named arrays out, nothing touched."""

from bnjax.arithmetic.layers import Parameter, describe
from bnjax.probes.activations import Distribution, distribution
from bnjax.probes.audit import Audit, Group, audit
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
from bnjax.probes.rotation import Rotation, equilibrium_angle, rotation
from bnjax.probes.rounding import rounding_noise
from bnjax.probes.sharpness import (
    BatchSharpness,
    CriticalStep,
    SphericalSharpness,
    batch_sharpness,
    critical_step,
    spherical_sharpness,
    step_sharpness,
)
from bnjax.probes.shift import Shift, layer_order, shift
from bnjax.probes.signal import (
    GradientRatios,
    Orthogonality,
    ResidualShares,
    gradient_ratios,
    orthogonality,
    residual_shares,
)
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
    "BatchSharpness",
    "Composite",
    "CriticalStep",
    "Diagonal",
    "Distribution",
    "EarthMover",
    "Equality",
    "GradientRatios",
    "Group",
    "Line",
    "Magnitudes",
    "Orthogonality",
    "Parameter",
    "Plane",
    "Probe",
    "Product",
    "ResidualShares",
    "Rotation",
    "Shift",
    "Spectrum",
    "SphericalSharpness",
    "Steepness",
    "Symmetry",
    "Theory",
    "audit",
    "batch_sharpness",
    "coordinates",
    "critical_step",
    "curvature_vector_product",
    "density",
    "describe",
    "diagonal",
    "distribution",
    "earth_mover",
    "equilibrium_angle",
    "filter_direction",
    "gradient_ratios",
    "hessian_vector_product",
    "in_float32",
    "kinds",
    "layer_order",
    "line",
    "losses_on_line",
    "magnitudes",
    "map_points",
    "mean_over",
    "orthogonality",
    "residual_shares",
    "rotation",
    "rounding_noise",
    "shift",
    "spectrum",
    "spherical_sharpness",
    "steepness",
    "step_sharpness",
    "symmetry",
    "theory",
    "values_on_line",
    "values_on_plane",
]
