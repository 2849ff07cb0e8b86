"""ReLUs that can be asked how much of their output is zero."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from bnjax.errors import UsageError
from bnjax.models.model import Model
from bnjax.types import BatchStats, Images, Params, Scalar

ZEROS = "zeros"  # the collection of counts


def rectify(module: nn.Module, name: str, x: Float[Array, "..."]) -> Float[Array, "..."]:
    """ReLU; its numbers of zeros and of outputs are stored for whoever asks for `ZEROS`.

    Args:
      module: the one in whose call this happens.
      name: of the layer before it.
      x: pre-activations `[batch, …]`.
    """
    y = nn.relu(x)
    if module.is_mutable_collection(ZEROS) and not module.is_initializing():
        counts = jnp.stack([jnp.sum(y == 0, dtype=y.dtype), jnp.asarray(y.size, y.dtype)])
        module.put_variable(ZEROS, name, counts)
    return y


def zero_share(model: Model, params: Params, batch_stats: BatchStats, images: Images) -> Scalar:
    """The share of zeros among the outputs of all ReLUs of a network, with running statistics.

    Args:
      model: one whose ReLUs are `rectify`, e.g. `bnjax.models.resnet`.
      params: as `Model.init` returns them.
      batch_stats: running statistics.
      images: standardised, `[batch, height, width, channels]`.

    Raises:
      UsageError: the model's ReLUs do not count.

    Example:
      >>> from bnjax.models import norms, resnet
      >>> model, images = resnet(8, norm=norms.batch_norm(), width=0.125), jnp.zeros((1, 8, 8, 3))
      >>> variables = model.init(jax.random.key(0), images)
      >>> float(zero_share(model, **variables, images=images))  # black images: no activation at all
      1.0
    """
    variables = {"params": params, "batch_stats": batch_stats}
    _, counted = model.module.apply(variables, images, train=False, mutable=[ZEROS])
    counts = jax.tree.leaves(counted.get(ZEROS, {}))
    if not counts:
        raise UsageError(
            f"the ReLUs of {type(model.module).__name__} do not count their zeros: use resnet"
        )
    totals = sum(leaf.reshape(-1, 2).sum(axis=0) for leaf in counts)
    return totals[0] / totals[1]
