"""One step of training as a pure function of an explicit state, compiled with donated state."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from bnjax.arithmetic import trees
from bnjax.data import Batch, Pipeline, Split
from bnjax.losses import Objective, correct, cross_entropy
from bnjax.models import Model
from bnjax.types import BatchStats, Flag, Index, Params, PRNGKey, Scalar


class TrainState(NamedTuple):
    """All that training carries from step to step. The data need no state: see `Pipeline`."""

    step: Index
    params: Params
    batch_stats: BatchStats
    opt_state: Any


class Metrics(NamedTuple):
    """What one step measured on its own minibatch, before the update."""

    loss: Scalar
    accuracy: Scalar  # single-minibatch training accuracy, in [0, 1]
    gradient_norm: Scalar
    finite: Flag  # False: loss or gradient was NaN or infinite, and the state was left as it was


class Program(NamedTuple):
    """The compiled functions of a run; the split is an argument, not a constant inside."""

    batch: Callable[[Split, Int[Array, " two_epochs"], PRNGKey, Index], Batch]
    step: Callable[[TrainState, Batch], tuple[TrainState, Metrics]]


def init_state(
    model: Model, optimizer: optax.GradientTransformation, key: PRNGKey, images: Array
) -> TrainState:
    """The state before the first step.

    Args:
      model: a `bnjax.models.Model`.
      optimizer: any optax optimiser.
      key: typed PRNG key of the initialisation.
      images: any batch of images, for its shape and dtype.
    """
    variables = model.init(key, images)
    opt_state = optimizer.init(variables["params"])
    return TrainState(jnp.zeros((), jnp.int32), **variables, opt_state=opt_state)


def train_step(
    model: Model,
    optimizer: optax.GradientTransformation,
    objective: Objective,
    state: TrainState,
    batch: Batch,
) -> tuple[TrainState, Metrics]:
    """One optimiser step on one batch; a step that is not finite leaves everything but `step`.

    Args:
      model: a `bnjax.models.Model`.
      optimizer: any optax optimiser; weight decay belongs there.
      objective: logits and labels to a scalar.
      state: state before the step.
      batch: the step's batch.

    Returns:
      The state after the step, and its `Metrics`.
    """

    def loss(params: Params) -> tuple[Scalar, tuple[Array, BatchStats]]:
        logits, batch_stats = model.apply(params, state.batch_stats, batch.images, train=True)
        return objective(logits, batch.labels), (logits, batch_stats)

    (value, (logits, batch_stats)), gradient = jax.value_and_grad(loss, has_aux=True)(state.params)
    updates, opt_state = optimizer.update(gradient, state.opt_state, state.params)
    # Gated on the device: a NaN must never reach what a checkpoint keeps.
    finite = jnp.isfinite(value) & trees.all_finite(gradient)
    new = state._replace(
        params=optax.apply_updates(state.params, updates),
        batch_stats=batch_stats,
        opt_state=opt_state,
    )
    kept: TrainState = optax.tree.where(finite, new, state)
    metrics = Metrics(
        loss=value,
        accuracy=jnp.mean(correct(logits, batch.labels)),
        gradient_norm=optax.tree.norm(gradient),
        finite=finite,
    )
    return kept._replace(step=state.step + 1), metrics


def make_program(
    model: Model,
    optimizer: optax.GradientTransformation,
    pipeline: Pipeline,
    *,
    objective: Objective = cross_entropy,
    precision: str = "default",
) -> Program:
    """Compile a model's batches and steps.

    Args:
      model: a `bnjax.models.Model`.
      optimizer: any optax optimiser.
      pipeline: how batches are drawn.
      objective: logits and labels to a scalar.
      precision: matrix-product precision of training, a value of
        `jax.default_matmul_precision`; probes have their own.

    Returns:
      A `Program`. `step` donates its state: the state that was passed in is gone afterwards.
    """
    step = functools.partial(train_step, model, optimizer, objective)

    def precise_step(state: TrainState, batch: Batch) -> tuple[TrainState, Metrics]:
        with jax.default_matmul_precision(precision):
            return step(state, batch)

    return Program(batch=jax.jit(pipeline.batch), step=jax.jit(precise_step, donate_argnums=0))
