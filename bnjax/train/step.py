"""One step of training as a pure function of an explicit state, and the loss that probes see there.

The step is compiled with donated state.
"""

import contextlib
import functools
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from bnjax import losses
from bnjax.arithmetic import trees
from bnjax.arithmetic.trees import EVERYTHING, Selection
from bnjax.convolution import outside_loops
from bnjax.data import Batch, Pipeline, Split
from bnjax.data.batches import spread_examples
from bnjax.errors import UsageError
from bnjax.fields import Field
from bnjax.losses import Objective, accuracy, cross_entropy
from bnjax.models import Model
from bnjax.types import BatchStats, Flag, Index, Loss, Params, Pixels, PRNGKey, PyTree, Scalar


class TrainState(NamedTuple):
    """All that training carries from step to step. The data need no state: see `Pipeline`."""

    step: Index
    params: Params
    batch_stats: BatchStats
    opt_state: Any


class Gradient(NamedTuple):
    """The first half of a step: all that one forward and backward pass through a batch gives."""

    loss: Scalar  # whose gradient it is: with the penalty on kernels, where there is one
    accuracy: Scalar  # single-minibatch training accuracy, in [0, 1]
    gradient: PyTree  # by what is trained: all parameters, or a selection of them
    batch_stats: BatchStats  # running statistics after this batch
    cost: Scalar | None = None  # the loss without the penalty, where there is one

    @property
    def minibatch_loss(self) -> Scalar:
        """The loss of the batch alone, without a penalty on kernels."""
        return self.loss if self.cost is None else self.cost


def compute_gradient(
    model: Model,
    objective: Objective,
    state: TrainState,
    batch: Batch,
    selection: Selection = EVERYTHING,
) -> Gradient:
    """Loss and gradient on one batch, with the statistics of that batch."""
    losses.check_batch_size(state.batch_stats, batch.images.shape[0])

    def loss(trained: PyTree) -> tuple[Scalar, tuple[Array, BatchStats, Scalar | None]]:
        params = selection.merge(state.params, trained)
        logits, batch_stats = model.apply(
            params, state.batch_stats, batch.images, train=True, key=batch.key
        )
        cost = objective(logits, batch.labels)
        if not objective.kernel_penalty:
            return cost, (logits, batch_stats, None)
        return cost + objective.penalty(params), (logits, batch_stats, cost)

    trained = selection.split(state.params)
    (value, (logits, batch_stats, cost)), gradient = jax.value_and_grad(loss, has_aux=True)(trained)
    return Gradient(value, accuracy(logits, batch.labels), gradient, batch_stats, cost)


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
    sums = {
        name: jax.tree.map(lambda leaf: leaf.sum(axis=0), getattr(parts, name))
        for name in ("loss", "gradient", "cost")
    }
    return mean._replace(**sums)


class Metrics(NamedTuple):
    """On the minibatch of each step, before its update; the loss without any penalty.

    The norm is that of the gradient that is trained with, of the penalty on kernels, too.
    """

    loss: Annotated[Scalar, Field("Minibatch loss")]
    accuracy: Annotated[Scalar, Field("Minibatch accuracy", bounded=True)]  # NaN of a regression
    gradient_norm: Annotated[Scalar, Field("Minibatch gradient norm")]
    # Where false, the step left the state as it was.
    finite: Annotated[Flag, Field("Loss and gradient are finite", bounded=True)]


class Program(NamedTuple):
    """The compiled functions of a run; the split is an argument, not a constant inside.

    A step is two programs, so that a probe can reuse training's gradient, and training gives the
    same numbers, bit for bit, with and without probes.
    """

    batch: Callable[[Split, Int[Array, " two_epochs"], PRNGKey, Index], Batch]
    gradient: Callable[[TrainState, Batch], Gradient]
    update: Callable[[TrainState, Gradient], tuple[TrainState, Metrics]]
    # Several steps at once, up to a given one; None where starting a program costs nothing.
    block: Callable[..., tuple[TrainState, Metrics]] | None = None
    block_steps: int = 1  # largest number of steps in a block


def init_state(
    model: Model,
    optimizer: optax.GradientTransformation,
    key: PRNGKey,
    images: Array,
    selection: Selection = EVERYTHING,
) -> TrainState:
    """The state before the first step.

    Args:
      model: a `bnjax.models.Model`.
      optimizer: any optax optimiser.
      key: typed PRNG key of the initialisation.
      images: any batch of images, for its shape and dtype.
      selection: which parameters are trained; the optimiser's state covers these only.

    Returns:
      A `TrainState` at step 0.
    """
    variables = model.init(key, images)
    opt_state = optimizer.init(selection.split(variables["params"]))
    return TrainState(jnp.zeros((), jnp.int32), **variables, opt_state=opt_state)


def apply_gradient(
    optimizer: optax.GradientTransformation,
    state: TrainState,
    computed: Gradient,
    selection: Selection = EVERYTHING,
) -> tuple[TrainState, Metrics]:
    """The optimiser's update; where loss or gradient are not finite, only `step` changes.

    Args:
      optimizer: any optax optimiser; weight decay belongs there.
      state: state before the step.
      computed: the step's gradient.
      selection: which parameters are trained; the others stay as they are, bit for bit.

    Returns:
      The state after the step, and the step's `Metrics`.
    """
    trained = selection.split(state.params)
    updates, opt_state = optimizer.update(computed.gradient, state.opt_state, trained)
    # Gated on the device: a NaN must never reach a checkpoint.
    finite = jnp.isfinite(computed.loss) & trees.all_finite(computed.gradient)
    new = state._replace(
        params=selection.merge(state.params, optax.apply_updates(trained, updates)),
        batch_stats=computed.batch_stats,
        opt_state=opt_state,
    )
    kept: TrainState = optax.tree.where(finite, new, state)
    norm = trees.norm(computed.gradient)
    own, accuracy = computed.minibatch_loss, computed.accuracy
    metrics = Metrics(own, accuracy, gradient_norm=norm, finite=finite)
    return kept._replace(step=state.step + 1), metrics


