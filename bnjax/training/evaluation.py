"""Loss and accuracy on a whole split, with running statistics."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Int

from bnjax.data import Dataset, Split
from bnjax.data.batches import standardise_pixels
from bnjax.losses import correct
from bnjax.models import Model
from bnjax.types import BatchStats, Params, Pixels, Scalar


class Evaluation(NamedTuple):
    """Means over a whole split."""

    loss: Scalar  # cross-entropy, nats
    accuracy: Scalar  # in [0, 1]


def make_evaluate(
    model: Model, dataset: Dataset, *, chunk: int = 500
) -> Callable[[Params, BatchStats, Split], Evaluation]:
    """Compile the evaluation of a model on any split of a data set.

    Args:
      model: a `bnjax.models.Model`.
      dataset: gives the standardisation.
      chunk: images at a time; the last chunk is padded and masked, so every image counts once.

    Returns:
      `evaluate(params, batch_stats, split) -> Evaluation`, normalising with `batch_stats`.
    """

    @jax.jit
    def chunk_sums(
        params: Params,
        batch_stats: BatchStats,
        pixels: Pixels,
        labels: Int[Array, " num_images"],
        counted: Int[Array, ""],
    ) -> Evaluation:
        images = standardise_pixels(pixels, dataset.mean, dataset.std, jnp.dtype(jnp.float32))
        logits, _ = model.apply(params, batch_stats, images, train=False)
        mask = jnp.arange(chunk, dtype=counted.dtype) < counted
        losses = optax.losses.softmax_cross_entropy_with_integer_labels(logits, labels)
        hits = correct(logits, labels)
        return Evaluation(jnp.sum(losses, where=mask), jnp.sum(hits, where=mask))

    def evaluate(params: Params, batch_stats: BatchStats, split: Split) -> Evaluation:
        total = split.labels.shape[0]
        sums = []
        for start in range(0, total, chunk):
            counted = min(chunk, total - start)
            piece = jax.tree.map(
                lambda array, s=start: pad_rows(array[s : s + chunk], chunk), split
            )
            sums.append(chunk_sums(params, batch_stats, *piece, jnp.int32(counted)))
        return Evaluation(
            loss=sum(part.loss for part in sums) / total,
            accuracy=sum(part.accuracy for part in sums) / total,
        )

    return evaluate


def pad_rows(array: Array, count: int) -> Array:
    """`array` with zeros appended along the first axis up to `count` rows."""
    missing = count - array.shape[0]
    return jnp.pad(array, [(0, missing), *[(0, 0)] * (array.ndim - 1)]) if missing else array
