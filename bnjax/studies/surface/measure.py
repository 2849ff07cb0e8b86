"""Loss surfaces around a trained network: which images, which statistics, which plane."""

import math
import os
from collections.abc import Callable, Mapping
from typing import Annotated, Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from bnjax import losses
from bnjax.arithmetic import trees
from bnjax.arithmetic.principal import Principal, principal_components
from bnjax.data import Dataset, Pipeline
from bnjax.errors import UsageError, require
from bnjax.fields import Field
from bnjax.frame.arm import Arm, arm_values, build_model, once
from bnjax.models import Model
from bnjax.probes.points import points_that_fit
from bnjax.probes.surface import coordinates, filter_direction, values_on_line
from bnjax.studies.surface import snapshots as count_snapshots
from bnjax.train import Measurement, every
from bnjax.train.loop import Measured, MeasureRow, Sweep
from bnjax.train.step import TrainState
from bnjax.types import BatchStats, Params, PRNGKey, Scalar

SNAPSHOTS = "_snapshots"  # the probe that keeps them; not among the published results
MARGIN = 0.25  # of the trajectory's extent, on either side of it
COMPONENTS = 5  # whose shares of the variance are kept
KEYS = ("line", "plane", "noise")  # uses of the key
# A grid beyond these is refused, by an estimate that is crude and says so: operations counted by
# the compiler over a rate that is assumed.
LONGEST_HOURS = 12.0
LARGEST_BYTES = 8 * 2**30
CORE_OPERATIONS_PER_SECOND = 25e9  # of one core, float32; measured on convolutions of VGG-11
ACCELERATOR_OPERATIONS_PER_SECOND = 10e12
Plane: TypeAlias = tuple[Params, Params]


class Snapshot(NamedTuple):
    """All parameters of one moment, one after the other."""

    vector: Float[Array, " num_parameters"]


class PrincipalRow(NamedTuple):
    """Of the parameters along training less the trained ones, θₜ − θ at the end."""

    shares: Annotated[
        Float[Array, " component"],
        Field("Share of the path's variance by component", bounded=True),
    ]
    coordinates: Annotated[Float[Array, "probe_step plane_axis"], Field("The path's coordinates")]


class SurfaceRow(NamedTuple):
    """Around the trained network, along directions d₁ and d₂: at θ + row · d₁ + column · d₂."""

    row: Annotated[Scalar, Field("Coordinate along the first direction")]  # of lines 0
    columns: Annotated[Float[Array, " column"], Field("Coordinate along the second direction")]
    losses: Annotated[Float[Array, " column"], Field("Loss")]
    accuracies: Annotated[Float[Array, " column"], Field("Accuracy", bounded=True)]


def probes(arm: Arm) -> Mapping[str, Measurement]:
    """Snapshots of the parameters, where their path is asked for."""
    if "trajectory" not in arm.options.views:
        return {}
    keep = every(arm.options.probe_every)
    return {SNAPSHOTS: Measurement(keep, lambda state, *_: Snapshot(ravel_pytree(state.params)[0]))}


