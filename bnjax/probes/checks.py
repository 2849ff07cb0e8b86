"""What every probe refuses, before anything is compiled."""

import jax
import jax.numpy as jnp

from bnjax.errors import UsageError
from bnjax.types import Array, Loss, Params


def check_scalar(loss: Loss, params: Params) -> None:
    """Refuse a loss that does not return one scalar; nothing is run.

    Args:
      loss: `loss(params) -> scalar`.
      params: pytree of arrays.

    Raises:
      UsageError: naming what it returns.

    Example:
      >>> check_scalar(jnp.square, jnp.ones(2))  # doctest: +ELLIPSIS
      Traceback (most recent call last):
      bnjax.errors.UsageError: the loss returns ...; it must return one scalar: reduce it, ...
    """
    result = jax.eval_shape(loss, params)
    if getattr(result, "shape", None) != ():
        raise UsageError(
            f"the loss returns {result}; it must return one scalar: reduce it, e.g. with jnp.mean"
        )


def check_grid(params: Params, directions: tuple[Params, ...], axes: tuple[Array, ...]) -> None:
    """Refuse directions of another structure, and axes that are empty or not one-dimensional.

    Args:
      params: pytree of arrays.
      directions: pytrees that must have its structure and shapes.
      axes: coordinates along them, `[num_points]` each.

    Raises:
      UsageError: naming the shape.

    Example:
      >>> params = {"w": jnp.ones(2)}
      >>> check_grid(params, (params,), (jnp.ones(0),))  # doctest: +ELLIPSIS
      Traceback (most recent call last):
      bnjax.errors.UsageError: coordinates have shape (0,); they must be ...
    """
    shapes = jax.tree.map(jnp.shape, params)
    for direction in directions:
        if jax.tree.map(jnp.shape, direction) != shapes:
            raise UsageError(
                "a direction has other leaves or shapes than params: build it with jax.tree.map "
                "over params, or with filter_direction"
            )
    for axis in axes:
        if axis.ndim != 1 or axis.size == 0:
            raise UsageError(
                f"coordinates have shape {axis.shape}; they must be one-dimensional and not empty"
            )
