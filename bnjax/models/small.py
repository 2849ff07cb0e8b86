"""The small classics: perceptron, LeNet-5, AlexNet for CIFAR, and the deep linear network."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import flax.linen as nn

from bnjax.errors import UsageError
from bnjax.models import initializers
from bnjax.models.layers import Convolution, Dense, check_size, drop, max_pool
from bnjax.models.model import Model
from bnjax.models.norms import Norm, none
from bnjax.types import Images, Logits

ACTIVATIONS = {"relu": nn.relu, "sigmoid": nn.sigmoid, "tanh": nn.tanh}
Activation = Literal["relu", "sigmoid", "tanh"]


class Stage(NamedTuple):
    """A convolution, and whether pooling by 2 follows it."""

    features: int
    kernel_size: int
    pooled: bool


LENET = (Stage(6, 5, True), Stage(16, 5, True))
ALEXNET = (
    Stage(64, 5, True),
    Stage(192, 5, True),
    Stage(384, 3, False),
    Stage(256, 3, False),
    Stage(256, 3, True),
)


class Small(nn.Module):
    """Convolutions, then dense layers with dropout before each, each with its normaliser."""

    stages: tuple[Stage, ...]
    hidden: tuple[int, ...]
    num_classes: int
    norm: Norm
    kernel_init: Callable[..., Any]
    activation: Activation
    dropout: float

    @nn.compact
    def __call__(self, images: Images, *, train: bool) -> Logits:
        """Images `[batch, height, width, channels]` to logits `[batch, num_classes]`."""
        reduction = 2 ** sum(stage.pooled for stage in self.stages)
        if min(images.shape[1:3]) < reduction:
            raise UsageError(
                f"images have shape {images.shape}; this network halves them and needs "
                f"{reduction}×{reduction} pixels or more: resize or pad them"
            )
        act = ACTIVATIONS[self.activation]
        x = images
        for index, stage in enumerate(self.stages, start=1):
            size = (stage.kernel_size, stage.kernel_size)
            conv = Convolution(
                stage.features, self.norm, self.kernel_init, size, name=f"conv{index}"
            )
            x = act(conv(x, train=train))
            x = max_pool(x, 2) if stage.pooled else x
        x = x.reshape(x.shape[0], -1)
        for index, features in enumerate(self.hidden, start=1):
            x = drop(x, self.dropout if self.stages else 0.0, train=train)
            dense = Dense(features, self.norm, self.kernel_init, name=f"dense{index}")
            x = act(dense(x, train=train))
        x = drop(x, self.dropout, train=train)
        return Dense(self.num_classes, none(), self.kernel_init, name="output")(x, train=train)


def mlp(
    *,
    norm: Norm,
    num_classes: int = 10,
    width: float = 1.0,
    depth: int = 4,
    initializer: str = "small_normal",
    activation: Activation = "sigmoid",
    dropout: float = 0.0,
) -> Model:
    """A perceptron of hidden layers with 100 units each; the default is Ioffe & Szegedy's.

    Args:
      norm: normaliser, before each non-linearity.
      num_classes: number of logits.
      width: factor on the 100 units.
      depth: weight layers; the paper's 4 are three hidden ones and the classifier.
      initializer: name of the kernel initialiser; the paper's is a small Gaussian.
      activation: the non-linearity; the paper's is the sigmoid.
      dropout: share of the last hidden units that are dropped, when training.

    Returns:
      A `Model`; its layers are `dense1` …, `output`.

    Raises:
      UsageError: a depth below 2, unknown initialiser or activation, an impossible size or share.

    Source: Ioffe & Szegedy 2015 (1502.03167), §4.1.

    Example:
      >>> from bnjax.models import norms
      >>> mlp(norm=norms.batch_norm(), depth=3).module.hidden
      (100, 100)
    """
    if depth < 2:
        raise UsageError(f"depth {depth} of a perceptron must be 2 or more: 4 is the paper's")
    check_size(num_classes, width, dropout)
    hidden = (max(1, round(100 * width)),) * (depth - 1)
    return small((), hidden, norm, num_classes, initializer, activation, dropout)


def lenet(
    *,
    norm: Norm,
    num_classes: int = 10,
    width: float = 1.0,
    initializer: str = "glorot_uniform",
    activation: Activation = "relu",
    dropout: float = 0.0,
) -> Model:
    """LeNet-5 with rectifiers and maxima: 5×5 convolutions of 6 and 16 channels, 120 and 84 units.

    Args:
      norm: normaliser, before each non-linearity.
      num_classes: number of logits.
      width: factor on channels and units.
      initializer: name of the kernel initialiser.
      activation: the non-linearity.
      dropout: share dropped before each dense layer, when training.

    Returns:
      A `Model`; its layers are `conv1`, `conv2`, `dense1`, `dense2`, `output`.

    Raises:
      UsageError: unknown initialiser or activation, an impossible size or share.

    Source: LeCun et al. 1998, Fig. 2; convolutions are padded here, so any size from 4×4 will do.

    Example:
      >>> from bnjax.models import norms
      >>> lenet(norm=norms.batch_norm(), width=0.5).module.hidden
      (60, 42)
    """
    check_size(num_classes, width, dropout)
    stages = tuple(scaled(stage, width) for stage in LENET)
    hidden = (max(1, round(120 * width)), max(1, round(84 * width)))
    return small(stages, hidden, norm, num_classes, initializer, activation, dropout)


def alexnet(
    *,
    norm: Norm,
    num_classes: int = 10,
    width: float = 1.0,
    initializer: str = "glorot_uniform",
    activation: Activation = "relu",
    dropout: float = 0.0,
) -> Model:
    """AlexNet's five convolutions in the size of CIFAR, and two dense layers of 1,024 units.

    Args:
      norm: normaliser, before each non-linearity.
      num_classes: number of logits.
      width: factor on channels and units.
      initializer: name of the kernel initialiser.
      activation: the non-linearity.
      dropout: share dropped before each dense layer, when training (the paper: 0.5).

    Returns:
      A `Model`; its layers are `conv1` … `conv5`, `dense1`, `dense2`, `output`.

    Raises:
      UsageError: unknown initialiser or activation, an impossible size or share.

    Source: Krizhevsky et al. 2012, its channels in the variant of one tower (1404.5997), with
      kernels of 5 and 3 pixels and stride 1 for images of 32×32.

    Example:
      >>> from bnjax.models import norms
      >>> alexnet(norm=norms.none(), width=0.25).module.hidden
      (256, 256)
    """
    check_size(num_classes, width, dropout)
    stages = tuple(scaled(stage, width) for stage in ALEXNET)
    hidden = (max(1, round(1024 * width)),) * 2
    return small(stages, hidden, norm, num_classes, initializer, activation, dropout)


def scaled(stage: Stage, width: float) -> Stage:
    """A stage with a multiple of its channels."""
    return stage._replace(features=max(1, round(width * stage.features)))


def small(
    stages: tuple[Stage, ...],
    hidden: tuple[int, ...],
    norm: Norm,
    num_classes: int,
    initializer: str,
    activation: Activation,
    dropout: float,
) -> Model:
    """The model of some stages and hidden layers."""
    if activation not in ACTIVATIONS:
        raise UsageError(f"activation {activation!r}: choose from {', '.join(ACTIVATIONS)}")
    kernel_init = initializers.by_name(initializer)
    return Model(Small(stages, hidden, num_classes, norm, kernel_init, activation, dropout))


class DeepLinear(nn.Module):
    """Square layers without bias or non-linearity, each with its normaliser behind it."""

    depth: int
    width: int
    norm: Norm
    kernel_init: Callable[..., Any]

    @nn.compact
    def __call__(self, images: Images, *, train: bool) -> Logits:
        """Inputs `[batch, 1, 1, width]` to outputs `[batch, width]`."""
        x = images.reshape(images.shape[0], -1)
        for index in range(1, self.depth + 1):
            name = f"dense{index}"
            layer = Dense(self.width, self.norm, self.kernel_init, use_bias=False, name=name)
            x = layer(x, train=train)
        return x


def deep_linear(
    *, norm: Norm, depth: int = 25, width: int = 10, initializer: str = "glorot_uniform"
) -> Model:
    r"""The network $W_k \cdots W_1 x$, with any normaliser behind every layer.

    Args:
      norm: normaliser, e.g. `bnjax.norms.batch_norm()`.
      depth: number k of layers; the paper's is 25.
      width: of inputs, layers and outputs; the paper's is 10.
      initializer: name of the kernel initialiser; the paper's is Glorot's.

    Returns:
      A `Model`; its layers are `dense1` … `dense<depth>` whatever the normaliser.

    Raises:
      UsageError: depth or width below 1, or unknown initialiser.

    Source: Santurkar et al. 2018, appendix A.1.

    Example:
      >>> from bnjax.models import norms
      >>> import jax, jax.numpy as jnp
      >>> model = deep_linear(norm=norms.none(), depth=3)
      >>> list(model.init(jax.random.key(0), jnp.zeros((1, 1, 1, 10)))["params"])
      ['dense1', 'dense2', 'dense3']
    """
    if depth < 1 or width < 1:
        raise UsageError(f"depth={depth} and width={width} must be 1 or more: give e.g. 25 and 10")
    return Model(DeepLinear(depth, width, norm, initializers.by_name(initializer)))