def after(arm: Arm) -> Mapping[str, Sweep]:
    """The views of one arm's trained network, and `principal` before `trajectory`.

    `lines` are 1-D, `plane` is 2-D, both along filter-normalised Gaussian directions and from
    −span to span in units of each filter's norm; `trajectory` is the plane of the two principal
    components of the training path, and `principal` these components.

    Source: Li et al. 2018 (1712.09913), §3, §4 and §7.2.
    """
    options, points = arm.options, arm.options.points
    symmetric = coordinates(points, -options.span, options.span)
    settle, draw = make_surface(arm), once(jax.jit, filter_direction)

    def direction(state: TrainState, use: str, number: int) -> Params:
        return draw(jax.random.fold_in(key_for(arm, use), number), state.params)

    def path_of(state: TrainState, measured: Measured) -> Principal:
        return path_components(state.params, measured[f"{SNAPSHOTS}_vector"])

    def lines(state: TrainState, measured: Measured) -> MeasureRow:
        surface = settle(state)
        return lambda row: surface((direction(state, "line", row),) * 2, 0.0, symmetric)

    def plane(state: TrainState, measured: Measured) -> MeasureRow:
        surface = settle(state)
        both = direction(state, "plane", 0), direction(state, "plane", 1)
        return lambda row: surface(both, symmetric[row], symmetric)

    def principal(state: TrainState, measured: Measured) -> MeasureRow:
        path = path_of(state, measured)
        return lambda row: PrincipalRow(path.shares, path.coordinates[:, :2])

    def trajectory(state: TrainState, measured: Measured) -> MeasureRow:
        surface, path = settle(state), path_of(state, measured)
        to_tree = ravel_pytree(state.params)[1]
        both = to_tree(path.directions[1]), to_tree(path.directions[0])
        columns, rows = (
            around(np.asarray(path.coordinates[:, axis], np.float64), points) for axis in (0, 1)
        )
        return lambda row: surface(both, rows[row], columns)

    row, count = shapes_of(SurfaceRow, (), *[(points,)] * 3), count_snapshots(options)
    path_row = shapes_of(PrincipalRow, (min(COMPONENTS, count - 1),), (count, 2))
    known = {
        "lines": {"lines": Sweep(options.lines, row, lines, "line")},
        "plane": {"plane": Sweep(points, row, plane)},
        "trajectory": {
            "principal": Sweep(1, path_row, principal, "path"),
            "trajectory": Sweep(points, row, trajectory),
        },
    }
    return {name: sweep for view in options.views for name, sweep in known[view].items()}


def axes(options: Any) -> Mapping[str, Any]:
    """Lines, rows and columns of the grids, and components of the path."""
    return {
        "line": range(options.lines),
        "row": range(options.points),
        "column": range(options.points),
        "path": ("principal",),
        "component": range(1, 1 + min(COMPONENTS, count_snapshots(options) - 1)),
        "plane_axis": (1, 2),
    }


def check(options: Any, dataset: Dataset) -> None:
    """Refuse more images than there are, and grids that take absurdly long or much memory."""
    shape, available = dataset.train.pixels.shape[1:], len(dataset.train.labels)
    most = available - available % options.batch_size
    require("--images", options.images, options.images <= most, f"at most {most} here")
    if options.yes:
        return
    model = build_model(options, options.norms[0], dataset.num_classes)
    plane = options.points**2
    points = {"lines": options.lines * options.points, "plane": plane, "trajectory": plane}
    arms = len(arm_values(options)) * options.seeds
    passes = arms * options.images * sum(points[view] for view in options.views)
    hours = passes * forward_operations(model, shape, options.batch_size) / speed() / 3600
    if hours > LONGEST_HOURS:
        raise UsageError(
            f"this grid takes {passes:.2g} forward passes of an image, about {hours:.3g} hours at "
            f"an assumed {speed() / 1e9:.3g} GFLOP/s: give fewer --points, --images, --norms or "
            "--views, or insist with --yes"
        )
    kept = count_snapshots(options) if "trajectory" in options.views else 0
    parameters = sum(leaf.size for leaf in jax.tree.leaves(model.shapes(shape)["params"]))
    size = 4 * kept * parameters  # float32; all of an arm are in memory at once
    if size > LARGEST_BYTES:
        raise UsageError(
            f"{kept} snapshots of {parameters} parameters take {size / 2**30:.3g} GiB of memory, "
            "and as much on disk for each arm: give a larger --probe-every, or insist with --yes"
        )


def speed() -> float:
    """Floating-point operations a second, as they are assumed of this machine."""
    if jax.default_backend() != "cpu":
        return ACCELERATOR_OPERATIONS_PER_SECOND
    known = hasattr(os, "sched_getaffinity")
    cores = len(os.sched_getaffinity(0)) if known else os.cpu_count() or 1
    return cores * CORE_OPERATIONS_PER_SECOND


def forward_operations(model: Model, image_shape: tuple[int, ...], batch_size: int) -> float:
    """Floating-point operations of one image's way forward, as the compiler counts them.

    Nothing is compiled or run. NaN where the compiler does not count.
    """
    images = jax.ShapeDtypeStruct((batch_size, *image_shape), jnp.float32)
    forward = jax.jit(
        lambda variables, images: model.apply(**variables, images=images, train=False)
    )
    counted = forward.lower(model.shapes(image_shape), images).cost_analysis()
    return float((counted or {}).get("flops", math.nan)) / batch_size


