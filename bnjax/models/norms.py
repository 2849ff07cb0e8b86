"""Normalisers: constructors that are handed to a model.

A `Norm` builds a fresh linen module for each layer by `build(name="norm")`; the module's call is
`module(x, train=bool)` with the channels last. One's own normaliser needs nothing else.
"""

import functools
from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from bnjax.arithmetic.moments import accumulator, batch_normalise, standardise
from bnjax.errors import UsageError


class Norm(NamedTuple):
    """A named constructor of normalisation modules; `build` is None for no normalisation."""

    name: str
    build: Callable[..., nn.Module] | None


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


def batch_norm(momentum: float = 0.9, epsilon: float = 1e-5) -> Norm:
    """Batch normalisation.

    Args:
      momentum: weight of the old running statistics at each step, in [0, 1).
      epsilon: added to the variance.

    Returns:
      A `Norm` named `batch`.

    Raises:
      UsageError: momentum outside [0, 1) or epsilon below 0.
    """
    if not 0 <= momentum < 1:
        raise UsageError(f"momentum={momentum} must be in [0, 1): give e.g. 0.9")
    if not epsilon >= 0:
        raise UsageError(f"epsilon={epsilon} must be 0 or more: give e.g. 1e-5")
    return Norm("batch", functools.partial(BatchNorm, momentum=momentum, epsilon=epsilon))


def none() -> Norm:
    """No normalisation: the "standard" network of Santurkar et al. 2018."""
    return Norm("none", None)


REGISTRY: dict[str, Callable[[], Norm]] = {"none": none, "batch": batch_norm}


def by_name(name: str) -> Norm:
    """The normaliser of that name with its default options.

    Args:
      name: a key of `REGISTRY`.

    Raises:
      UsageError: there is none of that name.
    """
    if name not in REGISTRY:
        raise UsageError(f"norm {name!r} is not known: choose from {', '.join(REGISTRY)}")
    return REGISTRY[name]()
