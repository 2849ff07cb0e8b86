"""Inputs of layers' non-linearities before and after a step's update."""

from collections.abc import Mapping, Sequence

import jax
from jaxtyping import Key

from bnjax.arithmetic import trees
from bnjax.data import Batch
from bnjax.errors import UsageError
from bnjax.models import Model
from bnjax.train.step import TrainState
from bnjax.types import Array, Params, PRNGKey


def before_and_after(
    model: Model,
    state: TrainState,
    next_params: Params,
    batch: Batch,
    layers: Sequence[str],
    *,
    keys: Key[Array, " 2"] | None = None,
) -> list[Array]:
    """Activations of some layers before and after an update, in training mode on one batch.

    `keys` are those of a model's noise at the two points; by default both share the step's noise,
    and only the update moves activations. For each layer `[2, batch, …, features]`.
    """

    def shown(point: tuple[Params, PRNGKey | None]) -> list[Array]:
        params, own = point
        key = batch.key if own is None else own
        found = model.preactivations(params, state.batch_stats, batch.images, key=key)
        return pick(found, layers)

    # A loop compiles the network once for both points.
    return jax.lax.map(shown, (trees.stack([state.params, next_params]), keys))


def pick(found: Mapping[str, Array], layers: Sequence[str]) -> list[Array]:
    """Some layers of a mapping by layer, e.g. of `Model.preactivations`."""
    if unknown := [name for name in layers if name not in found]:
        raise UsageError(f"layers {' '.join(unknown)}: the model has {' '.join(found)}")
    return [found[name] for name in layers]
