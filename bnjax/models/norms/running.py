"""Running statistics of a batch, kept the same way by every normaliser that has them."""

from collections.abc import Mapping

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from bnjax.arithmetic.moments import accumulator

DEFAULTS = {"mean": jnp.zeros, "var": jnp.ones, "size": jnp.ones}


def running(
    module: nn.Module, names: tuple[str, ...], channels: int, dtype: jnp.dtype
) -> tuple[nn.Variable, ...]:
    """The variables of the collection `batch_stats`, each `[channels]`, float32 or wider.

    `MeanOnly` in the guide to extending bnjax is a whole normaliser with them.

    Args:
      module: the normaliser, within its call.
      names: among the keys of `DEFAULTS`.
      channels: of its input.
      dtype: of its input.

    Returns:
      Flax variables in the order of `names`; the mean begins at 0, variance and size at 1. Means
      and sizes are in units of the input, variances in their square.

    Source: Ioffe & Szegedy 2015 (1502.03167), §3.1, whose averages at inference they are.
    """
    wide = accumulator(dtype)
    return tuple(
        module.variable("batch_stats", name, DEFAULTS[name], (channels,), wide) for name in names
    )


def advance(
    module: nn.Module,
    variables: Mapping[str, nn.Variable],
    batch: Mapping[str, Float[Array, " channels"]],
    momentum: float,
) -> None:
    """`momentum · running + (1 − momentum) · batch`, and the batch's own in `moments` if asked for.

    Args:
      module: the normaliser, within its call.
      variables: the running statistics, by name.
      batch: this batch's, by the same names, each `[channels]`, in units of the running ones.
      momentum: weight of the old ones (Flax counts it the other way round from PyTorch).

    Source: Ioffe & Szegedy 2015 (1502.03167), §3.1 (moving averages).
    """
    if module.is_mutable_collection("moments"):
        for name, value in batch.items():
            module.put_variable("moments", name, value)
    if module.is_mutable_collection("batch_stats"):
        for name, variable in variables.items():
            variable.value = momentum * variable.value + (1 - momentum) * batch[name]
