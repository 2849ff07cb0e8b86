"""The line probe along training: which batch, which statistics, which directions."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple

import jax
import numpy as np
from jaxtyping import Array

from bnjax import models
from bnjax import probes as library
from bnjax.arithmetic import trees
from bnjax.data import Batch
from bnjax.fields import Field
from bnjax.frame.arm import Arm
from bnjax.train import Probe, every, step
from bnjax.train.step import Gradient, MakeLoss, TrainState
from bnjax.types import PRNGKey, Scalar


class Rounding(NamedTuple):
    """‖g at training precision − g at probe precision‖₂, on the batch of the step."""

    gradient_error: Annotated[Scalar, Field("Rounding error of the gradient")]


def probes(arm: Arm) -> Mapping[str, Probe]:
    """The line probe of one arm and, on accelerators, the rounding noise beneath it."""
    options = arm.options
    loss = step.make_loss(
        arm.model,
        arm.pipeline,
        statistics=options.statistics,
        calibration=arm.dataset.train.pixels[: options.calibration_batches * options.batch_size],
        objective=arm.objective,
        weight_decay=options.weight_decay if options.probe_decay else 0.0,
    )
    same_precision = arm.trains_in(options.probe_precision)
    is_training_loss = options.statistics == "batch" and not (
        options.probe_decay and options.weight_decay
    )
    line = make_line(
        loss,
        step_sizes(options),
        arm.key("probe"),
        directions=options.directions,
        parameters=last_layer(arm) if options.parameters == "last" else None,
        reuse_gradient=is_training_loss and same_precision,
        chunk=options.chunk,
        precision=options.probe_precision,
    )
    when = every(options.probe_every)
    measured = {"line": Probe(when, line, ("direction",))}
    if not same_precision:
        rounding = make_rounding(
            loss, precision=options.precision, reference=options.probe_precision
        )
        measured["rounding"] = Probe(when, rounding)
    return measured


def axes(options: Any) -> Mapping[str, Any]:
    """Directions, and step sizes: of several learning rates in units of each."""
    relative = relative_steps(options)
    sizes = relative if len(options.lr) > 1 else (options.lr[0] * relative).astype(np.float32)
    return {"direction": options.directions, "step_size": sizes}


def step_sizes(options: Any) -> np.ndarray:
    """η of one arm in parameter units per gradient unit, float32 `[points]`."""
    return (options.lr * relative_steps(options)).astype(np.float32)


def relative_steps(options: Any) -> np.ndarray:
    """η in units of the learning rate, rising, float64 `[points]`."""
    spaced = np.geomspace(options.min_step, options.max_step, options.points)
    return np.asarray(options.multiples or spaced, float)


def fewer_points(options: Any) -> dict[str, int] | None:
    """Half as many points at a time; None where there is only one."""
    most = 1 if jax.default_backend() == "cpu" else len(relative_steps(options))
    chunk = most if options.chunk == "auto" else options.chunk
    return {"chunk": chunk // 2} if chunk > 1 else None


def last_layer(arm: Arm) -> Callable[[str], bool]:
    """Whether a parameter belongs to the last layer, by its name."""
    last = models.layer_names(arm.model, arm.dataset.train.pixels.shape[1:])[-1]
    return lambda name: name.startswith(f"{last}/")


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
) -> Callable[[TrainState, Batch, Gradient], library.Line]:
    """Compile the line probe for the states of one training run.

    Args:
      make_loss: the probed loss, see `step.make_loss`.
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
    ) -> library.Line:
        loss = make_loss(state, batch)
        centre = (computed.loss, computed.gradient) if reuse_gradient else None
        own_key = jax.random.wrap_key_data(seed, impl=jax.random.key_impl(key))
        random_keys = {"gradient": None, "random": jax.random.fold_in(own_key, state.step)}
        lines = [
            library.line(
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
      make_loss: the probed loss, see `step.make_loss`.
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
            library.rounding_noise(loss, state.params, precision=precision, reference=reference)
        )

    return measure
