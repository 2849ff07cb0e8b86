"""Loss surfaces around a trained network: which images, which statistics, which plane."""

from collections.abc import Callable, Mapping, Sequence
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float

from bnjax import losses
from bnjax.arithmetic import trees
from bnjax.arithmetic.principal import Principal, principal_components
from bnjax.data import Batch, Dataset, Pipeline, Split
from bnjax.errors import require
from bnjax.fields import Field
from bnjax.frame.arm import Arm, arm_values, build_model
from bnjax.models import Model
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
from bnjax.types import BatchStats, Params, PRNGKey, Scalar

View: TypeAlias = Literal["lines", "plane", "trajectory"]
Statistics: TypeAlias = Literal["batch", "running", "recalibrated"]

SNAPSHOTS = "_snapshots"  # the probe that keeps them; not among the published results
MARGIN = 0.25  # of the trajectory's extent, on either side of it
COMPONENTS = 5  # whose shares of the variance are told
KEYS = ("line", "plane", "noise")  # uses of the key


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


def probes(arm: Arm) -> Mapping[str, Probe]:
    """Snapshots of the parameters, where their path is asked for."""
    if "trajectory" not in arm.options.views:
        return {}
    return {SNAPSHOTS: Probe(every(arm.options.probe_every), keep_snapshot)}


def after(arm: Arm) -> Mapping[str, Sweep]:
    """The views of one arm's trained network."""
    options = arm.options
    return make_sweeps(
        arm.model,
        arm.pipeline,
        arm.dataset.train,
        arm.key("probe"),
        views=options.views,
        points=options.points,
        lines=options.lines,
        span=options.span,
        snapshots=count_snapshots(options),
        images=options.images,
        statistics=options.statistics,
        objective=arm.objective,
    )


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


def keep_snapshot(state: TrainState, batch: Batch, gradient: Gradient) -> Snapshot:
    """The probe that rides along: the parameters before the step's update."""
    del batch, gradient
    return Snapshot(ravel_pytree(state.params)[0])


def make_sweeps(
    model: Model,
    pipeline: Pipeline,
    split: Split,
    key: PRNGKey,
    *,
    views: Sequence[View],
    points: int,
    lines: int,
    span: float,
    snapshots: int,
    images: int,
    statistics: Statistics,
    objective: losses.Objective = losses.cross_entropy,
    precision: str = "highest",
) -> dict[str, Sweep]:
    """What is measured on the trained network, row by row.

    Args:
      model: the model that was trained.
      pipeline: batch size and standardisation.
      split: the training split; its first `images` make the surface.
      key: typed PRNG key of directions.
      views: `lines` (1-D, along `lines` filter-normalised random directions), `plane` (2-D, along
        two of them), `trajectory` (2-D, the plane of the training path's two principal components).
      points: on an axis, odd.
      lines: number of 1-D lines.
      span: lines and plane reach from −span to span, in units of each filter's norm.
      snapshots: rows of the probe `SNAPSHOTS`.
      images: a whole number of batches.
      statistics: what BatchNorm normalises with: `batch`, each batch at each point; `running`, the
        averages of training, as Li et al. 2018 do; `recalibrated`, the pooled statistics of all
        images at the trained point.
      objective: the loss.
      precision: matrix-product precision.

    Returns:
      `Sweep` by name: the views, and `principal` before `trajectory`.

    Source: Li et al. 2018 (1712.09913), §3, §4 and §7.2.

    Example:
      >>> from bnjax import data, models
      >>> from bnjax.train.sweep import run_sweeps
      >>> split = data.Split(jnp.zeros((4, 2, 2, 1), jnp.uint8), jnp.array([0, 1, 0, 1]))
      >>> model = models.mlp(norm=models.norms.none(), num_classes=2, width=0.02)
      >>> pipeline = Pipeline(4, 2, (0.0,), (1.0,))
      >>> some = {"snapshots": 2, "images": 4, "statistics": "batch"}
      >>> size = {"views": ["lines"], "points": 3, "lines": 2, "span": 1.0}
      >>> sweeps = make_sweeps(model, pipeline, split, jax.random.key(0), **size, **some)
      >>> start = model.init(jax.random.key(1), jnp.zeros((2, 2, 2, 1), jnp.float32))
      >>> state = TrainState(jnp.int32(0), **start, opt_state=())
      >>> for found in run_sweeps(sweeps, state, {}, start=0):
      ...     print(found.name, found.row, found.values.columns, found.values.losses.shape)
      lines 0 [-1.  0.  1.] (3,)
      lines 1 [-1.  0.  1.] (3,)
    """
    pixels, labels = (
        array[:images].reshape(-1, pipeline.batch_size, *array.shape[1:]) for array in split
    )
    keys = {use: jax.random.fold_in(key, number) for number, use in enumerate(KEYS)}
    measure_row = make_row(model, pipeline, points, statistics, objective, precision, keys["noise"])
    draw = jax.jit(filter_direction)

    def settle(state: TrainState) -> Callable[..., SurfaceRow]:
        """The row at given directions and coordinates, of one trained network."""
        batch_stats = state.batch_stats
        if statistics == "recalibrated":
            standard = pipeline.standardise(pixels.reshape(-1, *pixels.shape[2:]))
            batch_stats = losses.pooled_statistics(
                model,
                state.params,
                batch_stats,
                standard.reshape(pixels.shape),
                key=keys["noise"],
            )

        def settled(plane: tuple[Params, Params], row: float, columns: np.ndarray) -> SurfaceRow:
            where = jnp.float32(row), jnp.asarray(columns, jnp.float32)
            return measure_row(state.params, batch_stats, pixels, labels, plane, *where)

        return settled

    symmetric = coordinates(points, -span, span)

    def begin_lines(state: TrainState, measured: Measured) -> MeasureRow:
        del measured
        settled = settle(state)

        def measure(row: int) -> SurfaceRow:
            direction = draw(jax.random.fold_in(keys["line"], row), state.params)
            return settled((direction, direction), 0.0, symmetric)

        return measure

    def begin_plane(state: TrainState, measured: Measured) -> MeasureRow:
        del measured
        settled = settle(state)
        first, second = (
            draw(jax.random.fold_in(keys["plane"], axis), state.params) for axis in (0, 1)
        )
        return lambda row: settled((first, second), symmetric[row], symmetric)

    def begin_principal(state: TrainState, measured: Measured) -> MeasureRow:
        found = path_components(state.params, measured[f"{SNAPSHOTS}_vector"])
        return lambda row: PrincipalRow(found.shares, found.coordinates[:, :2])

    def begin_trajectory(state: TrainState, measured: Measured) -> MeasureRow:
        settled = settle(state)
        found = path_components(state.params, measured[f"{SNAPSHOTS}_vector"])
        to_tree = ravel_pytree(state.params)[1]
        across, along = (to_tree(found.directions[axis]) for axis in (1, 0))
        columns, rows = (
            around(np.asarray(found.coordinates[:, axis], np.float64), points) for axis in (0, 1)
        )
        return lambda row: settled((across, along), rows[row], columns)

    surface_row = shapes_of(SurfaceRow, (), (points,), (points,), (points,))
    components = min(COMPONENTS, snapshots - 1)
    path = shapes_of(PrincipalRow, (components,), (snapshots, 2))
    known = {
        "lines": {"lines": Sweep(lines, surface_row, begin_lines, "line")},
        "plane": {"plane": Sweep(points, surface_row, begin_plane)},
        "trajectory": {
            "principal": Sweep(1, path, begin_principal, "path"),
            "trajectory": Sweep(points, surface_row, begin_trajectory),
        },
    }
    return {name: sweep for view in views for name, sweep in known[view].items()}


