"""The line probe on a training state: which batch, which statistics, which directions."""

import functools
from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import jax
import numpy as np
from jaxtyping import Array

from bnjax import probes
from bnjax.arithmetic import trees
from bnjax.data import Batch
from bnjax.train.gradient import Gradient, TrainState
from bnjax.train.probed_loss import MakeLoss
from bnjax.types import PRNGKey, Scalar

# The axes of a measured field, after those of arm, seed and step.
POINTWISE = (
    "losses",
    "gradient_norms",
    "gradient_distances",
    "cosines",
    "smoothness",
    "scaled_smoothness",
)
CENTRAL = ("loss", "gradient_norm", "direction_norm", "smoothness_limit", "curvature_limit")
DIMS = {
    **{field: ("direction", "step_size") for field in ("step_sizes", *POINTWISE)},
    **{field: ("direction",) for field in CENTRAL},
}


class Rounding(NamedTuple):
    """How much of a gradient difference is rounding."""

    gradient_error: Scalar  # ‖g at training precision − g at probe precision‖₂


def make_line(
    make_loss: MakeLoss,
    step_sizes: np.ndarray,
    key: PRNGKey,
    *,
    directions: Sequence[str] = ("gradient",),
    parameters: trees.Predicate | None = None,
    reuse_gradient: bool = False,
    chunk: int | Literal["auto"] = "auto",
    precision: str = "highest",
) -> Callable[[TrainState, Batch, Gradient], probes.Line]:
    """Compile the line probe for the states of one training run.

    Args:
      make_loss: the probed loss, see `probed_loss.make_loss`.
      step_sizes: η, `[num_step_sizes]`, parameter units per gradient unit.
      key: typed PRNG key; the random direction of step t depends on it and on t alone.
      directions: `gradient`, `random` (Gaussian, of the gradient's norm), or both.
      parameters: keeps the leaves whose name satisfies it, see `probes.line`.
      reuse_gradient: take training's own loss and gradient for the centre; right only where the
        probed loss is training's, computed at the same precision.
      chunk: points at a time, see `probes.line`.
      precision: matrix-product precision of the probe.

    Returns:
      `measure(state, batch, gradient) -> Line`, compiled; fields have a leading axis
      `[direction]`.

    Source: Santurkar et al. 2018, §3.1 and Fig. 4 a–c.

    Example:
      >>> import jax.numpy as jnp
      >>> state = TrainState(jnp.int32(0), {"w": jnp.array([1.0])}, {}, ())
      >>> batch = Batch(jnp.zeros((1, 1, 1, 1)), jnp.zeros(1, jnp.int32))
      >>> computed = Gradient(jnp.array(1.5), jnp.array(1.0), {"w": jnp.array([3.0])}, {})
      >>> loss = lambda state, batch: lambda params: 1.5 * jnp.sum(params["w"] ** 2)
      >>> measure = make_line(loss, np.array([0.1, 0.2], np.float32), jax.random.key(0))
      >>> [round(float(beta), 3) for beta in measure(state, batch, computed).smoothness[0]]
      [3.0, 3.0]
    """

    # Step sizes and key are arguments, so that the programs of arms that differ in rate or seed are
    # the same: what one has compiled, the others find in the cache on the disk.
    @jax.jit
    def measure(
        state: TrainState, batch: Batch, computed: Gradient, sizes: Array, seed: Array
    ) -> probes.Line:
        loss = make_loss(state, batch)
        centre = (computed.loss, computed.gradient) if reuse_gradient else None
        own_key = jax.random.wrap_key_data(seed, impl=jax.random.key_impl(key))
        random_keys = {"gradient": None, "random": jax.random.fold_in(own_key, state.step)}
        lines = [
            probes.line(
                loss,
                state.params,
                sizes,
                random_key=random_keys[direction],
                parameters=parameters,
                centre=centre,
                chunk=chunk,
                precision=precision,
            )
            for direction in directions
        ]
        return trees.stack(lines)

    # Arrays of the host, which are the same on every device and in every process.
    seed = np.asarray(jax.random.key_data(key))
    return functools.partial(measure, sizes=np.asarray(step_sizes), seed=seed)


def make_rounding(
    make_loss: MakeLoss, *, precision: str, reference: str
) -> Callable[[TrainState, Batch, Gradient], Rounding]:
    """Compile the rounding noise of a gradient on a training state, see `probes.rounding_noise`.

    Args:
      make_loss: the probed loss, see `probed_loss.make_loss`.
      precision: a value of `jax.default_matmul_precision`, e.g. training's.
      reference: likewise, the one that is trusted.

    Returns:
      `measure(state, batch, gradient) -> Rounding`, compiled.

    Example:
      >>> import jax.numpy as jnp
      >>> state = TrainState(jnp.int32(0), {"w": jnp.array([1.0])}, {}, ())
      >>> batch = Batch(jnp.zeros((1, 1, 1, 1)), jnp.zeros(1, jnp.int32))
      >>> computed = Gradient(jnp.array(1.5), jnp.array(1.0), {"w": jnp.array([3.0])}, {})
      >>> loss = lambda state, batch: lambda params: 1.5 * jnp.sum(params["w"] ** 2)
      >>> measure = make_rounding(loss, precision="default", reference="highest")
      >>> float(measure(state, batch, computed).gradient_error)  # no matrix product, no rounding
      0.0
    """

    @jax.jit
    def measure(state: TrainState, batch: Batch, computed: Gradient) -> Rounding:
        del computed  # of one precision only
        loss = make_loss(state, batch)
        return Rounding(
            probes.rounding_noise(loss, state.params, precision=precision, reference=reference)
        )

    return measure
