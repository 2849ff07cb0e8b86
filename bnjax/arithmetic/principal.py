"""Principal components of few vectors with many elements."""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from bnjax.arithmetic import euclidean
from bnjax.errors import UsageError


class Principal(NamedTuple):
    """Principal components of vectors `[num_vectors, size]`, the strongest first."""

    directions: Float[Array, "num_components size"]  # orthonormal; zero where there is no variance
    coordinates: Float[Array, "num_vectors num_components"]  # of the vectors, from the origin
    shares: Float[Array, " num_components"]  # of the variance, in [0, 1]


@functools.partial(jax.jit, static_argnames="num_components")
def principal_components(
    vectors: Float[Array, "num_vectors size"], num_components: int = 2
) -> Principal:
    r"""The directions in which vectors vary most about their mean.

    With $C$ the vectors less their mean, $C = U S V^T$; directions are rows of $V^T$ and shares
    $S_k^2 / \sum_j S_j^2$. $U$ and $S$ come from the Gram matrix $C C^T$, so no matrix of
    `[size, size]` is needed. Signs are such that the coordinate of largest magnitude is positive.
    Coordinates count from the vectors' origin, not from their mean.

    Example:
      >>> import jax.numpy as jnp
      >>> found = principal_components(jnp.array([[0.0, 0.0], [0.0, 2.0], [0.0, 4.0]]), 1)
      >>> found.directions.round(3).tolist(), found.shares.round(3).tolist()
      ([[0.0, 1.0]], [1.0])
    """
    count = vectors.shape[0]
    if not 1 <= num_components < count:
        raise UsageError(
            f"{num_components} components of {count} vectors: must be from 1 to {count - 1}"
        )
    with jax.default_matmul_precision("highest"):
        # Seen from the first vector, which is exact where all are far from the origin.
        centred = vectors - vectors[:1]
        centred = euclidean.scaled(centred - centred.mean(axis=0, keepdims=True)).values
        squares, left = jnp.linalg.eigh(centred @ centred.T)  # ascending
        squares = jnp.maximum(squares, 0)[::-1]
        total = squares.sum()
        kept, left = squares[:num_components], left[:, ::-1][:, :num_components]
        # Below rounding there is no direction, only noise.
        rounding = count * jnp.finfo(vectors.dtype).eps * squares[0]
        lengths = jnp.where(kept > rounding, jnp.sqrt(kept), jnp.inf)
        directions = (left.T @ centred) / lengths[:, None]
        coordinates = vectors @ directions.T
    farthest = jnp.abs(coordinates).argmax(axis=0)
    signs = jnp.where(coordinates[farthest, jnp.arange(num_components)] < 0, -1, 1)
    signs = signs.astype(vectors.dtype)
    shares = kept / jnp.where(total > 0, total, 1)
    return Principal(directions * signs[:, None], coordinates * signs[None], shares)
