"""Whether the channels of a layer are alike: the symmetry that an initialisation must break."""

from typing import Annotated, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from bnjax.fields import Field
from bnjax.types import Scalar


class Symmetry(NamedTuple):
    """Of the channels of a kernel, in units of its weights: those that start alike stay alike."""

    # |w_ku − w_kv| over inputs k and pairs of channels u, v
    difference: Annotated[Scalar, Field("Greatest difference of two channels")]
    size: Annotated[Scalar, Field("Greatest absolute weight")]


def symmetry(kernel: Float[Array, "*fan_in channels"], /) -> Symmetry:
    r"""The largest difference between two channels of a layer.

    $\max_k (\max_u w_{ku} - \min_u w_{ku})$: 0 if and only if all channels have the same weights.
    Equal channels stay equal where the next layer uses them equally: they get the same gradient,
    and any optimiser that works element by element gives them the same update.

    Args:
      kernel: weights, `[*fan_in, channels]`.

    Returns:
      `Symmetry`, in units of the weights.

    Source: Goodfellow et al. 2016, "Deep Learning", §8.4.

    Example:
      >>> symmetry(jnp.array([[1.0, 1.0], [2.0, -3.0]])).difference.item()
      5.0
    """
    weights = kernel.reshape(-1, kernel.shape[-1])
    spread = weights.max(axis=1) - weights.min(axis=1)
    return Symmetry(spread.max(), jnp.abs(weights).max())
