"""Normalisers whose statistics come from one sample at a time, whatever the batch."""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from bnjax.arithmetic.moments import accumulator
from bnjax.errors import UsageError


class SampleNorm(nn.Module):
    r"""Standardise each sample over its pixels and a group of channels, then scale and shift.

    $y = \gamma\,(x - \mu_g)/\sqrt{\sigma_g^2 + \epsilon} + \beta$ with the moments of group g of
    one sample, γ and β per channel. One group is LayerNorm over channels and pixels, a group a
    channel is InstanceNorm; uncentred ($\mu_g = 0$, $\sigma_g^2$ the mean square, no β) with one
    group it is RMSNorm. Nothing is kept, so training and testing do the same.

    Called as `module(x, train=bool)`: x floating, `[batch, …, channels]`; y of the same shape and
    dtype, without unit but for γ and β.

    Collections: `params` (`scale` is γ and, where centred, `bias` is β), both `[channels]`.

    Raises:
      UsageError: in the call, a group of one number only, e.g. of InstanceNorm behind a dense
        layer.

    Source: Ba, Kiros & Hinton 2016 (1607.06450), Ulyanov et al. 2016 (1607.08022), Wu & He 2018
    (1803.08494), Zhang & Sennrich 2019 (1910.07467).
    """

    groups: int | None = 1  # None: as many as channels
    centred: bool = True
    epsilon: float = 1e-5  # units of the input squared

    @nn.compact
    def __call__(
        self, x: Float[Array, "batch *pixels channels"], *, train: bool
    ) -> Float[Array, "batch *pixels channels"]:
        """Normalise each sample of `x`."""
        del train
        channels = x.shape[-1]
        groups = channels if self.groups is None else group_count(channels, self.groups)
        members = x.size // x.shape[0] // groups
        if members == 1:
            raise UsageError(
                f"a normalisation group of an input {x.shape} holds one number only, which would "
                "become 0: use fewer groups, larger images, or another norm such as layer"
            )
        wide = x.astype(accumulator(x.dtype)).reshape(*x.shape[:-1], groups, channels // groups)
        axes = (*range(1, x.ndim - 1), x.ndim)  # pixels, and the channels of a group
        if self.centred:
            wide = wide - jnp.mean(wide, axes, keepdims=True)
        square = jnp.mean(jnp.square(wide), axes, keepdims=True)
        y = (wide / jnp.sqrt(square + self.epsilon)).reshape(x.shape).astype(x.dtype)
        shape = (1,) * (x.ndim - 1) + (channels,)
        y = y * self.param("scale", nn.initializers.ones, (channels,), x.dtype).reshape(shape)
        if not self.centred:
            return y
        bias = self.param("bias", nn.initializers.zeros, (channels,), x.dtype)
        return y + bias.reshape(shape)


def group_count(channels: int, most: int) -> int:
    """The largest number of equal groups that is at most `most` and leaves 4 channels in each.

    Example:
      >>> [group_count(channels, 32) for channels in (6, 16, 64, 128, 512)]
      [1, 4, 16, 32, 32]
    """
    legal = [n for n in range(1, most + 1) if channels % n == 0 and channels // n >= 4]
    return max(legal, default=1)
