"""Normalisers whose statistics come from one sample at a time, whatever the batch."""

import functools

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from bnjax.arithmetic.moments import accumulator, channelwise
from bnjax.errors import UsageError
from bnjax.models.norms.norm import Norm, check_epsilon


class SampleNorm(nn.Module):
    r"""Standardise each sample over its pixels and a group of channels, then scale and shift.

    $y = \gamma\,(x - \mu_g)/\sqrt{\sigma_g^2 + \epsilon} + \beta$ with the moments of group g of
    one sample, γ and β per channel. One group gives LayerNorm over channels and pixels, a group per
    channel InstanceNorm; one group without centring ($\mu_g = 0$, $\sigma_g^2$ the mean square, no
    β) RMSNorm. There are no running statistics: training and testing do the same.

    Called as `module(x, train=bool)`: x floating, `[batch, …, channels]`; y of the same shape and
    dtype, without unit but that of γ and β. `params` holds `scale` (γ) and, where centred, `bias`
    (β), both `[channels]`.

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
        y = y * channelwise(self.param("scale", nn.initializers.ones, (channels,), x.dtype), x)
        if not self.centred:
            return y
        return y + channelwise(self.param("bias", nn.initializers.zeros, (channels,), x.dtype), x)


def group_count(channels: int, most: int) -> int:
    """The largest number of equal groups that is at most `most` and leaves 4 channels in each.

    Example:
      >>> [group_count(channels, 32) for channels in (6, 16, 64, 128, 512)]
      [1, 4, 16, 32, 32]
    """
    legal = [n for n in range(1, most + 1) if channels % n == 0 and channels // n >= 4]
    return max(legal, default=1)


def layer_norm(epsilon: float = 1e-5) -> Norm:
    """Each sample over all its channels and pixels; see `SampleNorm`.

    Args:
      epsilon: added to the variance, units of the input squared.

    Returns:
      A `Norm` named `layer`.
    """
    check_epsilon(epsilon)
    return Norm("layer", functools.partial(SampleNorm, groups=1, epsilon=epsilon))


def group_norm(groups: int = 32, epsilon: float = 1e-5) -> Norm:
    """Each sample over its pixels and groups of channels; see `SampleNorm`.

    Args:
      groups: number of groups; of narrow layers as many as leave four channels in each.
      epsilon: added to the variance, units of the input squared.

    Returns:
      A `Norm` named `group`.

    Raises:
      UsageError: no group, or epsilon below 0.
    """
    if groups < 1:
        raise UsageError(f"groups={groups} must be 1 or more: give e.g. 32")
    check_epsilon(epsilon)
    return Norm("group", functools.partial(SampleNorm, groups=groups, epsilon=epsilon))


def instance_norm(epsilon: float = 1e-5) -> Norm:
    """Each sample over the pixels of one channel, see `SampleNorm`; not for dense layers.

    Args:
      epsilon: added to the variance, units of the input squared.

    Returns:
      A `Norm` named `instance`; its call raises a `UsageError` where a channel has one pixel.
    """
    check_epsilon(epsilon)
    build = functools.partial(SampleNorm, groups=None, epsilon=epsilon)
    return Norm("instance", build, cancels_bias=True)


def rms_norm(epsilon: float = 1e-5) -> Norm:
    """Each sample by its root mean square over channels and pixels; see `SampleNorm`.

    Args:
      epsilon: added to the mean square, units of the input squared.

    Returns:
      A `Norm` named `rms`.
    """
    check_epsilon(epsilon)
    return Norm("rms", functools.partial(SampleNorm, groups=1, centred=False, epsilon=epsilon))
