"""Mean and variance of arrays, and standardisation with them.

Two passes: probes compare nearly equal numbers, and the one-pass E[x²] − E[x]² loses half of the
digits where the mean is large against the deviation.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float


class Moments(NamedTuple):
    """Mean and biased variance, of the shape that is left when the reduced axes are dropped."""

    mean: Float[Array, "*kept"]
    var: Float[Array, "*kept"]


def accumulator(dtype: jnp.dtype) -> jnp.dtype:
    """The type in which means of `dtype` are taken: float32, or `dtype` if it is wider."""
    return jnp.dtype(dtype if jnp.finfo(dtype).bits >= 32 else jnp.float32)


def moments(x: Float[Array, "*shape"], axes: Sequence[int]) -> Moments:
    r"""Mean and biased variance over `axes`, in two passes.

    $\mu = \frac1m\sum_i x_i$,  $\sigma^2 = \frac1m\sum_i (x_i - \mu)^2$.

    Args:
      x: floating-point array. Types narrower than float32 are accumulated in float32.
      axes: the axes to reduce over, e.g. `(0, 1, 2)` for BatchNorm of images
        `[batch, height, width, channels]`.

    Returns:
      `Moments(mean, var)`, float32 or wider.

    Source: Ioffe & Szegedy 2015, Algorithm 1 (biased variance, as normalisation uses it).

    Example:
      >>> import jax.numpy as jnp
      >>> moments(jnp.array([[1.0, 5.0], [3.0, 5.0]]), axes=(0,)).var.tolist()
      [1.0, 0.0]
    """
    x = x.astype(accumulator(x.dtype))
    axes = tuple(axes)
    mean = jnp.mean(x, axes, keepdims=True)
    var = jnp.mean(jnp.square(x - mean), axes)
    return Moments(jnp.squeeze(mean, axes), var)


def standardise(
    x: Float[Array, "*batch channels"],
    mean: Float[Array, " channels"],
    var: Float[Array, " channels"],
    epsilon: float,
) -> Float[Array, "*batch channels"]:
    r"""Channel-wise $(x - \mu) / \sqrt{\sigma^2 + \epsilon}$, in the dtype of `x`.

    Args:
      x: array whose last axis holds the channels.
      mean: mean per channel, units of `x`.
      var: variance per channel, units of `x` squared.
      epsilon: added to the variance, units of `x` squared.

    Returns:
      Array of the shape and dtype of `x`, without unit.

    Source: Ioffe & Szegedy 2015, Algorithm 1.

    Example:
      >>> import jax.numpy as jnp
      >>> one = jnp.ones(1)
      >>> standardise(jnp.array([[3.0]]), one, 4 * one, epsilon=0.0).tolist()
      [[1.0]]
    """
    shape = (1,) * (x.ndim - 1) + mean.shape
    scale = 1 / jnp.sqrt(var + epsilon)
    standardised = (x.astype(mean.dtype) - mean.reshape(shape)) * scale.reshape(shape)
    return standardised.astype(x.dtype)
