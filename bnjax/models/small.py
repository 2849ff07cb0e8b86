"""The small classics: perceptron, LeNet-5, AlexNet for CIFAR, and the deep linear network."""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import flax.linen as nn

from bnjax.errors import UsageError
from bnjax.models import layers
from bnjax.models.layers import (
    Convolution,
    Dense,
    check_pixels,
    check_size,
    drop,
    max_pool,
    scale_channels,
)
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
        check_pixels(images, sum(stage.pooled for stage in self.stages), "this network")
        act = ACTIVATIONS[self.activation]
        x = images
        for index, (features, size, pooled) in enumerate(self.stages, start=1):
            options: dict[str, Any] = {"kernel_size": (size, size), "name": f"conv{index}"}
            x = Convolution(features, self.norm, self.kernel_init, **options)(x, train=train)
            x = act(max_pool(x, 2) if pooled else x)  # they commute, as in `vgg.VGG`
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
    """A perceptron with hidden layers of 100 channels; the default is Ioffe & Szegedy's.

    Args:
      norm: normaliser, before each non-linearity.
      num_classes: number of logits.
      width: factor on the 100 channels.
      depth: weight layers; the paper's 4 are three hidden ones and the classifier.
      initializer: name of the kernel initialiser; the paper's is a small Gaussian.
      activation: the non-linearity; the paper's is the sigmoid.
      dropout: share of the last hidden channels that are dropped, when training.

    Returns:
      A `Model`; its layers are `dense1` …, `output`.

    Raises:
      UsageError: a depth below 2, unknown initialiser or activation, an impossible size or share.

    Source: Ioffe & Szegedy 2015 (1502.03167), §4.1.
    """
    if depth < 2:
        raise UsageError(f"depth {depth} of a perceptron must be 2 or more: 4 is the paper's")
    hidden = (100,) * (depth - 1)
    return small((), hidden, width, norm, num_classes, initializer, activation, dropout)


def lenet(
    *,
    norm: Norm,
    num_classes: int = 10,
    width: float = 1.0,
    initializer: str = "glorot_uniform",
    activation: Activation = "relu",
    dropout: float = 0.0,
) -> Model:
    """LeNet-5 with rectifiers and max-pooling: 5×5 convolutions of 6 and 16 channels, then 120, 84.

    Args:
      norm: normaliser, before each non-linearity.
      num_classes: number of logits.
      width: factor on all channels.
      initializer: name of the kernel initialiser.
      activation: the non-linearity.
      dropout: share dropped before each dense layer, when training.

    Returns:
      A `Model`; its layers are `conv1`, `conv2`, `dense1`, `dense2`, `output`.

    Raises:
      UsageError: unknown initialiser or activation, an impossible size or share.

    Source: LeCun et al. 1998, Fig. 2; convolutions are padded here, so any size from 4×4 will do.
    """
    return small(LENET, (120, 84), width, norm, num_classes, initializer, activation, dropout)


def alexnet(
    *,
    norm: Norm,
    num_classes: int = 10,
    width: float = 1.0,
    initializer: str = "glorot_uniform",
    activation: Activation = "relu",
    dropout: float = 0.0,
) -> Model:
    """AlexNet's five convolutions in the size of CIFAR, and two dense layers of 1,024 channels.

    Args:
      norm: normaliser, before each non-linearity.
      num_classes: number of logits.
      width: factor on all channels.
      initializer: name of the kernel initialiser.
      activation: the non-linearity.
      dropout: share dropped before each dense layer, when training (the paper: 0.5).

    Returns:
      A `Model`; its layers are `conv1` … `conv5`, `dense1`, `dense2`, `output`.

    Raises:
      UsageError: unknown initialiser or activation, an impossible size or share.

    Source: Krizhevsky et al. 2012, its channels in the variant of one tower (1404.5997), with
      kernels of 5 and 3 pixels and stride 1 for images of 32×32.
    """
    return small(ALEXNET, (1024, 1024), width, norm, num_classes, initializer, activation, dropout)


def small(
    stages: tuple[Stage, ...],
    hidden: tuple[int, ...],
    width: float,
    norm: Norm,
    num_classes: int,
    initializer: str,
    activation: Activation,
    dropout: float,
) -> Model:
    """The model of some stages and hidden layers, whose channels are multiplied by `width`."""
    check_size(num_classes, width, dropout)
    if activation not in ACTIVATIONS:
        raise UsageError(f"activation {activation!r}: choose from {', '.join(ACTIVATIONS)}")
    stages = tuple(s._replace(features=scale_channels(s.features, width)) for s in stages)
    hidden = tuple(scale_channels(features, width) for features in hidden)
    kernel_init = layers.initializer(initializer)
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
    """
    if depth < 1 or width < 1:
        raise UsageError(f"depth={depth} and width={width} must be 1 or more: give e.g. 25 and 10")
    return Model(DeepLinear(depth, width, norm, layers.initializer(initializer)))
