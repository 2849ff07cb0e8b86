"""The losses and accuracies of one row of a loss surface, on a fixed set of images."""

from collections.abc import Callable
from typing import Annotated, Literal, NamedTuple, TypeAlias

import jax
from jaxtyping import Array, Float

from bnjax import losses
from bnjax.arithmetic import trees
from bnjax.data import Pipeline
from bnjax.fields import Field
from bnjax.models import Model
from bnjax.probes.points import points_that_fit
from bnjax.probes.surface import values_on_line
from bnjax.types import BatchStats, Params, PRNGKey, Scalar

Statistics: TypeAlias = Literal["batch", "running", "recalibrated"]


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
