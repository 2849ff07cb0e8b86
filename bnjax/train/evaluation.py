"""Loss and accuracy on a whole split, with running statistics."""

import functools
from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from bnjax.data import Dataset, Split
from bnjax.data.batches import spread_examples, standardise_pixels
from bnjax.errors import UsageError
from bnjax.fields import Field
from bnjax.losses import Objective, check_classes, correct, cross_entropy
from bnjax.models import Model
from bnjax.types import BatchStats, Labels, Params, Pixels, Scalar


class Evaluation(NamedTuple):
    """On a whole split, with running statistics; the loss without any penalty.

    The loss is the mean over the split, in nats for cross-entropy, or its sum if the objective is
    one; the accuracy is NaN of a regression.
    """

    loss: Annotated[Scalar, Field("Test loss")]
    accuracy: Annotated[Scalar, Field("Test accuracy", bounded=True)]


def make_evaluate(
    model: Model,
    dataset: Dataset,
    *,
    objective: Objective = cross_entropy,
    chunk: int = 500,
    mesh: jax.sharding.Mesh | None = None,
) -> Callable[[Params, BatchStats, Split], Evaluation]:
    """Compile the evaluation of a model on any split of a data set.

    Args:
      model: a `bnjax.models.Model`.
      dataset: gives the standardisation.
      objective: the loss.
      chunk: largest number of images at a time; the last ones are padded and masked, so every
        image counts once.
      mesh: devices with an axis `data` over which the images of a chunk are spread.

    Returns:
      `evaluate(params, batch_stats, split) -> Evaluation`, normalising with `batch_stats`.

    Raises:
      UsageError: `evaluate` of a split without images, with another number of labels or with
        labels that are no classes of the data set.
    """
    chunk_sums = compile_chunk(
        model.initialised, dataset.mean, dataset.std, dataset.is_regression, objective, mesh
    )
    devices = 1 if mesh is None else mesh.shape["data"]

    def evaluate(params: Params, batch_stats: BatchStats, split: Split) -> Evaluation:
        total = split.labels.shape[0]
        if not total or split.pixels.shape[0] != total:
            raise UsageError(
                f"the split has pixels {split.pixels.shape} and labels {split.labels.shape}: give "
                "one label for each image, and at least one image"
            )
        check_classes(split.labels, dataset.num_classes)
        size = -(-total // -(-total // chunk))  # equal chunks, so that padding is least
        size = -(-size // devices) * devices
        sums = []
        for start in range(0, total, size):
            counted = min(size, total - start)
            part = jax.tree.map(lambda array, s=start: pad_rows(array[s : s + size], size), split)
            sums.append(chunk_sums(params, batch_stats, *part, jnp.int32(counted)))
        return Evaluation(
            loss=sum(part.loss for part in sums) / (1 if objective.summed else total),
            accuracy=sum(part.accuracy for part in sums) / total,
        )

    return evaluate


@functools.lru_cache(maxsize=16)
def compile_chunk(
    model: Model,
    mean: tuple[float, ...],
    std: tuple[float, ...],
    is_regression: bool,
    objective: Objective,
    mesh: jax.sharding.Mesh | None,
) -> Callable[..., Any]:
    """Sums over the first `counted` images of a chunk; compiled once for all equal models."""

    @jax.jit
    def chunk_sums(
        params: Params,
        batch_stats: BatchStats,
        pixels: Pixels,
        labels: Labels,
        counted: Int[Array, ""],
    ) -> Evaluation:
        pixels, labels = spread_examples((pixels, labels), mesh)
        images = standardise_pixels(pixels, mean, std, jnp.dtype(jnp.float32))
        logits, _ = model.apply(params, batch_stats, images, train=False)
        mask = jnp.arange(len(labels), dtype=counted.dtype) < counted
        losses = mean_of_positions(objective.each(logits, labels))
        if is_regression:
            hits = jnp.full_like(losses, jnp.nan)
        else:
            hits = mean_of_positions(correct(logits, labels).astype(losses.dtype))
        return Evaluation(jnp.sum(losses, where=mask), jnp.sum(hits, where=mask))

    return chunk_sums


def mean_of_positions(values: Float[Array, " batch *positions"]) -> Float[Array, " batch"]:
    """One number for each example, the mean where it has several positions."""
    return values.reshape(len(values), -1).mean(axis=1) if values.ndim > 1 else values


def pad_rows(array: Array, count: int) -> Array:
    """`array` with zeros appended along the first axis up to `count` rows."""
    missing = count - array.shape[0]
    return jnp.pad(array, [(0, missing), *[(0, 0)] * (array.ndim - 1)]) if missing else array
