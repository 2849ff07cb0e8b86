"""Checks of arguments that every probe runs before anything is compiled."""

from typing import Any

import jax
import jax.numpy as jnp

from bnjax.arithmetic import trees
from bnjax.errors import UsageError
from bnjax.types import Array, Loss, Params


def check_scalar(loss: Loss, params: Params) -> None:
    """Refuse a loss that does not return one scalar, and parameters in half precision or none."""
    check_dtypes(params)
    result = jax.eval_shape(loss, params)
    if isinstance(result, tuple | dict):
        raise UsageError(
            f"the loss returns a {type(result).__name__}; it must return one scalar: of a pair of "
            "loss and more give the first, lambda params: loss(params)[0]"
        )
    if getattr(result, "shape", None) != ():
        raise UsageError(
            f"the loss returns {result}; it must return one scalar: reduce it, e.g. with jnp.mean"
        )


def check_dtypes(params: Params) -> None:
    """Refuse parameters that are not float32 or float64, by name."""
    named = trees.named_leaves(params)
    if not named:
        raise UsageError("params has no arrays: give a pytree with the parameters of the loss")
    for name, leaf in named.items():
        if (dtype := jnp.result_type(leaf)) not in (jnp.float32, jnp.float64):
            raise UsageError(
                f"params has {dtype} at {name or 'its only leaf'}; it must be float32 or float64: "
                "cast it by astype, or leave what is no parameter to the loss"
            )


def check_like(params: Params, other: Params, what: str) -> None:
    """Refuse a pytree that has other leaves or shapes than the parameters; nothing is run."""
    expected: Any = jax.tree.structure(params)
    given: Any = jax.tree.structure(other)
    remedy = "they must be the same: build it with jax.tree.map over params"
    if expected != given:
        raise UsageError(f"{what} has the structure {given}, params {expected}; {remedy}")
    leaves = (jax.tree.leaves(tree) for tree in (params, other))
    for name, here, there in zip(trees.leaf_names(params), *leaves, strict=True):
        if jnp.shape(here) != jnp.shape(there):
            raise UsageError(
                f"{what} has shape {jnp.shape(there)} at {name}, params {jnp.shape(here)}; {remedy}"
            )


def check_grid(params: Params, directions: tuple[Params, ...], axes: tuple[Array, ...]) -> None:
    """Refuse directions of another structure, and axes that are empty or not one-dimensional."""
    check_dtypes(params)
    for direction in directions:
        check_like(params, direction, "a direction")
    for axis in axes:
        if axis.ndim != 1 or axis.size == 0:
            raise UsageError(
                f"coordinates have shape {axis.shape}; they must be one-dimensional and not empty"
            )
