"""Losses that tell what they are made of: a model's outputs and their costs, chunks of data."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from bnjax.arithmetic import trees
from bnjax.errors import UsageError
from bnjax.types import Array, Loss, Params, PRNGKey, PyTree, Scalar


@dataclasses.dataclass(frozen=True, eq=False)
class Composite:
    r"""A loss that tells its model's outputs: $L(\theta) = \frac1n \sum_i \ell(f(\theta), y)_i$.

    A Gauss–Newton matrix or a Fisher needs f and ℓ apart. To all else it is a loss as any other,
    `loss(params)`. As the loss of a chunk for `mean_over`, it is `loss(params, chunk)`: then give
    `outputs(params, chunk)`, and `labels` as a function of the chunk.

    Attributes:
      outputs: f, `outputs(params)`, a pytree of floating-point arrays, e.g. logits.
      costs: ℓ, `costs(outputs, labels)`, the cost of each example, in any shape. Where it is a
        scalar, the whole loss, there is a Gauss–Newton matrix and no Fisher.
      labels: y, a pytree of arrays; those of the data.
      sample: `sample(key, outputs) -> labels`, drawn from the model's own distribution, whose
        negative logarithm is the cost: `jax.random.categorical` for softmax cross-entropy. Only the
        Fisher needs it.
      summed: whether the loss is the sum over examples, not their mean.

    Example:
      >>> import optax
      >>> inputs, labels = jnp.array([[1.0, 2.0], [3.0, 4.0]]), jnp.array([0, 1])
      >>> cross_entropy = optax.losses.softmax_cross_entropy_with_integer_labels
      >>> loss = Composite(lambda w: inputs @ w, cross_entropy, labels, jax.random.categorical)
      >>> round(float(loss(jnp.zeros((2, 3)))), 4)
      1.0986
    """

    outputs: Callable[..., PyTree]
    costs: Callable[[Any, Any], Array]
    labels: PyTree = None
    sample: Callable[[PRNGKey, Any], PyTree] | None = None
    summed: bool = False

    def __call__(self, params: Params, *chunk: PyTree) -> Scalar:
        if len(chunk) > 1 or (callable(self.labels) and not chunk):
            raise UsageError(
                f"a Composite was called with the parameters and {len(chunk)} arguments more: give "
                "one chunk, such as (images, labels), if its labels are a function of it, else none"
            )
        own = on_chunk(self, *chunk) if chunk else self
        return own.cost(own.outputs(params))

    def cost(self, outputs: PyTree) -> Scalar:
        """The loss as a function of the outputs."""
        costs = self.costs(outputs, self.labels)
        return costs.sum() if self.summed else costs.mean()


@dataclasses.dataclass(frozen=True, eq=False)
class Mean:
    """The loss that `mean_over` returns, which tells its chunks."""

    chunk_loss: Callable[[Params, PyTree], Scalar]
    chunks: PyTree  # a leading axis `[num_chunks]`

    def __call__(self, params: Params) -> Scalar:
        @jax.custom_vjp
        def loss(params: Params, chunks: PyTree) -> Scalar:
            return jax.lax.map(lambda chunk: self.chunk_loss(params, chunk), chunks).mean()

        def forward(params: Params, chunks: PyTree) -> tuple[Scalar, Params]:
            found = jax.value_and_grad(self.chunk_loss)
            value, gradient = mean_of_chunks(lambda _, chunk: found(params, chunk), chunks)
            return value, gradient

        def backward(gradient: Params, cotangent: Scalar) -> tuple[Params, None]:
            return jax.tree.map(lambda leaf: cotangent.astype(leaf.dtype) * leaf, gradient), None

        loss.defvjp(forward, backward)
        return loss(params, self.chunks)


def mean_of_chunks(measure: Callable[[Any, PyTree], PyTree], chunks: PyTree) -> PyTree:
    """The mean of `measure(number, chunk)` over all chunks, in the memory of one."""
    count = jax.tree.leaves(chunks)[0].shape[0]

    def add(total: PyTree, numbered: tuple[Any, PyTree]) -> tuple[PyTree, None]:
        return jax.tree.map(jnp.add, total, measure(*numbered)), None

    numbered = jnp.arange(count), chunks
    shapes = jax.eval_shape(measure, *jax.tree.map(lambda leaf: leaf[0], numbered))
    zero = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    total, _ = jax.lax.scan(add, zero, numbered)
    return jax.tree.map(lambda leaf: leaf / count, total)


def on_chunk(chunk_loss: Callable[[Params, PyTree], Scalar], chunk: PyTree) -> Any:
    """The loss of one chunk as a function of the parameters; a `Composite` stays one."""
    if not isinstance(chunk_loss, Composite):
        return lambda params: chunk_loss(params, chunk)
    if not callable(chunk_loss.labels):
        raise UsageError(
            "the labels of a Composite over chunks must be a function of the chunk: give "
            "Composite(…, labels=lambda chunk: chunk[1])"
        )
    return dataclasses.replace(
        chunk_loss,
        outputs=lambda params: chunk_loss.outputs(params, chunk),
        labels=chunk_loss.labels(chunk),
    )


def compose(loss: Any, inner: Callable[[Params], Params]) -> Any:
    """The loss of `inner(params)`; what it tells of itself it still tells."""
    if isinstance(loss, Mean):
        return Mean(compose(loss.chunk_loss, inner), loss.chunks)
    if isinstance(loss, Composite):
        outputs = loss.outputs
        return dataclasses.replace(
            loss, outputs=lambda params, *chunk: outputs(inner(params), *chunk)
        )
    return lambda params, *chunk: loss(inner(params), *chunk)


def restrict(
    loss: Loss, params: Params, parameters: trees.Parameters | None
) -> tuple[Loss, Params]:
    """The loss as a function of the selected parameters, the others held, and these parameters."""
    if parameters is None:
        return loss, params
    selected, rest = trees.partition(params, parameters)
    return compose(loss, lambda selected: trees.combine(selected, rest)), selected