def make_program(
    model: Model,
    optimizer: optax.GradientTransformation,
    pipeline: Pipeline,
    *,
    objective: Objective = cross_entropy,
    precision: str = "default",
    block_steps: int = 1,
    selection: Selection = EVERYTHING,
    microbatches: int = 1,
    mesh: jax.sharding.Mesh | None = None,
) -> Program:
    """Compile a model's batches and steps.

    Args:
      model: a `bnjax.models.Model`.
      optimizer: any optax optimiser.
      pipeline: how batches are drawn.
      objective: logits and labels to a scalar; its penalty on kernels is trained, too.
      precision: matrix-product precision of training, a value of
        `jax.default_matmul_precision`; probes have their own.
      block_steps: steps without a probe that are compiled into one program. With more than one an
        accelerator does not wait for its host; the numbers then agree with those of single steps
        to rounding, not bit for bit.
      selection: which parameters are trained.
      microbatches: parts of a batch whose gradients are computed one after the other.
      mesh: devices with an axis `data` over which each batch is spread. Statistics are those of
        the whole batch on any mesh.

    Returns:
      A `Program`. `update` donates its state: the caller cannot use that state afterwards.

    Raises:
      UsageError: at the first gradient, microbatches or a single image of a network that
        normalises with statistics of the batch.
    """

    def gradient(state: TrainState, batch: Batch) -> Gradient:
        own = objective.of_part(microbatches)

        def compute(state: TrainState, batch: Batch) -> Gradient:
            return compute_gradient(model, own, state, batch, selection)

        with jax.default_matmul_precision(precision):
            if microbatches == 1:
                with outside_loops() if block_steps == 1 else contextlib.nullcontext():
                    return compute(state, batch)
            summed = objective.summed
            return accumulate_gradient(compute, state, batch, microbatches, summed=summed)

    def draw(split: Split, order: Int[Array, " two_epochs"], key: PRNGKey, step: Index) -> Batch:
        batch = pipeline.batch(split, order, key, step)
        images, labels = spread_examples((batch.images, batch.labels), mesh)
        return batch._replace(images=images, labels=labels)

    update = functools.partial(apply_gradient, optimizer, selection=selection)

    def block(
        split: Split, order: Int[Array, " two_epochs"], key: PRNGKey, state: TrainState, stop: Index
    ) -> tuple[TrainState, Metrics]:
        """Steps from `state.step` up to `stop`; NaN in the rows of steps that were not taken."""
        first = state.step

        def step(carry: tuple[TrainState, Metrics]) -> tuple[TrainState, Metrics]:
            state, rows = carry
            row = state.step - first
            state, metrics = update(state, gradient(state, draw(split, order, key, row + first)))
            return state, jax.tree.map(
                lambda to, x: to.at[row].set(x.astype(to.dtype)), rows, metrics
            )

        def proceed(carry: tuple[TrainState, Metrics]) -> Flag:
            state, rows = carry
            last = rows.finite[jnp.maximum(state.step - first - 1, 0)]
            return (state.step < stop) & ~(last == 0)  # NaN before the first step

        empty = Metrics(*(jnp.full((block_steps,), jnp.nan, jnp.float32) for _ in Metrics._fields))
        return jax.lax.while_loop(proceed, step, (state, empty))

    return Program(
        batch=jax.jit(draw),
        gradient=jax.jit(gradient),
        update=jax.jit(update, donate_argnums=0),
        block=jax.jit(block, donate_argnums=3) if block_steps > 1 else None,
        block_steps=block_steps,
    )


MakeLoss: TypeAlias = Callable[[TrainState, Batch], Loss]


def make_loss(
    model: Model,
    pipeline: Pipeline,
    *,
    statistics: losses.Statistics = "batch",
    calibration: Pixels | None = None,
    objective: losses.Objective = losses.cross_entropy,
    weight_decay: float = 0.0,
) -> MakeLoss:
    """The probed loss as a function of a training state and its batch.

    Args:
      model: the model that is trained.
      pipeline: gives the standardisation of `calibration`.
      statistics: what BatchNorm normalises with, see `losses.on_batch`.
      calibration: pixels for `statistics="recalibrated"`, a whole number of batches.
      objective: the loss.
      weight_decay: the L2 coefficient that the probed loss contains.

    Returns:
      `make(state, batch) -> loss`, where `loss(params) -> scalar`.
    """

    def make(state: TrainState, batch: Batch) -> Loss:
        images = None
        if statistics == "recalibrated" and calibration is not None:
            images = pipeline.standardise(calibration).reshape(-1, *batch.images.shape)
        return losses.on_batch(
            model,
            state.batch_stats,
            batch,
            statistics,
            centre=state.params,
            calibration=images,
            objective=objective,
            weight_decay=weight_decay,
        )

    return make
