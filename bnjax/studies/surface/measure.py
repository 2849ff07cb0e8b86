"""Loss surfaces around a trained network: which images, which statistics, which plane."""

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
from bnjax.data import Batch, Dataset
from bnjax.errors import require
from bnjax.fields import Field
from bnjax.frame.arm import Arm, arm_values, build_model
from bnjax.probes.points import points_that_fit
from bnjax.probes.surface import coordinates, filter_direction, values_on_line
from bnjax.studies.surface import snapshots as count_snapshots
from bnjax.studies.surface.budget import (
    Budget,
    count_parameters,
    forward_operations,
    require_affordable,
)
from bnjax.train import Probe, every
from bnjax.train.loop import Measured, MeasureRow, Sweep
from bnjax.train.step import Gradient, TrainState
from bnjax.types import BatchStats, Params, Scalar

SNAPSHOTS = "_snapshots"  # the probe that keeps them; not among the published results
MARGIN = 0.25  # of the trajectory's extent, on either side of it
COMPONENTS = 5  # whose shares of the variance are kept
KEYS = ("line", "plane", "noise")  # uses of the key
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


class Values(NamedTuple):
    """What is measured at a point, or at `[points]`."""

    losses: Array  # mean over the images, nats for cross-entropy
    accuracies: Array  # in [0, 1]; NaN of a regression


def probes(arm: Arm) -> Mapping[str, Probe]:
    """Snapshots of the parameters, where their path is asked for."""
    if "trajectory" not in arm.options.views:
        return {}
    return {SNAPSHOTS: Probe(every(arm.options.probe_every), keep_snapshot)}


def keep_snapshot(state: TrainState, batch: Batch, gradient: Gradient) -> Snapshot:
    """The probe that rides along: the parameters before the step's update."""
    del batch, gradient
    return Snapshot(ravel_pytree(state.params)[0])


def after(arm: Arm) -> Mapping[str, Sweep]:
    """The views of one arm's trained network, and `principal` before `trajectory`.

    `lines` are 1-D, `plane` is 2-D, both along filter-normalised Gaussian directions and from
    −span to span in units of each filter's norm; `trajectory` is the plane of the two principal
    components of the training path, and `principal` these components.

    Source: Li et al. 2018 (1712.09913), §3, §4 and §7.2.
    """
    options, points = arm.options, arm.options.points
    symmetric = coordinates(points, -options.span, options.span)
    settle, draw = make_surface(arm), jax.jit(filter_direction)

    def direction(state: TrainState, use: str, number: int) -> Params:
        return draw(jax.random.fold_in(key_for(arm, use), number), state.params)

    def begin_lines(state: TrainState, measured: Measured) -> MeasureRow:
        del measured
        surface = settle(state)

        def measure(row: int) -> SurfaceRow:
            along = direction(state, "line", row)
            return surface((along, along), 0.0, symmetric)

        return measure

    def begin_plane(state: TrainState, measured: Measured) -> MeasureRow:
        del measured
        surface = settle(state)
        plane = direction(state, "plane", 0), direction(state, "plane", 1)
        return lambda row: surface(plane, symmetric[row], symmetric)

    def begin_principal(state: TrainState, measured: Measured) -> MeasureRow:
        found = path_components(state.params, measured[f"{SNAPSHOTS}_vector"])
        return lambda row: PrincipalRow(found.shares, found.coordinates[:, :2])

    def begin_trajectory(state: TrainState, measured: Measured) -> MeasureRow:
        surface = settle(state)
        found = path_components(state.params, measured[f"{SNAPSHOTS}_vector"])
        to_tree = ravel_pytree(state.params)[1]
        plane = to_tree(found.directions[1]), to_tree(found.directions[0])
        columns, rows = (
            around(np.asarray(found.coordinates[:, axis], np.float64), points) for axis in (0, 1)
        )
        return lambda row: surface(plane, rows[row], columns)

    shapes, snapshots = shapes_of(SurfaceRow, (), *[(points,)] * 3), count_snapshots(options)
    path = shapes_of(PrincipalRow, (min(COMPONENTS, snapshots - 1),), (snapshots, 2))
    known = {
        "lines": {"lines": Sweep(options.lines, shapes, begin_lines, "line")},
        "plane": {"plane": Sweep(points, shapes, begin_plane)},
        "trajectory": {
            "principal": Sweep(1, path, begin_principal, "path"),
            "trajectory": Sweep(points, shapes, begin_trajectory),
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
    """Refuse more images than there are, and grids that would take absurdly long."""
    shape, available = dataset.train.pixels.shape[1:], len(dataset.train.labels)
    most = available - available % options.batch_size
    require("--images", options.images, options.images <= most, f"at most {most} here")
    model = build_model(options, options.norms[0], dataset.num_classes)
    plane = options.points**2
    points = {"lines": options.lines * options.points, "plane": plane, "trajectory": plane}
    arms = len(arm_values(options)) * options.seeds
    budget = Budget(
        forward_passes=arms * options.images * sum(points[view] for view in options.views),
        operations=forward_operations(model, shape, options.batch_size),
        snapshots=count_snapshots(options) if "trajectory" in options.views else 0,
        parameters=count_parameters(model, shape),
    )
    remedy = "give fewer --points, --images, --norms or --views"
    require_affordable(budget, insist=options.yes, remedy=remedy)


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

    @jax.jit
    def measure(
        params: Params,
        batch_stats: BatchStats,
        pixels: Array,
        labels: Array,
        plane: Plane,
        row: Scalar,
        columns: Array,
    ) -> SurfaceRow:
        def on_batch(point: Params, batch: tuple[Array, Array]) -> Values:
            images = pipeline.standardise(batch[0])
            logits, _ = model.apply(
                point, batch_stats, images, train=train, key=noise if train else None
            )
            return Values(objective(logits, batch[1]), losses.accuracy(logits, batch[1]))

        def on_images(point: Params) -> Values:
            each = jax.lax.map(lambda batch: on_batch(point, batch), (pixels, labels))
            loss = each.losses.sum() if objective.summed else each.losses.mean()
            return Values(loss, each.accuracies.mean())

        values = values_on_line(
            on_images,
            trees.move(params, plane[0], -row),
            plane[1],
            columns,
            chunk=points_that_fit(
                lambda point: on_batch(point, (pixels[0], labels[0])), params, options.points
            ),
            precision="highest",
        )
        return SurfaceRow(row, columns, values.losses, values.accuracies)

    def settle(state: TrainState) -> Callable[..., SurfaceRow]:
        batch_stats = state.batch_stats
        if options.statistics == "recalibrated":
            images = pipeline.standardise(pixels.reshape(-1, *pixels.shape[2:]))
            batch_stats = losses.pooled_statistics(
                model, state.params, batch_stats, images.reshape(pixels.shape), key=noise
            )

        def surface(plane: Plane, row: float, columns: np.ndarray) -> SurfaceRow:
            where = jnp.float32(row), jnp.asarray(columns, jnp.float32)
            return measure(state.params, batch_stats, pixels, labels, plane, *where)

        return surface

    return settle


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
