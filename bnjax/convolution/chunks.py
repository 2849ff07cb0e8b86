"""A batch walked through in pieces that stay in the processor's cache between two operations."""

from collections.abc import Callable

import jax
from jax import lax
from jaxtyping import Array

from bnjax.convolution.geometry import Images, Output


def in_pieces(function: Callable[[Images], Output], images: Images, pieces: float) -> Output:
    """`function` over the batch, in about `pieces` equal parts, one after the other.

    What a part makes on its way to the result is made again in the backward pass: kept for the
    whole batch, it would travel to memory and back, which takes as long as the arithmetic.

    Args:
      function: images `[part, height, width, channels]` to `[part, …]`, each image by itself.
      images: `[batch, height, width, channels]`.
      pieces: wanted; the divisor of the batch whose ratio to it is nearest to 1 is taken.

    Returns:
      `[batch, …]`.

    Example:
      >>> import jax.numpy as jnp
      >>> images = jnp.arange(4.0).reshape(4, 1, 1, 1)
      >>> in_pieces(lambda part: 2 * part, images, 2.0).ravel().tolist()
      [0.0, 2.0, 4.0, 6.0]
    """
    batch = images.shape[0]
    count = nearest_divisor(batch, pieces)
    if count == 1:
        return function(images)
    parts = images.reshape(count, batch // count, *images.shape[1:])
    output: Array = lax.map(jax.checkpoint(function), parts)
    return output.reshape(batch, *output.shape[2:])


def nearest_divisor(number: int, wanted: float) -> int:
    """The divisor of `number` whose ratio to `wanted` is nearest to 1."""
    divisors = [d for d in range(1, number + 1) if number % d == 0]
    return min(divisors, key=lambda d: max(d / wanted, wanted / d), default=1)
