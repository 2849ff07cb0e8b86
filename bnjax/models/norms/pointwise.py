"""What takes a normaliser's place and has no statistics: functions of each number by itself.

Each is called as `module(x, train=bool)`: x floating, `[batch, …, channels]`; the output has x's
shape and dtype. Whatever the scale of the layers before, it stays in what follows.
"""

import functools
from typing import Literal

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from bnjax.arithmetic.moments import channelwise
from bnjax.models.norms.norm import Norm


class Pointwise(nn.Module):
    r"""A saturating function of each number, then scale and shift.

    $y = \gamma \tanh(\alpha x) + \beta$ (DyT) or $y = \gamma\,\mathrm{erf}(\alpha x + s) + \beta$
    (Derf). `params` holds the scalars `alpha` (α) and, of Derf, `shift` (s, 0 at the start), and
    `scale` (γ) and `bias` (β), `[channels]`.

    Source: Zhu et al. 2025 (2503.10622) for DyT; Chen et al. 2025 (2512.10938) for Derf, 2604.01563
    for Derf under Muon.
    """

    function: Literal["tanh", "erf"]
    alpha: float = 0.5  # at the start; per unit of the input

    @nn.compact
    def __call__(
        self, x: Float[Array, "*batch channels"], *, train: bool
    ) -> Float[Array, "*batch channels"]:
        """Bend each number of `x`."""
        del train
        z = x * self.param("alpha", nn.initializers.constant(self.alpha), (), x.dtype)
        if self.function == "erf":
            z = jax.lax.erf(z + self.param("shift", nn.initializers.zeros, (), x.dtype))
        else:
            z = jnp.tanh(z)
        scale = self.param("scale", nn.initializers.ones, x.shape[-1:], x.dtype)
        bias = self.param("bias", nn.initializers.zeros, x.shape[-1:], x.dtype)
        return z * channelwise(scale, x) + channelwise(bias, x)


class SkipInit(nn.Module):
    r"""One trained factor, $y = \alpha x$ with α = 0 at the start; `params` holds it as `scale`.

    At the end of every branch of a residual network, which then begins as the identity.

    Source: De & Smith 2020 (2002.10444).
    """

    @nn.compact
    def __call__(
        self, x: Float[Array, "*batch channels"], *, train: bool
    ) -> Float[Array, "*batch channels"]:
        """Scale `x`."""
        del train
        return x * self.param("scale", nn.initializers.zeros, (), x.dtype)


def dyt(alpha: float = 0.5) -> Norm:
    """Dynamic tanh, see `Pointwise`.

    Args:
      alpha: α at the start, per unit of the input.

    Returns:
      A `Norm` named `dyt`.
    """
    return Norm("dyt", functools.partial(Pointwise, function="tanh", alpha=alpha))


def derf(alpha: float = 0.5) -> Norm:
    """Dynamic erf, see `Pointwise`.

    Args:
      alpha: α at the start, per unit of the input.

    Returns:
      A `Norm` named `derf`.
    """
    return Norm("derf", functools.partial(Pointwise, function="erf", alpha=alpha))


def skip_init() -> Norm:
    """No normaliser, but a factor at the end of residual branches, see `SkipInit`.

    Returns:
      A `Norm` named `skipinit`, for `bnjax.models.gpt` and `bnjax.models.vit`.
    """
    return Norm("skipinit", SkipInit, branch_end=True)
