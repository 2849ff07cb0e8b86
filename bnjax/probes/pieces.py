"""A loss over more examples than fit in memory at once: the mean over pieces, one after another."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from bnjax.errors import UsageError
from bnjax.types import Loss, Params, PyTree, Scalar


def mean_over(piece_loss: Callable[[Params, PyTree], Scalar], pieces: PyTree) -> Loss:
    r"""The loss $\frac1n \sum_p L_p(\theta)$ over n pieces, in the memory of one.

    Differentiated, it adds up the pieces' gradients on its way forward, so nothing of a piece is
    kept until a backward pass; a product with its Hessian is `jax.jvp` of `jax.grad`, as
    anywhere. (`jax.jvp` of the loss itself is what JAX refuses of such a function.)

    Args:
      piece_loss: `piece_loss(params, piece) -> scalar`; what it normalises with batch statistics,
        it normalises piece by piece.
      pieces: pytree of arrays with a leading axis `[num_pieces]`.

    Returns:
      `loss(params) -> scalar`, in the dtype and units of `piece_loss`.

    Raises:
      UsageError: no pieces, a leaf without axes, or leaves that disagree on their number.

    Source: none; a definition, and this project's way to differentiate it.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> loss = mean_over(lambda w, x: jnp.sum(x * w**2), jnp.array([[1.0], [3.0]]))
      >>> w = jnp.array([2.0])
      >>> float(loss(w)), jax.jvp(jax.grad(loss), (w,), (jnp.ones(1),))[1].tolist()
      (8.0, [4.0])
    """
    counts = {leaf.shape[0] if leaf.ndim else None for leaf in jax.tree.leaves(pieces)}
    if len(counts) != 1 or None in counts or 0 in counts:
        raise UsageError(
            f"the pieces' leading axes have the sizes {sorted(map(str, counts))}: give every leaf "
            "the same leading axis [num_pieces], 1 or more"
        )
    (count,) = counts
    if count == 1:
        (only,) = [jax.tree.map(lambda leaf: leaf[0], pieces)]
        return lambda params: piece_loss(params, only)

    @jax.custom_vjp
    def loss(params: Params, pieces: PyTree) -> Scalar:
        return jax.lax.map(lambda piece: piece_loss(params, piece), pieces).mean()

    def forward(params: Params, pieces: PyTree) -> tuple[Scalar, Params]:
        def add(total: Any, piece: PyTree) -> tuple[Any, None]:
            found = jax.value_and_grad(piece_loss)(params, piece)
            return jax.tree.map(jnp.add, total, found), None

        first = jax.tree.map(lambda leaf: leaf[0], pieces)
        shapes = jax.eval_shape(jax.value_and_grad(piece_loss), params, first)
        zero = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        total, _ = jax.lax.scan(add, zero, pieces)
        mean: tuple[Scalar, Params] = jax.tree.map(lambda leaf: leaf / count, total)
        return mean

    def backward(gradient: Params, cotangent: Scalar) -> tuple[Params, None]:
        return jax.tree.map(lambda leaf: cotangent.astype(leaf.dtype) * leaf, gradient), None

    loss.defvjp(forward, backward)
    return lambda params: loss(params, pieces)
