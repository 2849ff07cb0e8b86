"""Normalisers: constructors that are handed to a model.

A `Norm` builds a fresh linen module for each layer by `build(name="norm")`; the module's call is
`module(x, train=bool)` with the channels last. One's own normaliser needs nothing else, and
`register` makes it known by name.
"""

from bnjax.models.norms.batch import BatchNorm, LpNorm, Unitization, batch_norm, lp_norm, unitize
from bnjax.models.norms.kernel import (
    WeightNorm,
    WeightStandardisation,
    weight_norm,
    weight_standard,
)
from bnjax.models.norms.noise import Noisy, noisy
from bnjax.models.norms.norm import Norm, none, with_exceptions
from bnjax.models.norms.pointwise import Pointwise, SkipInit, derf, dyt, skip_init
from bnjax.models.norms.registry import REGISTRY, by_name, register
from bnjax.models.norms.sample import SampleNorm, group_norm, instance_norm, layer_norm, rms_norm

__all__ = [
    "REGISTRY",
    "BatchNorm",
    "LpNorm",
    "Noisy",
    "Norm",
    "Pointwise",
    "SampleNorm",
    "SkipInit",
    "Unitization",
    "WeightNorm",
    "WeightStandardisation",
    "batch_norm",
    "by_name",
    "derf",
    "dyt",
    "group_norm",
    "instance_norm",
    "layer_norm",
    "lp_norm",
    "noisy",
    "none",
    "register",
    "rms_norm",
    "skip_init",
    "unitize",
    "weight_norm",
    "weight_standard",
    "with_exceptions",
]
