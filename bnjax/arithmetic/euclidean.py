r"""Euclidean norms whose squares neither overflow nor vanish.

The square of a float32 is infinite from 1.8e19 up and 0 below 1.1e-19. Here numbers are first
divided by the power of two next to the largest of their magnitudes. That keeps every bit: where no
square leaves the range of numbers, results are those of the plain formula.
"""

from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Bool, Float

from bnjax.arithmetic.moments import accumulator
from bnjax.types import PyTree, Scalar


class Scaled(NamedTuple):
    """A pytree over a power of two next to the largest of its magnitudes, as `scale · values`."""

    values: PyTree  # float32 or wider
    scale: Scalar


def scaled(tree: PyTree) -> Scaled:
    """Every leaf divided by one power of two, so that squares and products stay within range.

    Not a function of `tree` for derivatives: the scale has none, and cancels in what is made of
    both.

    Example:
      >>> values, scale = scaled([jnp.array([3e30, 4e30])])
      >>> round(float(scale * jnp.sqrt(jnp.sum(values[0] ** 2))) / 1e30, 3)
      5.0
    """
    leaves, structure = jax.tree.flatten(tree)
    wide = [jnp.asarray(leaf).astype(accumulator(jnp.asarray(leaf).dtype)) for leaf in leaves]
    largest = [largest_magnitude(leaf, range(leaf.ndim)).reshape(()) for leaf in wide]
    scale = power_of_two(jnp.stack(largest).max())
    return Scaled(jax.tree.unflatten(structure, [leaf * (1 / scale) for leaf in wide]), scale)


def is_ordinary(square: Float[Array, "*shape"]) -> Bool[Array, "*shape"]:
    """Whether a sum of squares lost nothing to the ends of the range, nor will a product of two."""
    kind = jnp.finfo(square.dtype)
    return (square > kind.tiny / kind.eps**2) & (square < kind.max * kind.eps**2)


def norm(x: Float[Array, "*shape"], axes: Sequence[int] | None = None) -> Float[Array, "*kept"]:
    r"""$\sqrt{\sum_i x_i^2}$ over some axes of an array, by default over all.

    All derivatives at the zero vector are 0, where the norm has none.

    Args:
      x: floating-point, of any shape.
      axes: those that are summed over.

    Returns:
      The shape of x without `axes`, in its dtype and units.

    Example:
      >>> (norm(jnp.array([[3e30, 4e30], [0.0, 0.0]]), axes=(1,)) / 1e30).round(3).tolist()
      [5.0, 0.0]
    """
    axes = tuple(range(x.ndim) if axes is None else axes)
    wide = x.astype(accumulator(x.dtype))
    scale = power_of_two(largest_magnitude(wide, axes))
    total = jnp.sum(jnp.square(wide * (1 / scale)), axes)
    return (root(total) * jnp.squeeze(scale, axes)).astype(x.dtype)


def largest_magnitude(x: Float[Array, "*shape"], axes: Sequence[int]) -> Float[Array, "*shape_1"]:
    """The largest |x| over some axes, which stay with size 1; 0 where there is no element."""
    return jnp.max(jnp.abs(lax.stop_gradient(x)), tuple(axes), keepdims=True, initial=0)


def power_of_two(magnitude: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The power of two nearest to a magnitude; both its ends leave room for inverse and square."""
    kind = jnp.finfo(magnitude.dtype)
    end = 2.0 ** (3 * kind.maxexp // 4)
    return lax.reduce_precision(jnp.clip(magnitude, 1 / end, end), kind.nexp, 0)


def root(total: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The square root, with derivatives of 0 at 0."""
    return jnp.where(total == 0, 0, jnp.sqrt(jnp.where(total == 0, 1, total)))
