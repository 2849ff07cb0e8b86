"""VGG networks for small images (Simonyan & Zisserman 2015), and VGG-38 with residuals.

VGG-38 is deep enough that its plain twin does not train.
"""

import functools
import itertools
from collections.abc import Callable
from typing import Any, Literal, TypeAlias

import flax.linen as nn
from jaxtyping import Array

from bnjax.errors import UsageError
from bnjax.models import layers
from bnjax.models.layers import (
    Convolution,
    Dense,
    check_pixels,
    check_size,
    drop,
    max_pool,
    mean_pool,
    scale_channels,
)
from bnjax.models.model import Model
from bnjax.models.norms import Norm, none
from bnjax.types import Images, Logits

# Convolutions per stage; a stage of 2×2 max-pooling follows each.
VGG_DEPTHS = {
    5: (1, 1, 1, 1),
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}
STAGE_CHANNELS = (64, 128, 256, 512, 512)


Pooling: TypeAlias = Literal["max", "mean", "max_but_last"]


class VGG(nn.Module):
    """Stages of 3×3 convolutions and ReLUs, and a linear classifier named `output`."""

    stages: tuple[int, ...]  # convolutions in each stage
    channels: tuple[int, ...]  # of each stage
    num_classes: int
    hidden: tuple[int, ...]
    norm: Norm
    kernel_init: Callable[..., Any]
    dropout: float = 0.0
    pooling: Pooling = "max"

    @nn.compact
    def __call__(self, images: Images, *, train: bool) -> Logits:
        """Images `[batch, height, width, channels]` to logits `[batch, num_classes]`."""
        pooled = len(self.stages) - (self.pooling == "max_but_last")
        check_pixels(images, pooled, "a VGG")
        x, names = images, (f"conv{index}" for index in itertools.count(1))
        for stage, (convolutions, features) in enumerate(
            zip(self.stages, self.channels, strict=True)
        ):
            for left in reversed(range(convolutions)):
                conv = Convolution(features, self.norm, self.kernel_init, name=next(names))
                x = conv(x, train=train)
                if left or stage >= pooled:
                    x = nn.relu(x)
                elif self.pooling == "mean":
                    x = mean_pool(nn.relu(x), 2)
                else:  # maximum and ReLU commute, and after pooling ReLU has a quarter of the work
                    x = nn.relu(max_pool(x, 2))
        x = x.reshape(x.shape[0], -1)
        for index, features in enumerate(self.hidden, start=1):
            dense = Dense(features, self.norm, self.kernel_init, name=f"dense{index}")
            x = nn.relu(dense(drop(x, self.dropout, train=train), train=train))
        x = drop(x, self.dropout, train=train)
        return Dense(self.num_classes, none(), self.kernel_init, name="output")(x, train=train)


def vgg(
    depth: int,
    *,
    norm: Norm,
    num_classes: int = 10,
    width: float = 1.0,
    hidden: tuple[int, ...] = (),
    initializer: str = "glorot_uniform",
    dropout: float = 0.0,
    pooling: Pooling = "max",
) -> Model:
    """A VGG for images of 32×32 pixels, with any normaliser before each ReLU.

    Args:
      depth: 11, 13, 16 or 19 weight layers in the naming of the paper; with `hidden=()` the
        classifier is one layer where the paper's has three, as usual for CIFAR. 5 is none of the
        paper's: four convolutions, each with a pooling, for 16×16 pixels and quick runs.
      norm: normaliser, e.g. `bnjax.norms.batch_norm()`.
      num_classes: number of logits.
      width: factor on the channels 64, 128, 256, 512, 512.
      hidden: channels of hidden classifier layers, which `width` does not scale; `(512, 512)` gives
        the "VGG-A" with 9.75 M parameters that replications of Santurkar et al. use, `(4096, 4096)`
        the head of Simonyan & Zisserman.
      initializer: name of the kernel initialiser, see `bnjax.models.layers.initializer`.
      dropout: share of the features that are dropped before each dense layer, when training.
      pooling: what ends a stage: `max` or `mean` over 2×2 pixels; `max_but_last`: the last stage
        ends without.

    Returns:
      A `Model`; its layers are `conv1` …, `dense1` …, `output` whatever the normaliser.

    Raises:
      UsageError: unknown depth or initialiser, an impossible size or share, see `check_size`, or a
        hidden layer without a channel.

    Source: Simonyan & Zisserman 2015 (1409.1556), Table 1.
    """
    if depth not in VGG_DEPTHS:
        raise UsageError(f"VGG depth {depth} is not known: choose from {sorted(VGG_DEPTHS)}")
    check_size(num_classes, width, dropout)
    if not all(features >= 1 for features in hidden):
        shown = " ".join(map(str, hidden))
        raise UsageError(f"hidden {shown}: each must be 1 or more, e.g. (4096, 4096)")
    kernel_init = layers.initializer(initializer)
    stages = VGG_DEPTHS[depth]
    channels = tuple(scale_channels(full, width) for full in STAGE_CHANNELS[: len(stages)])
    module = VGG(stages, channels, num_classes, tuple(hidden), norm, kernel_init, dropout, pooling)
    return Model(module)


