"""The line probe along training: which batch, which statistics, which directions."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np

from bnjax import models
from bnjax import probes as library
from bnjax.arithmetic import trees
from bnjax.data import Batch
from bnjax.frame.arm import Arm, build_program, matrix_precision, once
from bnjax.train import Measurement, every, step
from bnjax.train.step import Gradient, MakeLoss, TrainState
from bnjax.types import Array, Index, Params, PRNGKey, Scalar

ROUNDING_EVERY = 10  # probes: one more gradient, of a noise that changes slowly


def probes(arm: Arm) -> Mapping[str, Measurement]:
    """The line probe of one arm."""
    options = arm.options
    same_precision = arm.trains_in(options.probe_precision)
    is_training_loss = options.statistics == "batch" and not (
        options.probe_decay and options.weight_decay
    )
    loss = arm.probed_loss(options.probe_precision)
    if not is_training_loss:
        size = options.calibration_batches * options.batch_size
        loss = step.make_loss(
            arm.model_at(options.probe_precision),
            arm.pipeline,
            statistics=options.statistics,
            calibration=arm.dataset.train.pixels[:size],
            objective=arm.objective,
            weight_decay=options.weight_decay if options.probe_decay else 0.0,
        )
    spacing = options.limits_every
    line = make_line(
        loss,
        step_sizes(options),
        arm.key("probe"),
        directions=options.directions,
        parameters=last_layer(arm) if options.parameters == "last" else None,
        gradient=build_program(arm).gradient if is_training_loss and same_precision else None,
        # One program computes the statistics at the centre once for all points.
        mapped=None if options.statistics == "batch" else True,
        limits_every=1 if spacing == 1 else options.probe_every * spacing,
        rounding_every=options.probe_every * ROUNDING_EVERY,
        chunk=options.chunk,
        precision=matrix_precision(options.probe_precision),
    )
    when = every(options.probe_every)
    shapes = line_shapes(len(options.directions), len(step_sizes(options)))
    return {"line": Measurement(when, line, ("direction",), shapes)}


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
    last = models.layer_names(arm.model, *arm.dataset.example)[-1]
    return once(begins_with, f"{last}/")


def begins_with(start: str) -> Callable[[str], bool]:
    return lambda name: name.startswith(start)


def make_line(
    make_loss: MakeLoss,
    step_sizes: np.ndarray,
    key: PRNGKey,
    *,
    directions: Sequence[str] = ("gradient",),
    gradient: Callable[[TrainState, Batch], Gradient] | None = None,
    limits_every: int = 1,
    rounding_every: int = 0,
    parameters: trees.Parameters | None = None,
    chunk: int | Literal["auto"] = "auto",
    mapped: bool | None = None,
    precision: str = "highest",
) -> Callable[[TrainState, Batch, Gradient], library.Line]:
    """The line probe for the states of one training run, see `probes.Probe`.

    Args:
      make_loss: the probed loss, see `step.make_loss`.
      step_sizes: η, `[num_step_sizes]`, parameter units per gradient unit.
      key: typed PRNG key; the random direction of step t depends on it and on t alone.
      directions: `gradient`, `random` (Gaussian, of the gradient's norm), or both.
      gradient: training's own compiled gradient, which then serves centre and points; right only
        where the probed loss is training's, computed at the same precision.
      limits_every: training steps from one measurement of the limits for η → 0 to the next (0: no
        measurement); they are NaN at the others.
      rounding_every: the same of the rounding noise, which is measured wherever limits are, too.
      parameters: as for `probes.Probe`.
      chunk: as for `probes.Probe`.
      mapped: as for `probes.Probe`.
      precision: as for `probes.Probe`.

    Returns:
      `measure(state, batch, gradient) -> Line`; fields have a leading axis `[direction]`.

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
    probe = once(
        make_probe,
        make_loss,
        tuple(step_sizes),
        gradient,
        parameters=parameters,
        chunk=chunk,
        mapped=mapped,
        precision=precision,
    )
    seed = np.asarray(jax.random.key_data(key))  # the same on every device and in every process
    kind = str(jax.random.key_impl(key))

    def measure(state: TrainState, batch: Batch, computed: Gradient) -> library.Line:
        centre = (computed.loss, computed.gradient) if gradient else None
        is_traced = isinstance(state.step, jax.core.Tracer)
        due = limits_every > 0 and (is_traced or int(state.step) % limits_every == 0)
        noisy = rounding_every > 0 and not is_traced and int(state.step) % rounding_every == 0
        lines = [
            probe(
                state.params,
                state,
                batch,
                random_key=key_at(seed, kind, state.step) if direction == "random" else None,
                centre=centre,
                limits=due,
                rounding=due or noisy,
            )
            for direction in directions
        ]
        found = trees.stack(lines)
        if limits_every < 2 or not is_traced:
            return found
        here = state.step % limits_every == 0  # one program, as points spread over devices are
        ends = (jnp.where(here, values, jnp.nan) for values in found[-4:])
        return library.Line(*found[:-4], *ends)

    return measure


def make_probe(
    make_loss: MakeLoss,
    step_sizes: tuple[np.floating, ...],
    gradient: Callable[[TrainState, Batch], Gradient] | None,
    **options: Any,
) -> library.Probe:
    """The probe of `make_line`, one for all seeds."""

    def loss(params: Params, state: TrainState, batch: Batch) -> Scalar:
        return make_loss(state, batch)(params)

    def shared(params: Params, state: TrainState, batch: Batch) -> tuple[Scalar, Params]:
        assert gradient is not None
        found = gradient(state._replace(params=params), batch)
        return found.loss, found.gradient

    return library.Probe(loss, np.array(step_sizes), gradient=gradient and shared, **options)


@functools.partial(jax.jit, static_argnums=1)
def key_at(seed: Array, kind: str, step: Index) -> PRNGKey:
    """The key of a step."""
    return jax.random.fold_in(jax.random.wrap_key_data(seed, impl=kind), step)


def line_shapes(directions: int, points: int) -> Callable[..., library.Line]:
    """What `make_line` returns, without tracing it: that takes longer than compiling a point."""

    def shapes(state: TrainState, batch: Batch, computed: Gradient) -> library.Line:
        del state, batch
        at_points = len(library.Line._fields) - 7  # the others are of the whole line
        sizes = [(directions, points)] * at_points + [(directions,)] * 7
        found: list[Any] = [jax.ShapeDtypeStruct(size, computed.loss.dtype) for size in sizes]
        return library.Line(*found)

    return shapes
