"""Percentiles of what each unit of a layer hands to its non-linearity, over fixed images."""

from collections.abc import Callable, Sequence
from typing import Annotated, Literal, NamedTuple

import jax
from jaxtyping import Array, Float

from bnjax.arithmetic.percentiles import percentiles as percentiles_of
from bnjax.data import Batch
from bnjax.fields import Field
from bnjax.models import Model
from bnjax.probes.activations import PERCENTILES
from bnjax.train.gradient import Gradient, TrainState
from bnjax.train.outputs import pick
from bnjax.types import Images

DIMS = {"percentiles": ("unit", "percentile")}


class UnitPercentiles(NamedTuple):
    """Of the input to each sigmoid of one layer, over the same images at every step."""

    percentiles: Annotated[
        Float[Array, "channel percentile"], Field("Percentiles of the input to each sigmoid")
    ]


def make_unit_percentiles(
    model: Model,
    layer: str,
    images: Images,
    *,
    percentiles: Sequence[float] = PERCENTILES,
    statistics: Literal["batch", "running"] = "batch",
) -> Callable[[TrainState, Batch, Gradient], UnitPercentiles]:
    """Compile the percentiles of a layer's units for the states of one training run.

    Args:
      model: the model that is trained.
      layer: its name, e.g. `dense3`.
      images: standardised `[count, height, width, channels]`, the same ones at every step, so that
        only training moves the percentiles.
      percentiles: in [0, 100], ascending.
      statistics: what BatchNorm normalises with: those of `images`, or the running ones.

    Returns:
      `measure(state, batch, gradient) -> UnitPercentiles`, compiled.

    Raises:
      UsageError: at its first call, of a layer that the model does not have.

    Source: Ioffe & Szegedy 2015, Fig. 1 (b, c).

    Example:
      >>> import jax.numpy as jnp
      >>> import optax
      >>> from bnjax.losses import cross_entropy
      >>> from bnjax.models import mlp, norms
      >>> from bnjax.train import init_state
      >>> from bnjax.train.gradient import compute_gradient
      >>> model = mlp(norm=norms.none(), num_classes=2, width=0.02)
      >>> batch = Batch(jnp.ones((4, 1, 1, 1)), jnp.array([0, 1, 0, 1]))
      >>> state = init_state(model, optax.sgd(0.1), jax.random.key(0), batch.images)
      >>> computed = compute_gradient(model, cross_entropy, state, batch)
      >>> measure = make_unit_percentiles(model, "dense3", batch.images)
      >>> measure(state, batch, computed).percentiles.shape
      (2, 3)
    """

    @jax.jit
    def measure(state: TrainState, batch: Batch, computed: Gradient) -> UnitPercentiles:
        del computed  # of another batch
        outputs = model.preactivations(
            state.params, state.batch_stats, images, train=statistics == "batch", key=batch.key
        )
        [found] = pick(outputs, [layer])
        rows = found.reshape(-1, found.shape[-1])
        return UnitPercentiles(
            jax.vmap(lambda unit: percentiles_of(unit, percentiles), in_axes=1)(rows)
        )

    return measure
