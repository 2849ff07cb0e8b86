"""VGG-38 with residual connections: deep enough that its plain twin does not train."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
from jaxtyping import Array

from bnjax.arithmetic.pooling import mean_pool
from bnjax.errors import UsageError
from bnjax.models import initializers
from bnjax.models.layers import Convolution, Dense, drop
from bnjax.models.model import Model
from bnjax.models.norms import Norm, none
from bnjax.models.sizes import check_size
from bnjax.types import Images, Logits

STAGES, BLOCKS = 3, 5
CHANNELS = 32


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
        if min(images.shape[1:3]) < 2**STAGES:
            raise UsageError(
                f"images have shape {images.shape}; VGG-38 halves them {STAGES} times and needs "
                f"{2**STAGES}×{2**STAGES} pixels or more: resize or pad them"
            )
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

    Example:
      >>> from bnjax.models import layer_names, norms
      >>> len(layer_names(vgg38(norm=norms.none(), width=0.1), (32, 32, 3)))
      38
    """
    check_size(num_classes, width, dropout)
    features = max(1, round(CHANNELS * width))
    kernel_init = initializers.by_name(initializer)
    return Model(VGG38(features, num_classes, residual, norm, kernel_init, dropout))
