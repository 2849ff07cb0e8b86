"""Weight layers with their normaliser inside.

A layer's parameters have one key in the tree (`conv3`: kernel, bias and `norm`), the same one with
every normaliser. Layers keep their bias before a normaliser, as in the common VGG with BatchNorm;
before BatchNorm its gradient is zero.
Parameters take the dtype of the images that the model is initialised with.
"""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax.numpy as jnp
from jax.nn import initializers
from jaxtyping import Array, Float

from bnjax.arithmetic.moments import channelwise
from bnjax.convolution.convolution import convolve
from bnjax.errors import UsageError
from bnjax.models.norms import Norm
from bnjax.types import Images


class Convolution(nn.Module):
    """Convolution with SAME padding, bias and normaliser; the output is what a ReLU would get.

    Attributes:
      features: channels of the output.
      norm: normaliser of the output, or of the kernel; `norms.none()` for none.
      kernel_init: `(key, shape, dtype) -> kernel`, see `initializers.by_name`.
      kernel_size: height and width, pixels.
      strides: pixels from one place of the kernel to the next.
      use_bias: add a trained bias, in front of the normaliser.
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
      features: channels of the output.
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
        self, x: Float[Array, "*batch channels"], *, train: bool
    ) -> Float[Array, "*batch features"]:
        """Vectors `[batch, channels]`, or `[batch, length, channels]`, to pre-activations."""
        norm = self.norm.for_layer(self.name)
        kernel = self.param("kernel", self.kernel_init, (x.shape[-1], self.features), x.dtype)
        x = x @ norm.kernel(kernel)
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros, (self.features,), x.dtype)
            x = x + channelwise(bias, x)
        return norm.output(x, train=train)


def drop(
    x: Float[Array, "batch features"], share: float, *, train: bool
) -> Float[Array, "batch features"]:
    """Dropout when training, from the random stream `dropout` (Srivastava et al. 2014)."""
    return nn.Dropout(share, deterministic=not train)(x) if share else x


def max_pool(images: Images, window: int) -> Float[Array, "batch new_height new_width channels"]:
    r"""Maximum over non-overlapping windows; rows and columns that fill no window are dropped.

    $y_{bhwc} = \max_{0 \le i, j < n} x_{b,\,nh + i,\,nw + j,\,c}$
    """
    return jnp.max(windows(images, window), axis=(2, 4))


def mean_pool(images: Images, window: int) -> Float[Array, "batch new_height new_width channels"]:
    """Mean over non-overlapping windows; shapes and errors as of `max_pool`."""
    return jnp.mean(windows(images, window), axis=(2, 4))


def windows(
    images: Images, window: int
) -> Float[Array, "batch rows window columns window channels"]:
    """The whole windows of images, by reshape.

    So max-pooling needs no select-and-scatter, XLA's own gradient of it, which is slow on the CPU
    and refused on GPUs in deterministic mode.
    """
    batch, height, width, channels = images.shape
    if not 1 <= window <= min(height, width):
        raise UsageError(
            f"window={window} does not fit images of {height}×{width} pixels: "
            f"give 1 to {min(height, width)}"
        )
    rows, columns = height // window, width // window
    cropped = images[:, : rows * window, : columns * window]
    return cropped.reshape(batch, rows, window, columns, window, channels)


def scale_channels(full: int, width: float) -> int:
    """A number of channels times a factor, 1 or more."""
    return max(1, round(width * full))


def check_pixels(images: Images, halvings: int, network: str) -> None:
    """Refuse images that are too small to be halved so often."""
    if min(images.shape[1:3]) < 2**halvings:
        raise UsageError(
            f"images have shape {images.shape}; {network} halves them {halvings} times and needs "
            f"{2**halvings}×{2**halvings} pixels or more: resize or pad them"
        )


def check_size(num_classes: int, width: float, dropout: float) -> None:
    """Refuse fewer than two classes, a width outside (0, 16], a dropout outside [0, 1)."""
    if num_classes < 2:
        raise UsageError(f"num_classes={num_classes} must be 2 or more")
    if not 0 < width <= 16:
        raise UsageError(f"width={width} must be above 0 and at most 16: 1.0 is the full network")
    if not 0 <= dropout < 1:
        raise UsageError(f"dropout={dropout} must be 0 or more and below 1: give e.g. 0.5")


INITIALIZERS: dict[str, Callable[..., Array]] = {
    "glorot_uniform": initializers.glorot_uniform(),
    "glorot_normal": initializers.glorot_normal(),
    "he_uniform": initializers.he_uniform(),
    "he_normal": initializers.he_normal(),
    "lecun_normal": initializers.lecun_normal(),
    "orthogonal": initializers.orthogonal(),
    "two_over_root_n": initializers.variance_scaling(4.0, "fan_in", "normal"),
    "small_normal": initializers.normal(0.01),
    "constant": initializers.constant(0.01),
    "zeros": initializers.zeros,
}


def initializer(name: str) -> Callable[..., Array]:
    """The initialiser `(key, shape, dtype) -> kernel` of that name.

    Args:
      name: a key of `INITIALIZERS`; `glorot_uniform` is that of Santurkar et al. 2018;
        `two_over_root_n` is Gaussian of deviation 2/√n for n inputs, `small_normal` of deviation
        0.01; with `constant` (0.01) and `zeros` all channels of a layer stay equal.

    Returns:
      The initialiser; kernels have their output channels last.

    Raises:
      UsageError: there is none of that name.

    Source: Glorot & Bengio 2010, He et al. 2015 (1502.01852), LeCun et al. 1998, Saxe et al. 2014.
    """
    if name not in INITIALIZERS:
        raise UsageError(
            f"initializer {name!r} is not known: choose from {', '.join(INITIALIZERS)}"
        )
    return INITIALIZERS[name]
