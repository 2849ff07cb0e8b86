"""Models and normalisers, the only place that imports Flax."""

from bnjax.errors import needs
from bnjax.types import Network

with needs("flax"):
    from bnjax.models import adapters, layers, norms
    from bnjax.models.model import Model, layer_names
    from bnjax.models.norms import Norm
    from bnjax.models.registry import FAMILIES, Family, by_name, register
    from bnjax.models.resnet import ResNet, resnet
    from bnjax.models.small import DeepLinear, alexnet, deep_linear, lenet, mlp
    from bnjax.models.transformer import Transformer, gpt, vit
    from bnjax.models.vgg import VGG, VGG_DEPTHS, vgg, vgg5, vgg11, vgg13, vgg16, vgg19, vgg38

__all__ = [
    "FAMILIES",
    "VGG",
    "VGG_DEPTHS",
    "DeepLinear",
    "Family",
    "Model",
    "Network",
    "Norm",
    "ResNet",
    "Transformer",
    "adapters",
    "alexnet",
    "by_name",
    "deep_linear",
    "gpt",
    "layer_names",
    "layers",
    "lenet",
    "mlp",
    "norms",
    "register",
    "resnet",
    "vgg",
    "vgg5",
    "vgg11",
    "vgg13",
    "vgg16",
    "vgg19",
    "vgg38",
    "vit",
]
