"""Pooling over windows that do not overlap, by reshape.

So max-pooling needs no select-and-scatter, XLA's own gradient of it, which is slow on the CPU and
refused on GPUs in deterministic mode.
"""

import jax.numpy as jnp
from jaxtyping import Array, Float

from bnjax.errors import UsageError
from bnjax.types import Images


def max_pool(images: Images, window: int) -> Float[Array, "batch new_height new_width channels"]:
    r"""Maximum over non-overlapping windows; rows and columns that fill no window are dropped.

    $y_{bhwc} = \max_{0 \le i, j < n} x_{b,\,nh + i,\,nw + j,\,c}$

    Args:
      images: `[batch, height, width, channels]`.
      window: side of the square window, pixels; also the stride.

    Returns:
      `[batch, height // window, width // window, channels]`.

    Raises:
      UsageError: a window below 1 or larger than the image.

    Example:
      >>> max_pool(jnp.arange(16.0).reshape(1, 4, 4, 1), 2).reshape(-1).tolist()
      [5.0, 7.0, 13.0, 15.0]
    """
    return jnp.max(windows(images, window), axis=(2, 4))


def mean_pool(images: Images, window: int) -> Float[Array, "batch new_height new_width channels"]:
    """Mean over non-overlapping windows; shapes and errors as of `max_pool`.

    Args:
      images: `[batch, height, width, channels]`.
      window: side of the square window, pixels; also the stride.

    Example:
      >>> mean_pool(jnp.arange(16.0).reshape(1, 4, 4, 1), 2).reshape(-1).tolist()
      [2.5, 4.5, 10.5, 12.5]
    """
    return jnp.mean(windows(images, window), axis=(2, 4))


def windows(
    images: Images, window: int
) -> Float[Array, "batch rows window columns window channels"]:
    """The windows of images, those that are whole."""
    batch, height, width, channels = images.shape
    if not 1 <= window <= min(height, width):
        raise UsageError(
            f"window={window} does not fit images of {height}×{width} pixels: "
            f"give 1 to {min(height, width)}"
        )
    rows, columns = height // window, width // window
    cropped = images[:, : rows * window, : columns * window]
    return cropped.reshape(batch, rows, window, columns, window, channels)
