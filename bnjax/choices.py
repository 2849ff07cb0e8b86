"""The names that options choose from, and the nearest one to a word that is none of them.

No library is imported here, so that `--help` is instant.
"""

import difflib
import re
from collections.abc import Iterable
from typing import Literal, TypeAlias

# The shipped normalisers and networks; `--plugins` registers others.
NORMS = (
    "none", "batch", "layer", "group", "instance", "rms", "unitize", "weight_standard",
    "weight_norm", "l1", "l2", "linf", "noisy_batch", "noise", "dyt", "derf", "skipinit",
)  # fmt: skip
MODELS = (
    "vgg5", "vgg11", "vgg13", "vgg16", "vgg19", "vgg38", "vgg38_residual", "resnet", "lenet",
    "alexnet", "mlp", "dln", "gpt", "vit",
)  # fmt: skip
OptimizerName: TypeAlias = Literal[
    "sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw", "muon"
]
InitializerName: TypeAlias = Literal[
    "glorot_uniform",
    "glorot_normal",
    "he_uniform",
    "he_normal",
    "lecun_normal",
    "orthogonal",
    "two_over_root_n",
    "small_normal",
    "constant",
    "zeros",
]
ObjectiveName: TypeAlias = Literal["cross_entropy", "squared_error", "summed_squared_error"]
DatasetName: TypeAlias = Literal[
    "digits",
    "digits16",
    "digits8",
    "binary_digits",
    "shakespeare",
    "mnist",
    "binary_mnist",
    "fashion_mnist",
    "cifar10",
    "cifar100",
    "gaussian",
    "gaussian_positive",
    "mnist1d",
]
EMBEDDED = ("digits", "digits16", "digits8", "binary_digits", "shakespeare")  # need no file
TEXT_DATASETS = ("shakespeare",)  # tokens
COLOUR_DATASETS = ("cifar10", "cifar100")  # 32×32 pixels
LINEAR_DATASETS = ("gaussian", "gaussian_positive")  # for the deep linear network
PlaceName: TypeAlias = Literal["pre", "post", "peri"]  # of normalisers beside a residual branch
PixelScale: TypeAlias = Literal["standardised", "per_image", "unscaled"]
# Of matrix products of 32 bits; bfloat16: of a whole network, whose parameters keep 32.
Precision: TypeAlias = Literal["default", "high", "highest", "bfloat16"]
Statistics: TypeAlias = Literal["batch", "running", "frozen", "recalibrated"]

# What others call it, where the spelling does not lead there: letters and digits only.
ALSO_CALLED = {
    "arch": "--model",
    "architecture": "--model",
    "bn": "batch",
    "bs": "--batch-size",
    "cnn": "lenet",
    "devices": "--data-devices",
    "dryrun": "--plan",
    "epochs": "--steps",
    "force": "--fresh",
    "gn": "group",
    "hessian": "spectrum",
    "ics": "shift",
    "identity": "none",
    "iterations": "--steps",
    "iters": "--steps",
    "linear": "dln",
    "ln": "layer",
    "qknorm": "--qk-norm",
    "transformer": "gpt",
    "log": "--out",
    "logdir": "--out",
    "network": "--model",
    "normalization": "--norms",
    "normalisation": "--norms",
    "normalizer": "--norms",
    "normaliser": "--norms",
    "outputdir": "--out",
    "overwrite": "--fresh",
    "perceptron": "mlp",
    "standard": "none",
    "vanilla": "none",
    "wd": "--weight-decay",
    "wn": "weight_norm",
    "ws": "weight_standard",
}


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The end of a message: the nearest of the known names, or nothing if none is near.

    Example:
      >>> did_you_mean("BatchNorm", ["none", "batch", "noisy_batch"])
      '; did you mean batch?'
      >>> did_you_mean("bogus", ["none", "batch"])
      ''
      >>> did_you_mean("none,batch", ["none", "batch"])
      '; give several with spaces between them'
    """
    names = {letters(name): name for name in known}
    if "," in word and {*map(letters, word.split(","))} <= {*names}:
        return "; give several with spaces between them"
    also = ALSO_CALLED.get(letters(word), "")
    near = [letters(also)] if also in names.values() else []
    near = near or difflib.get_close_matches(letters(word), names, 1)
    return f"; did you mean {names[near[0]]}?" if near else ""


def letters(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())
