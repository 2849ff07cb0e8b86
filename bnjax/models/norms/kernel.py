"""Normalisers of kernels; activations stay as they are.

Each is called as `module(kernel)`: floating, `[…, channels]`, output channels last. The result has
the kernel's shape and dtype. `params` holds `scale`, `[channels]`, in units of the result.
"""

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from bnjax.arithmetic import euclidean
from bnjax.arithmetic.layers import flax_kernel
from bnjax.arithmetic.moments import channelwise
from bnjax.models.norms.norm import Norm


class WeightStandardisation(nn.Module):
    r"""Each output channel's kernel with mean 0 and, times its fan-in, variance $\gamma^2$.

    $\hat w = \gamma\,(w - \bar w) / \sqrt{\max(n\,\mathrm{Var}(w), \epsilon)}$ over the n
    inputs of a channel; γ (`scale`) is trained. The factor 1/√n keeps activations from growing
    where no other normaliser follows.

    Source: Qiao et al. 2019 (1903.10520), Brock et al. 2021 (2101.08692), eq. 2.
    """

    epsilon: float = 1e-4  # units of the kernel squared

    @nn.compact
    def __call__(
        self, kernel: Float[Array, "*fan_in channels"]
    ) -> Float[Array, "*fan_in channels"]:
        """The kernel that the layer uses."""
        axes = flax_kernel(kernel.ndim).within_filter(kernel.ndim)
        fan_in = kernel.size // kernel.shape[-1]
        scale = self.param("scale", nn.initializers.ones, kernel.shape[-1:], kernel.dtype)
        centred = kernel - jnp.mean(kernel, axes, keepdims=True)
        variance = jnp.mean(jnp.square(centred), axes, keepdims=True)
        inverse = 1 / jnp.sqrt(jnp.maximum(variance * fan_in, self.epsilon))
        return centred * inverse * channelwise(scale, kernel)


class WeightNorm(nn.Module):
    r"""Each output channel's kernel as a length and a direction, $\hat w = g\,w/\|w\|_2$.

    The length g (`scale`) is trained and begins as ‖w‖, so that the network begins as the plain
    one. A kernel of zeros has no direction: it stays as it is, with the gradient of the plain one.

    Source: Salimans & Kingma 2016 (1602.07868), eq. 2.
    """

    @nn.compact
    def __call__(
        self, kernel: Float[Array, "*fan_in channels"]
    ) -> Float[Array, "*fan_in channels"]:
        """The kernel that the layer uses."""
        axes = flax_kernel(kernel.ndim).within_filter(kernel.ndim)
        length = euclidean.norm(kernel, axes)
        scale = self.param("scale", lambda _: length)
        factor = jnp.where(length == 0, 1, scale / jnp.where(length == 0, 1, length))
        return kernel * channelwise(factor, kernel)


def weight_standard() -> Norm:
    """Kernels of mean 0 and unit size, see `WeightStandardisation`.

    Returns:
      A `Norm` named `weight_standard`.
    """
    return Norm("weight_standard", reparametrise=WeightStandardisation)


def weight_norm() -> Norm:
    """Kernels as lengths and directions, see `WeightNorm`.

    Returns:
      A `Norm` named `weight_norm`.
    """
    return Norm("weight_norm", reparametrise=WeightNorm)
