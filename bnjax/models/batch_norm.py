"""Batch normalisation as a linen module with explicit running statistics."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from bnjax.arithmetic.moments import accumulator, batch_normalise, standardise


class BatchNorm(nn.Module):
    r"""Batch normalisation with explicit running statistics.

    $y = \gamma (x - \mu) / \sqrt{\sigma^2 + \epsilon} + \beta$ per channel, with the batch's
    $\mu, \sigma^2$ when training and the running ones otherwise. The running statistics follow
    `momentum · running + (1 − momentum) · batch` (Flax counts momentum the other way round from
    PyTorch: 0.9 here is 0.1 there) and store the biased variance (PyTorch: unbiased).

    Collections: `batch_stats` (`mean`, `var`), and `moments`, the batch's own statistics, for
    whoever asks for that collection.

    Source: Ioffe & Szegedy 2015, Algorithms 1 and 2.
    """

    momentum: float = 0.9
    epsilon: float = 1e-5

    @nn.compact
    def __call__(
        self, x: Float[Array, "*batch channels"], *, train: bool
    ) -> Float[Array, "*batch channels"]:
        """Normalise `x` over all axes but the last."""
        channels = x.shape[-1]
        scale = self.param("scale", nn.initializers.ones, (channels,), x.dtype)
        bias = self.param("bias", nn.initializers.zeros, (channels,), x.dtype)
        wide = accumulator(x.dtype)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, (channels,), wide)
        running_var = self.variable("batch_stats", "var", jnp.ones, (channels,), wide)
        if not train:
            standardised = standardise(x, running_mean.value, running_var.value, self.epsilon)
            channel_shape = (1,) * (x.ndim - 1) + (channels,)
            return standardised * scale.reshape(channel_shape) + bias.reshape(channel_shape)
        normalised, (mean, var) = batch_normalise(x, scale, bias, self.epsilon)
        if self.is_mutable_collection("moments"):
            self.put_variable("moments", "mean", mean)
            self.put_variable("moments", "var", var)
        if self.is_mutable_collection("batch_stats"):
            for running, batch in ((running_mean, mean), (running_var, var)):
                running.value = self.momentum * running.value + (1 - self.momentum) * batch
        return normalised