vgg5 = functools.partial(vgg, 5)
vgg11 = functools.partial(vgg, 11)
vgg13 = functools.partial(vgg, 13)
vgg16 = functools.partial(vgg, 16)
vgg19 = functools.partial(vgg, 19)

STAGES, BLOCKS, CHANNELS = 3, 5, 32  # of VGG-38


class VGG38(nn.Module):
    """One convolution, three stages of five blocks and a reduction, a linear classifier.

    A block is two 3×3 convolutions, with the identity beside them if `residual`; a reduction is
    two more with a mean over 2×2 pixels between them.
    """

    features: int
    num_classes: int
    residual: bool
    norm: Norm
    kernel_init: Callable[..., Any]
    dropout: float

    @nn.compact
    def __call__(self, images: Images, *, train: bool) -> Logits:
        """Images `[batch, height, width, channels]` to logits `[batch, num_classes]`."""
        check_pixels(images, STAGES, "VGG-38")
        names = (f"conv{index}" for index in range(1, 2 + 2 * STAGES * (BLOCKS + 1)))

        def convolve(x: Array) -> Array:
            layer = Convolution(self.features, self.norm, self.kernel_init, name=next(names))
            return layer(x, train=train)

        x = nn.relu(convolve(images))
        for _ in range(STAGES):
            for _ in range(BLOCKS):
                y = convolve(nn.relu(convolve(x)))
                x = nn.relu(x + y if self.residual else y)
            x = mean_pool(nn.relu(convolve(x)), 2)
            x = nn.relu(convolve(x))
        x = drop(x.reshape(x.shape[0], -1), self.dropout, train=train)
        return Dense(self.num_classes, none(), self.kernel_init, name="output")(x, train=train)


def vgg38(
    *,
    norm: Norm,
    residual: bool = True,
    num_classes: int = 10,
    width: float = 1.0,
    initializer: str = "glorot_uniform",
    dropout: float = 0.0,
) -> Model:
    """A VGG of 38 weight layers with 32 channels throughout.

    Args:
      norm: normaliser, before each non-linearity.
      residual: whether the identity stands beside the two convolutions of each block.
      num_classes: number of logits.
      width: factor on the 32 channels.
      initializer: name of the kernel initialiser.
      dropout: share of the features that are dropped before the classifier, when training.

    Returns:
      A `Model`; its layers are `conv1` … `conv37`, `output` whatever the normaliser.

    Raises:
      UsageError: unknown initialiser, an impossible size or share.

    Source: the VGG of Simonyan & Zisserman 2015 (1409.1556) with the residual connections of He et
      al. 2016 (1512.03385); the plain twin is `residual=False`. No paper has this very network: its
      depth is that of unpublished comparisons after Frankle et al. 2020 (2003.00152).
    """
    check_size(num_classes, width, dropout)
    kernel_init = layers.initializer(initializer)
    features = scale_channels(CHANNELS, width)
    return Model(VGG38(features, num_classes, residual, norm, kernel_init, dropout))
