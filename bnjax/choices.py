"""The names that options choose from. Nothing is imported here, so that `--help` is instant."""

from typing import Literal, TypeAlias

OptimizerName: TypeAlias = Literal[
    "sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw"
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
    "binary_digits",
    "mnist",
    "binary_mnist",
    "fashion_mnist",
    "cifar10",
    "cifar100",
    "gaussian",
    "gaussian_positive",
]
EMBEDDED = ("digits", "digits16", "binary_digits")  # need no file
COLOUR_DATASETS = ("cifar10", "cifar100")  # 32×32 pixels
LINEAR_DATASETS = ("gaussian", "gaussian_positive")  # for the deep linear network
PixelScale: TypeAlias = Literal["standardised", "per_image", "unscaled"]
# Of matrix products of 32 bits; bfloat16: of a whole network, whose parameters keep 32.
Precision: TypeAlias = Literal["default", "high", "highest", "bfloat16"]
Statistics: TypeAlias = Literal["batch", "running", "frozen", "recalibrated"]
