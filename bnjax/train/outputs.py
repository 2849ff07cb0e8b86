"""What layers hand to their non-linearities before and after a step's update."""

from collections.abc import Mapping, Sequence

import jax
from jaxtyping import Key

from bnjax.arithmetic import trees
from bnjax.data import Batch
from bnjax.errors import UsageError
from bnjax.models import Model
from bnjax.train.gradient import TrainState
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
    """Activations of some layers at both points, in training mode on one batch.

    Args:
      model: a `bnjax.models.Model`.
      state: before the update.
      next_params: after it.
      batch: the batch of the step, with the statistics of which both are normalised.
      layers: names, e.g. `("conv3", "conv11")`.
      keys: typed PRNG keys of a model's noise at the two points, `[2]`; by default both share the
        step's noise, and only the update moves activations.

    Returns:
      For each layer `[2, batch, …, features]`, before each non-linearity.

    Raises:
      UsageError: a layer that the model does not have.

    Example:
      >>> import jax.numpy as jnp
      >>> from bnjax.models import mlp, norms
      >>> model = mlp(norm=norms.none(), width=0.02)
      >>> batch = Batch(jnp.ones((4, 2, 2, 1)), jnp.zeros(4, jnp.int32))
      >>> state = TrainState(0, **model.init(jax.random.key(0), batch.images), opt_state=())
      >>> [found] = before_and_after(model, state, state.params, batch, ["dense1"])
      >>> found.shape, bool((found[0] == found[1]).all())
      ((2, 4, 2), True)
    """

    def shown(point: tuple[Params, PRNGKey | None]) -> list[Array]:
        params, own = point
        key = batch.key if own is None else own
        found = model.preactivations(params, state.batch_stats, batch.images, key=key)
        return pick(found, layers)

    # A loop compiles the network once for both points.
    both = trees.stack([state.params, next_params])
    outputs: list[Array] = jax.lax.map(shown, (both, keys))
    return outputs


def pick(found: Mapping[str, Array], layers: Sequence[str]) -> list[Array]:
    """What some layers hand on, of all that a model found.

    Args:
      found: by layer, `[…, features]` each; see `Model.preactivations`.
      layers: names among them.

    Raises:
      UsageError: naming those that are not there, and those that are.

    Example:
      >>> import jax.numpy as jnp
      >>> pick({"dense1": jnp.ones(1), "dense2": jnp.ones(2)}, ["dense2"])[0].tolist()
      [1.0, 1.0]
    """
    if unknown := [name for name in layers if name not in found]:
        raise UsageError(f"layers {' '.join(unknown)}: the model has {' '.join(found)}")
    return [found[name] for name in layers]
