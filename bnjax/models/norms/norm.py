"""A normaliser as a model sees it, and the options that normalisers share."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import flax.linen as nn
import jax.numpy as jnp
from jaxtyping import Array, Float

from bnjax.arithmetic.moments import accumulator
from bnjax.errors import UsageError


class Norm(NamedTuple):
    """A named constructor of normalisation modules; `build` is None for no normalisation.

    Attributes:
      name: as in `bnjax.norms.REGISTRY`.
      build: `build(name="norm")` gives a fresh linen module; it is called as
        `module(x, train=bool)`, x `[batch, …, channels]`, and returns x's own shape and dtype.
      reparametrise: `reparametrise(name="kernel_norm")` gives a fresh linen module, for
        normalisers of kernels; it is called as `module(kernel)`, `[…, channels]`, and returns the
        kernel's own shape and dtype.
      batch_statistics: whether what one example becomes depends on the others of its batch.
      cancels_bias: whether a constant added to a channel leaves the output as it was, so that the
        gradient of the layer's bias is rounding, as BatchNorm's is.
      exceptions: other normalisers for some layers, by the layer's name.
      branch_end: whether it stands at the end of residual branches and nowhere else, whatever the
        place of normalisers.
    """

    name: str
    build: Callable[..., nn.Module] | None = None
    reparametrise: Callable[..., nn.Module] | None = None
    batch_statistics: bool = False
    cancels_bias: bool = False
    exceptions: tuple[tuple[str, "Norm"], ...] = ()
    branch_end: bool = False

    def for_layer(self, layer: str | None) -> "Norm":
        """The normaliser of one layer."""
        return dict(self.exceptions).get(layer or "", self)

    def kernel(self, kernel: Float[Array, "*fan_in channels"]) -> Float[Array, "*fan_in channels"]:
        """The kernel that a layer uses, from the trained one; called by a layer."""
        if self.reparametrise is None:
            return kernel
        made = self.reparametrise(name="kernel_norm")(kernel)
        check_made(self.name, made, kernel)
        return made

    def output(
        self, x: Float[Array, "*batch channels"], *, train: bool, name: str = "norm"
    ) -> Float[Array, "*batch channels"]:
        """The output of a layer, from its affine output; called by a layer.

        Raises:
          UsageError: it belongs at the end of a branch, or returns another shape or dtype.
        """
        if self.branch_end:
            raise UsageError(
                f"norm {self.name!r} scales the end of a residual branch, and there is none here: "
                "use it in bnjax.models.gpt or vit (--model gpt), or choose another norm"
            )
        if self.build is None:
            return x
        made = self.build(name=name)(x, train=train)
        check_made(self.name, made, x)
        return made


def check_made(name: str, made: Any, x: Any) -> None:
    """Refuse what a normaliser made of an array unless it is like it; nothing is computed."""
    shape, dtype = getattr(made, "shape", None), getattr(made, "dtype", None)
    if (shape, dtype) != (x.shape, x.dtype):
        found = made if shape is None else f"{dtype} {shape}"
        raise UsageError(
            f"norm {name!r} makes {found} of {x.shape}: return x's own shape and dtype, {x.dtype}"
        )


def check_momentum(momentum: float) -> None:
    """Refuse an impossible weight of old running statistics."""
    if not 0 <= momentum < 1:
        raise UsageError(f"momentum={momentum} must be in [0, 1): give e.g. 0.9")


def check_epsilon(epsilon: float) -> None:
    """Refuse an epsilon that is negative or not finite."""
    if not 0 <= epsilon < math.inf:
        raise UsageError(f"epsilon={epsilon} must be 0 or more and finite: give e.g. 1e-5")


def none() -> Norm:
    """No normalisation: the "standard" network of Santurkar et al. 2018.

    Returns:
      A `Norm` named `none`.
    """
    return Norm("none")


def with_exceptions(norm: Norm, exceptions: Mapping[str, Norm]) -> Norm:
    """A normaliser for all layers but some, which have their own.

    Args:
      norm: of all other layers; the result is named like it.
      exceptions: by the layer's name, e.g. `{"conv3": none()}`.

    Returns:
      A `Norm`.
    """
    return norm._replace(exceptions=tuple(exceptions.items()))


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
