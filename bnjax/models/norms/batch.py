"""Batch normalisation as a linen module with explicit running statistics."""

from collections.abc import Callable

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from bnjax.arithmetic.moments import batch_normalise, standardise
from bnjax.models.norms.running import advance, running


class BatchNorm(nn.Module):
    r"""Batch normalisation with explicit running statistics.

    $y = \gamma (x - \mu) / \sqrt{\sigma^2 + \epsilon} + \beta$ per channel, with the batch's
    $\mu, \sigma^2$ when training and the running ones otherwise. The running statistics follow
    `momentum · running + (1 − momentum) · batch` (Flax counts momentum the other way round from
    PyTorch: 0.9 here is 0.1 there) and store the biased variance (PyTorch: unbiased).

    Called as `module(x, train=bool)`: x floating, `[batch, …, channels]`; y of the same shape and
    dtype, without unit but for γ and β.

    Collections: `params` (`scale` is γ, `bias` is β), `batch_stats` (`mean`, `var`), and
    `moments`, the batch's own statistics, for whoever asks for that collection; all `[channels]`,
    statistics float32 or wider, in units of x and of x squared.

    Source: Ioffe & Szegedy 2015, Algorithms 1 and 2.
    """

    momentum: float = 0.9
    epsilon: float = 1e-5  # units of the input squared
    scale_init: Callable[..., Array] = nn.initializers.ones
    use_scale: bool = True
    use_bias: bool = True

    @nn.compact
    def __call__(
        self, x: Float[Array, "*batch channels"], *, train: bool
    ) -> Float[Array, "*batch channels"]:
        """Normalise `x` over all axes but the last."""
        shape = (x.shape[-1],)
        scale, bias = jnp.ones(shape, x.dtype), jnp.zeros(shape, x.dtype)
        if self.use_scale:
            scale = self.param("scale", self.scale_init, shape, x.dtype)
        if self.use_bias:
            bias = self.param("bias", nn.initializers.zeros, shape, x.dtype)
        mean, var = running(self, ("mean", "var"), x.shape[-1], x.dtype)
        if not train:
            standardised = standardise(x, mean.value, var.value, self.epsilon)
            channel_shape = (1,) * (x.ndim - 1) + shape
            return standardised * scale.reshape(channel_shape) + bias.reshape(channel_shape)
        normalised, own = batch_normalise(x, scale, bias, self.epsilon)
        advance(self, {"mean": mean, "var": var}, own._asdict(), self.momentum)
        return normalised
