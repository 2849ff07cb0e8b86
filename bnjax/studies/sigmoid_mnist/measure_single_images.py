"""Images classified one at a time, against the same images classified together."""

from collections.abc import Callable
from typing import Annotated, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from bnjax.arithmetic import trees
from bnjax.data import Batch
from bnjax.fields import Field
from bnjax.losses import accuracy
from bnjax.models import Model
from bnjax.train.gradient import Gradient, TrainState
from bnjax.types import Images, Labels, Logits

STATISTICS = ("running", "batch")
DIMS = {
    field: ("statistics",)
    for field in ("difference", "largest", "agreement", "accuracy", "accuracy_together")
}


PerStatistics: TypeAlias = Float[Array, " statistics"]


class SingleImages(NamedTuple):
    """Of test images one by one (alone) and in one batch (together)."""

    difference: Annotated[PerStatistics, Field("Largest difference of a logit, alone and together")]
    largest: Annotated[PerStatistics, Field("Largest |logit|, together")]
    agreement: Annotated[
        PerStatistics,
        Field("Share of images with the same class alone and together", bounded=True),
    ]
    accuracy: Annotated[PerStatistics, Field("Test accuracy of images alone", bounded=True)]
    accuracy_together: Annotated[
        PerStatistics, Field("Test accuracy of images together", bounded=True)
    ]


def make_single_images(
    model: Model, images: Images, labels: Labels
) -> Callable[[TrainState, Batch, Gradient], SingleImages]:
    """Compile the comparison for the states of one training run.

    Args:
      model: the model that is trained.
      images: standardised, `[count, height, width, channels]`.
      labels: their classes, `[count]`.

    Returns:
      `measure(state, batch, gradient) -> SingleImages`, compiled; fields `[2]` in the order of
      `STATISTICS`.

    Source: Ioffe & Szegedy 2015, §3.1: inference with population statistics, so that the output
      depends on one input alone.

    Example:
      >>> import optax
      >>> from bnjax.losses import cross_entropy
      >>> from bnjax.models import mlp, norms
      >>> from bnjax.train import init_state
      >>> from bnjax.train.gradient import compute_gradient
      >>> model = mlp(norm=norms.none(), num_classes=2, width=0.02)
      >>> batch = Batch(jnp.ones((4, 1, 1, 1)), jnp.array([0, 1, 0, 1]))
      >>> state = init_state(model, optax.sgd(0.1), jax.random.key(0), batch.images)
      >>> computed = compute_gradient(model, cross_entropy, state, batch)
      >>> measure = make_single_images(model, batch.images, batch.labels)
      >>> measure(state, batch, computed).agreement.tolist()  # nothing is shared by a batch
      [1.0, 1.0]
    """

    @jax.jit
    def measure(state: TrainState, batch: Batch, computed: Gradient) -> SingleImages:
        del computed  # of another batch
        columns = []
        for statistics in STATISTICS:

            def logits(images: Images, *, train: bool = statistics == "batch") -> Logits:
                return model.apply(
                    state.params, state.batch_stats, images, train=train, key=batch.key
                )[0]

            together = logits(images)
            alone = jax.lax.map(lambda image: logits(image[None])[0], images)
            columns.append(compare(alone, together, labels))
        return trees.stack(columns)

    return measure


def compare(alone: Logits, together: Logits, labels: Labels) -> SingleImages:
    """One column of `SingleImages`, from logits `[count, classes]`."""
    return SingleImages(
        difference=jnp.abs(alone - together).max(),
        largest=jnp.abs(together).max(),
        agreement=accuracy(alone, together.argmax(axis=-1)),
        accuracy=accuracy(alone, labels),
        accuracy_together=accuracy(together, labels),
    )