def make_surface(arm: Arm) -> Callable[[TrainState], Callable[..., SurfaceRow]]:
    """Compile a row of the surface of one arm, the mean over the batches of its first images.

    Returns:
      `surface = make_surface(arm)(state)` of a trained network; `surface((d₁, d₂), row, columns)`
      has the values at θ + row · d₁ + columns · d₂. BatchNorm normalises with the statistics of
      each batch at each point (`batch`), with the averages of training (`running`, as Li et al.
      do), or with those pooled over all images at the trained network (`recalibrated`).

    Source: Li et al. 2018 (1712.09913), §3, eq. (1).
    """
    model, pipeline, objective, options = arm.model, arm.pipeline, arm.objective, arm.options
    pixels, labels = (
        array[: options.images].reshape(-1, pipeline.batch_size, *array.shape[1:])
        for array in arm.dataset.train
    )
    noise, train = key_for(arm, "noise"), options.statistics == "batch"
    measure = once(compile_row, model.initialised, pipeline, objective, train=train)

    def settle(state: TrainState) -> Callable[..., SurfaceRow]:
        batch_stats = state.batch_stats
        if options.statistics == "recalibrated":
            images = pipeline.standardise(pixels.reshape(-1, *pixels.shape[2:]))
            batch_stats = losses.pooled_statistics(
                model, state.params, batch_stats, images.reshape(pixels.shape), key=noise
            )

        def surface(plane: Plane, row: float, columns: np.ndarray) -> SurfaceRow:
            where = jnp.float32(row), jnp.asarray(columns, jnp.float32)
            return measure(noise, state.params, batch_stats, (pixels, labels), plane, *where)

        return surface

    return settle


def compile_row(
    model: Model, pipeline: Pipeline, objective: losses.Objective, *, train: bool
) -> Callable[..., SurfaceRow]:
    """A row of a surface as a function of arrays alone."""

    @jax.jit
    def measure(
        noise: PRNGKey,
        params: Params,
        batch_stats: BatchStats,
        batches: tuple[Array, Array],
        plane: Plane,
        row: Scalar,
        columns: Array,
    ) -> SurfaceRow:
        def on_batch(point: Params, batch: tuple[Array, Array]) -> tuple[Scalar, Scalar]:
            images, truth = pipeline.standardise(batch[0]), batch[1]
            key = noise if train else None
            logits, _ = model.apply(point, batch_stats, images, train=train, key=key)
            loss = objective(logits, truth)
            if objective.kernel_penalty:
                loss = loss + objective.of_part(len(batches[1])).penalty(point)
            return loss, losses.accuracy(logits, truth)

        def on_images(point: Params) -> tuple[Scalar, Scalar]:
            loss, accuracy = jax.lax.map(lambda batch: on_batch(point, batch), batches)
            return loss.sum() if objective.summed else loss.mean(), accuracy.mean()

        first = batches[0][0], batches[1][0]
        chunk = points_that_fit(lambda point: on_batch(point, first), params, columns.size)
        start = trees.move(params, plane[0], -row)
        found = values_on_line(
            on_images, start, plane[1], columns, chunk=chunk, precision="highest"
        )
        return SurfaceRow(row, columns, *found)

    return measure


def key_for(arm: Arm, use: str) -> Any:
    """The PRNG key of one use of the arm's key of probes."""
    return jax.random.fold_in(arm.key("probe"), KEYS.index(use))


def path_components(params: Params, snapshots: np.ndarray) -> Principal:
    """Principal components of snapshots `[probe_step, num_parameters]` less the trained network."""
    vectors = jnp.asarray(snapshots) - ravel_pytree(params)[0][None]
    return principal_components(vectors, min(COMPONENTS, len(snapshots) - 1))


def around(path: np.ndarray, points: int) -> np.ndarray:
    """Coordinates that hold 0 and all of a path, with a margin on either side."""
    low, high = min(path.min(), 0.0), max(path.max(), 0.0)
    margin = MARGIN * (high - low) or 1.0  # a path that stands still has no extent
    return coordinates(points, low - margin, high + margin)


def shapes_of(row: type, *shapes: tuple[int, ...]) -> Any:
    """A NamedTuple of float32 arrays of these shapes, as `jax.eval_shape` gives it."""
    return row(*(jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes))
