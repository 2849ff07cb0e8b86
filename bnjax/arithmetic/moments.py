"""Mean and variance of arrays, and standardisation with them.

Two passes: probes compare nearly equal numbers, and the one-pass E[x²] − E[x]² loses half of the
digits where the mean is large against the deviation.
"""

import functools
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


class Moments(NamedTuple):
    """Mean and biased variance over some axes, which the result does not have."""

    mean: Float[Array, "*kept"]
    var: Float[Array, "*kept"]


def accumulator(dtype: jnp.dtype) -> jnp.dtype:
    """The type in which means of `dtype` are taken: float32, or `dtype` if it is wider."""
    return jnp.dtype(dtype if jnp.finfo(dtype).bits >= 32 else jnp.float32)


def channelwise(values: Float[Array, " channels"], x: Float[Array, "..."]) -> Float[Array, "..."]:
    """Values of channels in the shape that broadcasts along the last axis of x."""
    return values.reshape((1,) * (x.ndim - 1) + values.shape)


def moments(x: Float[Array, "*shape"], axes: Sequence[int]) -> Moments:
    r"""Mean and biased variance over `axes`, in two passes.

    $\mu = \frac1m\sum_i x_i$,  $\sigma^2 = \frac1m\sum_i (x_i - \mu)^2$.

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


def moment_changes(
    before: Float[Array, "*shape"], after: Float[Array, "*shape"], axes: Sequence[int]
) -> Moments:
    r"""By how much mean and variance differ between two states of the same samples.

    With $\delta_i = x'_i - x_i$ the means differ by $\bar\delta$, the biased variances by
    $\frac1m\sum_i (\delta_i - \bar\delta)(x_i - \mu + x'_i - \mu')$. A difference of two moments
    would lose the digits that the two have in common.

    Example:
      >>> import jax.numpy as jnp
      >>> x = jnp.array([1.0, 3.0])
      >>> [change.item() for change in moment_changes(x, 2 * x, axes=(0,))]
      [2.0, 3.0]
    """
    wide, axes = accumulator(before.dtype), tuple(axes)
    before, after = before.astype(wide), after.astype(wide)
    change = after - before
    mean = jnp.mean(change, axes, keepdims=True)
    sums = before + after
    sums = sums - jnp.mean(sums, axes, keepdims=True)
    return Moments(jnp.squeeze(mean, axes), jnp.mean((change - mean) * sums, axes))


def standardise(
    x: Float[Array, "*batch channels"],
    mean: Float[Array, " channels"],
    var: Float[Array, " channels"],
    epsilon: float,
) -> Float[Array, "*batch channels"]:
    r"""Channel-wise $(x - \mu) / \sqrt{\sigma^2 + \epsilon}$, in the dtype of `x`.

    Source: Ioffe & Szegedy 2015, Algorithm 1.

    Example:
      >>> import jax.numpy as jnp
      >>> one = jnp.ones(1)
      >>> standardise(jnp.array([[3.0]]), one, 4 * one, epsilon=0.0).tolist()
      [[1.0]]
    """
    scale = channelwise(1 / jnp.sqrt(var + epsilon), x)
    return ((x.astype(mean.dtype) - channelwise(mean, x)) * scale).astype(x.dtype)


@functools.partial(jax.custom_jvp, nondiff_argnums=(3,))
def batch_normalise(
    x: Float[Array, "*batch channels"],
    scale: Float[Array, " channels"],
    bias: Float[Array, " channels"],
    epsilon: float,
) -> tuple[Float[Array, "*batch channels"], Moments]:
    r"""Normalise each channel by its own mean and variance, then scale and shift it.

    $y = \gamma \hat x + \beta$ with $\hat x = (x - \mu) / \sqrt{\sigma^2 + \epsilon}$ and the
    moments over all axes but the last. The derivative has the closed form
    $dy = k\,(dx - \overline{dx} - \hat x\,\overline{\hat x\,dx}) + \hat x\,d\gamma + d\beta$
    with $k = \gamma / \sqrt{\sigma^2 + \epsilon}$, a symmetric map of $dx$: the backward pass is
    two sums over the batch, shared with the gradients of γ and β, and takes half the time of
    differentiating the formula. It can be differentiated again.

    Source: Ioffe & Szegedy 2015, Algorithm 1 and the derivatives below it.
    """
    y, statistics, _, _ = _normalise(x, scale, bias, epsilon)
    return y, statistics


def _normalise(
    x: Array, scale: Array, bias: Array, epsilon: float
) -> tuple[Array, Moments, Array, Array]:
    statistics = moments(x, axes=range(x.ndim - 1))
    inverse = 1 / jnp.sqrt(statistics.var + epsilon)
    centred = x.astype(inverse.dtype) - channelwise(statistics.mean, x)
    standardised = centred * channelwise(inverse, x)
    y = standardised.astype(x.dtype) * channelwise(scale, x) + channelwise(bias, x)
    return y, statistics, standardised, inverse


@batch_normalise.defjvp
def _batch_normalise_jvp(
    epsilon: float, primals: tuple[Array, Array, Array], tangents: tuple[Array, Array, Array]
) -> tuple[tuple[Array, Moments], tuple[Array, Moments]]:
    x, scale, bias = primals
    y, statistics, standardised, inverse = _normalise(x, scale, bias, epsilon)
    wide = inverse.dtype
    dx, dscale, dbias = (tangent.astype(wide) for tangent in tangents)
    axes, count = tuple(range(x.ndim - 1)), x.size // scale.size
    # Factors multiply the sums, not dx, so that the transpose has bare sums over the batch, which
    # are also the gradients of β and γ: the compiler computes them once.
    total, projection = jnp.sum(dx, axes), jnp.sum(standardised * dx, axes)
    factor = scale.astype(wide) * inverse
    constant = channelwise(dbias - factor * total / count, x)
    along = channelwise(dscale - factor * projection / count, x)
    dy = channelwise(factor, x) * dx + along * standardised + constant
    dvar = 2 * projection / (inverse * count)
    return (y, statistics), (dy.astype(x.dtype), Moments(total / count, dvar))
