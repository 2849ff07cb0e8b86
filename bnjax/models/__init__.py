"""Floor 2: models and normalisers, the only place that imports Flax."""

from bnjax.models import initializers, norms
from bnjax.models.deep_linear import DeepLinear, deep_linear
from bnjax.models.model import Model, layer_names
from bnjax.models.vgg import VGG, VGG_DEPTHS, vgg, vgg11, vgg13, vgg16, vgg19

__all__ = [
    "VGG",
    "VGG_DEPTHS",
    "DeepLinear",
    "Model",
    "deep_linear",
    "initializers",
    "layer_names",
    "norms",
    "vgg",
    "vgg11",
    "vgg13",
    "vgg16",
    "vgg19",
]
