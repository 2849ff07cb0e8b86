"""Symmetry of each layer's units along training, and what gradient and variance are left to it."""

import functools
from collections.abc import Callable
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from bnjax.arithmetic import trees
from bnjax.data import Batch
from bnjax.fields import Field
from bnjax.models import Model
from bnjax.probes.symmetry import symmetry
from bnjax.train.gradient import Gradient, TrainState

KERNEL = "/kernel"


class SymmetryRow(NamedTuple):
    """Of the channels of each layer; channels that start alike stay alike.

    Kernels are in the order of `kernel_names`. The gradient is that of the minibatch loss.
    """

    differences: Annotated[Float[Array, " kernel"], Field("Greatest difference of two channels")]
    sizes: Annotated[Float[Array, " kernel"], Field("Greatest absolute weight")]
    gradient_norms: Annotated[Float[Array, " kernel"], Field("Gradient norm of each kernel")]
    variances: Annotated[  # NaN where no BatchNorm stands
        Float[Array, " kernel"], Field("Greatest variance that BatchNorm divides by")
    ]


DIMS = {field: ("kernel",) for field in SymmetryRow._fields}


def kernel_names(model: Model, image_shape: tuple[int, ...]) -> tuple[str, ...]:
    """The names of a model's kernels, e.g. `conv3/kernel`; nothing is computed."""
    shapes = model.shapes(image_shape)
    return tuple(name for name in trees.leaf_names(shapes["params"]) if name.endswith(KERNEL))


def make_symmetry(model: Model) -> Callable[[TrainState, Batch, Gradient], SymmetryRow]:
    """Compile the symmetry of a model's layers; once for all that differ in initialisation alone.

    Args:
      model: a `bnjax.models.Model`.

    Returns:
      `measure(state, batch, gradient) -> SymmetryRow`, compiled.

    Source: Goodfellow et al. 2016, "Deep Learning", §8.4.

    Example:
      >>> import optax
      >>> from bnjax.losses import cross_entropy
      >>> from bnjax.models import mlp, norms
      >>> from bnjax.train import init_state
      >>> from bnjax.train.gradient import compute_gradient
      >>> model = mlp(norm=norms.none(), num_classes=2, width=0.02, initializer="zeros")
      >>> batch = Batch(jnp.ones((4, 1, 1, 1)), jnp.array([0, 1, 0, 1]))
      >>> state = init_state(model, optax.sgd(0.1), jax.random.key(0), batch.images)
      >>> computed = compute_gradient(model, cross_entropy, state, batch)
      >>> make_symmetry(model)(state, batch, computed).differences.tolist()  # of four kernels
      [0.0, 0.0, 0.0, 0.0]
    """
    return compile_symmetry(model.initialised)


@functools.lru_cache(maxsize=16)
def compile_symmetry(model: Model) -> Callable[[TrainState, Batch, Gradient], SymmetryRow]:
    """`make_symmetry` of a model without its initialisation."""

    @jax.jit
    def measure(state: TrainState, batch: Batch, computed: Gradient) -> SymmetryRow:
        moments: dict[str, Array] = {}
        if jax.tree.leaves(state.batch_stats):
            moments = trees.named_leaves(
                model.moments(state.params, state.batch_stats, batch.images, key=batch.key)
            )
        gradients = trees.named_leaves(computed.gradient)
        rows = []
        for name, kernel in trees.named_leaves(state.params).items():
            if not name.endswith(KERNEL):
                continue
            units = symmetry(kernel)
            variance = moments.get(f"{name.removesuffix(KERNEL)}/norm/var")
            rows.append(
                SymmetryRow(
                    units.difference,
                    units.size,
                    jnp.linalg.norm(gradients[name].ravel()),
                    jnp.full((), jnp.nan, kernel.dtype) if variance is None else variance.max(),
                )
            )
        return trees.stack(rows)

    return measure
