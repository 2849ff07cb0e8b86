"""The first half of a step: the state it begins with, and the gradient of its batch."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array

from bnjax.arithmetic.selection import EVERYTHING, Selection
from bnjax.data import Batch
from bnjax.errors import UsageError
from bnjax.losses import Objective, accuracy
from bnjax.models import Model
from bnjax.types import BatchStats, Index, Params, PyTree, Scalar


class TrainState(NamedTuple):
    """All that training carries from step to step. The data need no state: see `Pipeline`."""

    step: Index
    params: Params
    batch_stats: BatchStats
    opt_state: Any


class Gradient(NamedTuple):
    """The first half of a step: all that one forward and backward pass through a batch gives."""

    loss: Scalar
    accuracy: Scalar  # single-minibatch training accuracy, in [0, 1]
    gradient: PyTree  # by what is trained: all parameters, or a selection of them
    batch_stats: BatchStats  # running statistics after this batch


def compute_gradient(
    model: Model,
    objective: Objective,
    state: TrainState,
    batch: Batch,
    selection: Selection = EVERYTHING,
) -> Gradient:
    """Loss and gradient on one batch, with the statistics of that batch."""

    def loss(trained: PyTree) -> tuple[Scalar, tuple[Array, BatchStats]]:
        params = selection.merge(state.params, trained)
        logits, batch_stats = model.apply(
            params, state.batch_stats, batch.images, train=True, key=batch.key
        )
        return objective(logits, batch.labels), (logits, batch_stats)

    trained = selection.split(state.params)
    (value, (logits, batch_stats)), gradient = jax.value_and_grad(loss, has_aux=True)(trained)
    return Gradient(value, accuracy(logits, batch.labels), gradient, batch_stats)


def accumulate_gradient(
    compute: Callable[[TrainState, Batch], Gradient],
    state: TrainState,
    batch: Batch,
    microbatches: int,
    *,
    summed: bool = False,
) -> Gradient:
    """The gradient of a batch from equal parts of it, one after the other, to save memory."""
    if jax.tree.leaves(state.batch_stats):
        raise UsageError(
            f"microbatches={microbatches}: a network that normalises with statistics of the batch "
            "has another loss on parts of it, so their gradients do not add up to its gradient: "
            "use 1, or a normaliser of single samples such as group"
        )
    size = batch.labels.shape[0]
    if size % microbatches:
        raise UsageError(f"microbatches={microbatches} must divide the batch of {size}")
    each = size // microbatches

    def part(index: Index) -> Gradient:
        def rows(array: Array) -> Array:
            return jax.lax.dynamic_slice_in_dim(array, index * each, each)

        key = None if batch.key is None else jax.random.fold_in(batch.key, index)
        return compute(state, Batch(rows(batch.images), rows(batch.labels), key))

    parts = jax.lax.map(part, jnp.arange(microbatches, dtype=jnp.int32))
    mean = jax.tree.map(lambda leaf: leaf.mean(axis=0), parts)
    if not summed:
        return mean
    return mean._replace(
        loss=parts.loss.sum(), gradient=jax.tree.map(lambda g: g.sum(axis=0), parts.gradient)
    )
