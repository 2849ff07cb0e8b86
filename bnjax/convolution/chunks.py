"""A batch processed in chunks that stay in the processor's cache between two operations."""

from collections.abc import Callable

import jax
from jax import lax
from jaxtyping import Array

from bnjax.convolution.geometry import Images, Output


def in_chunks(function: Callable[[Images], Output], images: Images, chunks: float) -> Output:
    """`function` over the batch, in about `chunks` equal parts, one after the other.

    The backward pass recomputes the intermediate arrays of a part: kept for the whole batch, they
    would travel to memory and back, which takes as long as the arithmetic.

    Example:
      >>> import jax.numpy as jnp
      >>> images = jnp.arange(4.0).reshape(4, 1, 1, 1)
      >>> in_chunks(lambda part: 2 * part, images, 2.0).ravel().tolist()
      [0.0, 2.0, 4.0, 6.0]
    """
    batch = images.shape[0]
    count = nearest_divisor(batch, chunks)
    if count == 1:
        return function(images)
    parts = images.reshape(count, batch // count, *images.shape[1:])
    output: Array = lax.map(jax.checkpoint(function), parts)
    return output.reshape(batch, *output.shape[2:])


def nearest_divisor(number: int, wanted: float) -> int:
    """The divisor of `number` whose ratio to `wanted` is nearest to 1."""
    divisors = [d for d in range(1, number + 1) if number % d == 0]
    return min(divisors, key=lambda d: max(d / wanted, wanted / d), default=1)
