"""Normalisers with statistics of the batch: BatchNorm, average ℓp norms, unitization.

Each is called as `module(x, train=bool)`: x floating, `[batch, …, channels]`; the output has x's
shape and dtype, and no unit but that of γ and β. Its collections are `params` (`scale` is γ, `bias`
is β), `batch_stats` (the running statistics), and `moments`, the batch's own statistics, which are
stored if a caller asks for that collection. All are `[channels]`, statistics float32 or wider.
"""

import functools
import math
from collections.abc import Callable
from typing import Literal, TypeAlias

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from bnjax.arithmetic import euclidean
from bnjax.arithmetic.moments import batch_normalise, channelwise, moments, standardise
from bnjax.errors import UsageError
from bnjax.models.norms.norm import Norm, advance, check_epsilon, check_momentum, running


class BatchNorm(nn.Module):
    r"""Batch normalisation with explicit running statistics.

    $y = \gamma (x - \mu) / \sqrt{\sigma^2 + \epsilon} + \beta$ per channel, with the batch's
    $\mu, \sigma^2$ when training and the running ones otherwise. The running statistics (`mean`,
    `var`) follow `momentum · running + (1 − momentum) · batch` (PyTorch counts momentum the other
    way round: 0.9 here is 0.1 there) and store the biased variance (PyTorch: unbiased).

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
            return standardised * channelwise(scale, x) + channelwise(bias, x)
        normalised, own = batch_normalise(x, scale, bias, self.epsilon)
        advance(self, {"mean": mean, "var": var}, own._asdict(), self.momentum)
        return normalised


Average: TypeAlias = Literal["together", "each", "centred"]


class LpNorm(nn.Module):
    r"""Subtract the batch's mean, divide by its average ℓp norm.

    $y = \gamma (x - \mu) / s_p + \beta$ per channel with $s_p = (\frac1m \sum_i |x_i|^p)^{1/p}$
    and $s_\infty = \max_i |x_i|$, over the batch and, for images, the pixels. The norm is that of
    x before the mean is subtracted, so a constant channel is not blown up. For p = ∞ the paper's
    "average" is ambiguous; the maximum is the limit of $s_p$ for p → ∞. `average` has two more
    readings. The running statistics are `mean` (μ) and `size` ($s_p$), both in units of x.

    Source: Santurkar et al. 2018, §3.3 and appendix A.4.
    """

    power: float  # p, 1 or more; `math.inf` for the maximum
    momentum: float = 0.9
    epsilon: float = 1e-5  # added to the norm, units of the input
    average: Average = "together"

    @nn.compact
    def __call__(
        self, x: Float[Array, "*batch channels"], *, train: bool
    ) -> Float[Array, "*batch channels"]:
        """Normalise `x` over all axes but the last."""
        scale = self.param("scale", nn.initializers.ones, x.shape[-1:], x.dtype)
        bias = self.param("bias", nn.initializers.zeros, x.shape[-1:], x.dtype)
        kept = running(self, ("mean", "size"), x.shape[-1], x.dtype)
        mean, size = kept[0].value, kept[1].value
        wide = x.astype(mean.dtype)
        if train:
            mean = jnp.mean(wide, range(x.ndim - 1))
            measured = wide - channelwise(mean, x) if self.average == "centred" else wide
            size = average_norm(measured, self.power, each=self.average == "each")
            variables = {"mean": kept[0], "size": kept[1]}
            advance(self, variables, {"mean": mean, "size": size}, self.momentum)
        centred = (wide - channelwise(mean, x)) / channelwise(size + self.epsilon, x)
        return centred.astype(x.dtype) * channelwise(scale, x) + channelwise(bias, x)


def average_norm(
    x: Float[Array, "*batch channels"], power: float, *, each: bool = False
) -> Float[Array, " channels"]:
    """(mean |x|^p)^(1/p) per channel over all other axes; the maximum for p = ∞.

    With `each` the mean over examples of that over an example's own pixels. Of a channel that is
    all zero it has no derivative, and those taken here are 0.
    """
    axes = tuple(range(1 if each else 0, x.ndim - 1))
    sizes = norm_over(x, power, axes)
    return jnp.mean(sizes, 0) if each else sizes


def norm_over(
    x: Float[Array, "*shape"], power: float, axes: tuple[int, ...]
) -> Float[Array, "*kept"]:
    """(mean |x|^p)^(1/p) over some axes, whose powers neither overflow nor vanish."""
    if math.isinf(power):
        return jnp.max(jnp.abs(x), axes)
    if power == 1:
        return jnp.mean(jnp.abs(x), axes)
    scale = euclidean.power_of_two(euclidean.largest_magnitude(x, axes))
    x = x * (1 / scale)
    if power == 2:
        powers = jnp.square(x)
    else:  # of an element that is 0, derivatives are 0, not 0 times infinity
        powers = jnp.where(x == 0, 0, jnp.where(x == 0, 1, jnp.abs(x)) ** power)
    mean = jnp.mean(powers, axes)
    dead = mean == 0
    found = jnp.squeeze(scale, axes) * jnp.where(dead, 1, mean) ** (1 / power)
    # The smallest normal number in place of 0, by which nobody can divide.
    return jnp.where(dead, jnp.finfo(x.dtype).tiny ** (1 / power), found)


class Unitization(nn.Module):
    r"""Standardise by the batch, then divide each sample by its own root mean square in part.

    $\hat x = (x - \mu)/\sqrt{\sigma^2 + \epsilon}$ as in `BatchNorm`,
    $r^2 = \overline{\hat x^2}$ over all elements of one sample, and
    $y = \gamma\,\hat x\,(\alpha / \sqrt{r^2 + \epsilon} + 1 - \alpha) + \beta$
    with a trained α per channel (`share`), 0 at the start: there it is BatchNorm.

    Source: Huang & Yu 2020 (2001.02814), as its published code has it.
    """

    momentum: float = 0.9
    epsilon: float = 1e-5  # units of the input squared; added to r², which has no unit, too

    @nn.compact
    def __call__(
        self, x: Float[Array, "*batch channels"], *, train: bool
    ) -> Float[Array, "*batch channels"]:
        """Normalise `x` over all axes but the last, then each sample over its own elements."""
        scale, bias, share = (
            channelwise(self.param(name, init, x.shape[-1:], x.dtype), x)
            for name, init in (
                ("scale", nn.initializers.ones),
                ("bias", nn.initializers.zeros),
                ("share", nn.initializers.zeros),
            )
        )
        mean, var = running(self, ("mean", "var"), x.shape[-1], x.dtype)
        statistics = (mean.value, var.value)
        if train:
            statistics = own = moments(x, range(x.ndim - 1))
            advance(self, {"mean": mean, "var": var}, own._asdict(), self.momentum)
        standardised = standardise(x, *statistics, self.epsilon)
        square = jnp.mean(jnp.square(standardised), axis=range(1, x.ndim), keepdims=True)
        factor = share / jnp.sqrt(square + self.epsilon) + 1 - share
        return scale * standardised * factor + bias


def batch_norm(
    momentum: float = 0.9,
    epsilon: float = 1e-5,
    *,
    scale_init: Callable[..., Array] = nn.initializers.ones,
    use_scale: bool = True,
    use_bias: bool = True,
) -> Norm:
    """Batch normalisation, y = γ (x − μ)/√(σ² + ε) + β with the batch's moments; see `BatchNorm`.

    Args:
      momentum: weight of the old running statistics at each step, in [0, 1).
      epsilon: added to the variance, units of the input squared.
      scale_init: `(key, shape, dtype) -> γ` before the first step.
      use_scale: train a γ per channel, else it is 1.
      use_bias: train a β per channel, else it is 0.

    Returns:
      A `Norm` named `batch`.
    """
    check_momentum(momentum)
    check_epsilon(epsilon)
    build = functools.partial(BatchNorm, momentum, epsilon, scale_init, use_scale, use_bias)
    return Norm("batch", build, batch_statistics=True, cancels_bias=True)


def lp_norm(
    power: float, momentum: float = 0.9, epsilon: float = 1e-5, *, average: Average = "together"
) -> Norm:
    """Mean of the batch, average ℓp norm of the batch; see `LpNorm`.

    Args:
      power: p, 1 or more; `math.inf` for the maximum.
      momentum: weight of the old running statistics at each step, in [0, 1).
      epsilon: added to the norm, units of the input.
      average: how the paper's "average" norm is read: `together`, one norm over batch and pixels;
        `each`, the mean over examples of the norms over their pixels; `centred`, as `together` but
        of x − μ.

    Returns:
      A `Norm` named `l1`, `l2`, `linf`, ….

    Raises:
      UsageError: a power below 1, momentum outside [0, 1) or epsilon below 0.
    """
    if not power >= 1:
        raise UsageError(f"power={power} must be 1 or more: give 1, 2 or math.inf")
    check_momentum(momentum)
    check_epsilon(epsilon)
    name = "linf" if math.isinf(power) else f"l{power:g}"
    return Norm(
        name, functools.partial(LpNorm, power, momentum, epsilon, average), batch_statistics=True
    )


def unitize(momentum: float = 0.9, epsilon: float = 1e-5) -> Norm:
    """Batch normalisation and a trained share of unit size for each sample; see `Unitization`.

    Args:
      momentum: weight of the old running statistics at each step, in [0, 1).
      epsilon: added to the variance, units of the input squared, and to the mean square of the
        standardised input, which has no unit.

    Returns:
      A `Norm` named `unitize`.
    """
    check_momentum(momentum)
    check_epsilon(epsilon)
    build = functools.partial(Unitization, momentum, epsilon)
    return Norm("unitize", build, batch_statistics=True, cancels_bias=True)