def path_components(params: Params, snapshots: np.ndarray) -> Principal:
    """Principal components of the differences of snapshots to the trained network.

    Args:
      params: of the trained network.
      snapshots: `[num_snapshots, num_parameters]`.

    Returns:
      A `Principal` of at most `COMPONENTS` directions.

    Source: Li et al. 2018 (1712.09913), §7.2.

    Example:
      >>> path = np.array([[0.0, 3.0], [0.0, 2.0], [0.0, 1.0]])  # straight to the trained network
      >>> path_components({"w": jnp.zeros(2)}, path).shares[0].round(3).item()
      1.0
    """
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


class Values(NamedTuple):
    """What is measured at a point, or at `[points]`."""

    losses: Array  # mean over the images, nats for cross-entropy
    accuracies: Array  # in [0, 1]; NaN of a regression


class SurfaceRow(NamedTuple):
    """Around the trained network, along directions d₁ and d₂: at θ + row · d₁ + column · d₂."""

    row: Annotated[Scalar, Field("Coordinate along the first direction")]  # of lines 0
    columns: Annotated[Float[Array, " column"], Field("Coordinate along the second direction")]
    losses: Annotated[Float[Array, " column"], Field("Loss")]
    accuracies: Annotated[Float[Array, " column"], Field("Accuracy", bounded=True)]


def make_row(
    model: Model,
    pipeline: Pipeline,
    points: int,
    statistics: Statistics,
    objective: losses.Objective,
    precision: str,
    noise: PRNGKey,
) -> Callable[..., SurfaceRow]:
    """Compile a row of a surface.

    Args:
      model: the model that was trained.
      pipeline: batch size and standardisation.
      points: of the row.
      statistics: `batch`, or those that are handed over, `running` or `recalibrated`.
      objective: the loss.
      precision: matrix-product precision.
      noise: key of what is random in the model, the same at each point.

    Returns:
      `measure(params, batch_stats, pixels, labels, (first, second), row, columns)`, with pixels
      uint8 `[num_batches, batch, height, width, channels]` and labels `[num_batches, batch]`; the
      values at `params + row · first + columns · second`.

    Source: Li et al. 2018 (1712.09913), §3, eq. (1).

    Example:
      >>> import jax.numpy as jnp
      >>> from bnjax import models
      >>> model = models.mlp(norm=models.norms.none(), num_classes=2, width=0.02)
      >>> start = model.init(jax.random.key(0), jnp.zeros((2, 2, 2, 1), jnp.float32))
      >>> pipeline, key = Pipeline(4, 2, (0.0,), (1.0,)), jax.random.key(1)
      >>> measure = make_row(model, pipeline, 3, "batch", losses.cross_entropy, "highest", key)
      >>> pixels, labels = jnp.zeros((1, 2, 2, 2, 1), jnp.uint8), jnp.array([[0, 1]])
      >>> plane = start["params"], start["params"]
      >>> columns = jnp.array([-1.0, 0.0, 1.0], jnp.float32)
      >>> row = measure(*start.values(), pixels, labels, plane, jnp.float32(0), columns)
      >>> row.losses.shape, row.accuracies.shape
      ((3,), (3,))
    """

    @jax.jit
    def measure(
        params: Params,
        batch_stats: BatchStats,
        pixels: Array,
        labels: Array,
        plane: tuple[Params, Params],
        row: Scalar,
        columns: Array,
    ) -> SurfaceRow:
        def on_batch(point: Params, batch: tuple[Array, Array]) -> Values:
            images = pipeline.standardise(batch[0])
            train = statistics == "batch"
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
                lambda point: on_batch(point, (pixels[0], labels[0])), params, points
            ),
            precision=precision,
        )
        return SurfaceRow(row, columns, values.losses, values.accuracies)

    return measure
