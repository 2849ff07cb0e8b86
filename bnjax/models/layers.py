"""Weight layers with their normaliser inside.

A layer's parameters stand under one name (`conv3`: kernel, bias and `norm`), so that "the third
convolution" is the same key of the tree in every arm of an experiment. Biases stay beside every
normaliser, as in the common VGG with BatchNorm; before BatchNorm their gradient is zero.
Parameters take the dtype of the images that the model is initialised with.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
from jaxtyping import Array, Float

from bnjax.convolution.convolution import convolve
from bnjax.models.norms import Norm


class Convolution(nn.Module):
    """Convolution with SAME padding, bias and normaliser; the output is what a ReLU would get.

    Attributes:
      features: channels of the output.
      norm: normaliser of the output, or of the kernel; `norms.none()` for none.
      kernel_init: `(key, shape, dtype) -> kernel`, see `initializers.by_name`.
      kernel_size: height and width, pixels.
      strides: pixels from one place of the kernel to the next.
      use_bias: add a trained bias, in front of the normaliser.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> from bnjax.models import norms
      >>> layer = Convolution(8, norms.batch_norm(), nn.initializers.he_normal())
      >>> variables = layer.init(jax.random.key(0), jnp.zeros((2, 4, 4, 3)), train=True)
      >>> sorted(variables["params"])
      ['bias', 'kernel', 'norm']
    """

    features: int
    norm: Norm
    kernel_init: Callable[..., Any]
    kernel_size: tuple[int, int] = (3, 3)
    strides: tuple[int, int] = (1, 1)
    use_bias: bool = True

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch height width channels"], *, train: bool
    ) -> Float[Array, "batch new_height new_width features"]:
        """Images `[batch, height, width, channels]` to pre-activations."""
        norm = self.norm.for_layer(self.name)
        shape = (*self.kernel_size, x.shape[-1], self.features)
        kernel = self.param("kernel", self.kernel_init, shape, x.dtype)
        x = convolve(x, norm.kernel(kernel), strides=self.strides)
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros, (self.features,), x.dtype)
            x = x + bias.reshape(1, 1, 1, -1)
        return norm.output(x, train=train)


class Dense(nn.Module):
    """Affine layer with normaliser; the output is what a non-linearity would get.

    Attributes:
      features: units of the output.
      norm: normaliser of the output, or of the kernel; `norms.none()` for none.
      kernel_init: `(key, shape, dtype) -> kernel`, see `initializers.by_name`.
      use_bias: add a trained bias, in front of the normaliser.
    """

    features: int
    norm: Norm
    kernel_init: Callable[..., Any]
    use_bias: bool = True

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch channels"], *, train: bool
    ) -> Float[Array, "batch features"]:
        """Vectors `[batch, channels]` to pre-activations."""
        norm = self.norm.for_layer(self.name)
        kernel = self.param("kernel", self.kernel_init, (x.shape[-1], self.features), x.dtype)
        x = x @ norm.kernel(kernel)
        if self.use_bias:
            x = x + self.param("bias", nn.initializers.zeros, (self.features,), x.dtype)[None]
        return norm.output(x, train=train)


def drop(
    x: Float[Array, "batch features"], share: float, *, train: bool
) -> Float[Array, "batch features"]:
    """Dropout when training, from the random stream `dropout` (Srivastava et al. 2014)."""
    return nn.Dropout(share, deterministic=not train)(x) if share else x
