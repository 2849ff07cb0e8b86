"""Normalisation by an average ℓp norm in place of the standard deviation."""

import math

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from bnjax.models.norms.running import advance, running


class LpNorm(nn.Module):
    r"""Subtract the batch's mean, divide by its average ℓp norm.

    $y = \gamma (x - \mu) / s_p + \beta$ per channel with $s_p = (\frac1m \sum_i |x_i|^p)^{1/p}$
    and $s_\infty = \max_i |x_i|$, over the batch and, for images, the pixels. The norm is that of
    x before the mean is taken off, so a constant channel is not blown up. For p = ∞ the paper's
    "average" is ambiguous; the maximum is the limit of $s_p$ for p → ∞.

    Called as `module(x, train=bool)`: x floating, `[batch, …, channels]`; y of the same shape and
    dtype, without unit but for γ and β.

    Collections: `params` (`scale` is γ, `bias` is β), `batch_stats` (`mean` is μ, `size` is
    $s_p$, both in units of x) and `moments`, as `BatchNorm` has them; all `[channels]`.

    Source: Santurkar et al. 2018, §3.3 and appendix A.4.
    """

    power: float  # p, 1 or more; `math.inf` for the maximum
    momentum: float = 0.9
    epsilon: float = 1e-5  # added to the norm, units of the input

    @nn.compact
    def __call__(
        self, x: Float[Array, "*batch channels"], *, train: bool
    ) -> Float[Array, "*batch channels"]:
        """Normalise `x` over all axes but the last."""
        channels = x.shape[-1]
        scale = self.param("scale", nn.initializers.ones, (channels,), x.dtype)
        bias = self.param("bias", nn.initializers.zeros, (channels,), x.dtype)
        running_mean, running_size = running(self, ("mean", "size"), channels, x.dtype)
        wide = running_mean.value.dtype
        mean, size = running_mean.value, running_size.value
        if train:
            axes = tuple(range(x.ndim - 1))
            mean, size = jnp.mean(x.astype(wide), axes), average_norm(x.astype(wide), self.power)
            kept = {"mean": running_mean, "size": running_size}
            advance(self, kept, {"mean": mean, "size": size}, self.momentum)
        shape = (1,) * (x.ndim - 1) + (channels,)
        centred = (x.astype(wide) - mean.reshape(shape)) / (size + self.epsilon).reshape(shape)
        return centred.astype(x.dtype) * scale.reshape(shape) + bias.reshape(shape)


def average_norm(x: Float[Array, "*batch channels"], power: float) -> Float[Array, " channels"]:
    """(mean |x|^p)^(1/p) per channel over all other axes; the maximum for p = ∞."""
    axes = tuple(range(x.ndim - 1))
    if math.isinf(power):
        return jnp.max(jnp.abs(x), axes)
    if power == 1:
        return jnp.mean(jnp.abs(x), axes)
    # The smallest normal number keeps the root differentiable where a channel is all zero.
    return (jnp.mean(jnp.abs(x) ** power, axes) + jnp.finfo(x.dtype).tiny) ** (1 / power)
