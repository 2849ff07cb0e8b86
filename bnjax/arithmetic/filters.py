"""Filters of kernels: their norms, and directions that have them."""

import jax
import jax.numpy as jnp

from bnjax.types import Array, Params


def filter_norms(kernel: Array) -> Array:
    """Euclidean norm of each filter: of all weights that lead to one output unit.

    Args:
      kernel: `[…, units]`, convolution (HWIO) or dense.

    Returns:
      `[units]`.

    Example:
      >>> import jax.numpy as jnp
      >>> filter_norms(jnp.array([[3.0, 0.0], [4.0, 2.0]])).tolist()
      [5.0, 2.0]
    """
    return jnp.sqrt(jnp.sum(jnp.square(kernel), axis=range(kernel.ndim - 1)))


def filter_normalise(direction: Params, params: Params) -> Params:
    r"""A direction whose every filter has the norm of the filter it moves.

    $d_{ij} \leftarrow d_{ij} / \|d_{ij}\| \cdot \|\theta_{ij}\|$ for filter j of kernel i. Leaves
    with fewer than two axes (biases, scales and shifts of normalisers) are not moved: their
    direction is zero. So is that of a filter that is zero, in `params` or in `direction`.

    Args:
      direction: pytree like `params`.
      params: pytree of floating-point arrays.

    Returns:
      A pytree like `params`.

    Source: Li et al. 2018 (1712.09913), §4.

    Example:
      >>> import jax.numpy as jnp
      >>> params = {"kernel": jnp.array([[3.0, 0.0], [4.0, 0.0]]), "bias": jnp.ones(2)}
      >>> moved = filter_normalise({"kernel": jnp.ones((2, 2)), "bias": jnp.ones(2)}, params)
      >>> filter_norms(moved["kernel"]).tolist(), moved["bias"].tolist()
      ([5.0, 0.0], [0.0, 0.0])
    """

    def normalise(move: Array, kernel: Array) -> Array:
        if kernel.ndim < 2:
            return jnp.zeros_like(kernel)
        own = filter_norms(move)
        factor = jnp.where(own > 0, filter_norms(kernel) / jnp.where(own > 0, own, 1), 0)
        return move * factor.reshape((1,) * (kernel.ndim - 1) + (-1,))

    return jax.tree.map(normalise, direction, params)
