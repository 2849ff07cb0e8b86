"""Unitization: batch normalisation, and on top of it a trained share of normalisation by sample."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from bnjax.arithmetic.moments import moments, standardise
from bnjax.models.norms.running import advance, running


class Unitization(nn.Module):
    r"""Standardise by the batch, then divide each sample by its own root mean square in part.

    $\hat x = (x - \mu)/\sqrt{\sigma^2 + \epsilon}$ as in `BatchNorm`,
    $r^2 = \overline{\hat x^2}$ over all elements of one sample, and
    $y = \gamma\,\hat x\,(\alpha / \sqrt{r^2 + \epsilon} + 1 - \alpha) + \beta$
    with a trained α per channel, 0 at the start: there it is BatchNorm.

    Called as `module(x, train=bool)`: x floating, `[batch, …, channels]`; y of the same shape and
    dtype, without unit but for γ and β.

    Collections: `params` (`scale` is γ, `bias` is β, `share` is α), `batch_stats` and `moments` as
    `BatchNorm` has them; all `[channels]`.

    Source: Huang & Yu 2020 (2001.02814), as its published code has it.
    """

    momentum: float = 0.9
    epsilon: float = 1e-5  # units of the input squared; beside the mean square of x̂ without one

    @nn.compact
    def __call__(
        self, x: Float[Array, "*batch channels"], *, train: bool
    ) -> Float[Array, "*batch channels"]:
        """Normalise `x` over all axes but the last, then each sample over its own elements."""
        channels = (x.shape[-1],)
        scale = self.param("scale", nn.initializers.ones, channels, x.dtype)
        bias = self.param("bias", nn.initializers.zeros, channels, x.dtype)
        share = self.param("share", nn.initializers.zeros, channels, x.dtype)
        mean, var = running(self, ("mean", "var"), x.shape[-1], x.dtype)
        statistics = (mean.value, var.value)
        if train:
            own = moments(x, range(x.ndim - 1))
            advance(self, {"mean": mean, "var": var}, own._asdict(), self.momentum)
            statistics = own
        standardised = standardise(x, *statistics, self.epsilon)
        square = jnp.mean(jnp.square(standardised), axis=range(1, x.ndim), keepdims=True)
        shape = (1,) * (x.ndim - 1) + channels
        scale, bias, share = (value.reshape(shape) for value in (scale, bias, share))
        factor = share / jnp.sqrt(square + self.epsilon) + 1 - share
        return scale * standardised * factor + bias
