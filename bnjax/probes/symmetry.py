"""Whether the channels of a layer are alike: the symmetry that an initialisation must break."""

from typing import Annotated, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from bnjax.arithmetic.layers import Parameter, flax_kernel
from bnjax.fields import Field
from bnjax.probes.points import check_params
from bnjax.types import Scalar


class Symmetry(NamedTuple):
    """Of the channels of a kernel, in units of its weights: those that start alike stay alike."""

    # |w_ku − w_kv| over inputs k and pairs of channels u, v
    difference: Annotated[Scalar, Field("Greatest difference of two channels")]
    size: Annotated[Scalar, Field("Greatest absolute weight")]


def symmetry(kernel: Float[Array, "..."], /, parameter: Parameter | None = None) -> Symmetry:
    r"""The largest difference between two channels of a layer, or of any in a stack of layers.

    $\max_k (\max_u w_{ku} - \min_u w_{ku})$: 0 if and only if all channels have the same weights.
    Equal channels stay equal where the next layer uses them equally: they get the same gradient,
    and any optimiser that works element by element gives them the same update.

    Args:
      kernel: weights; by default `[*fan_in, channels]`.
      parameter: which axes count channels and stacked layers, see `bnjax.probes.describe`.

    Returns:
      `Symmetry`, in units of the weights.

    Raises:
      UsageError: the kernel is no floating-point array.

    Source: Goodfellow et al. 2016, "Deep Learning", §8.4.

    Example:
      >>> symmetry(jnp.array([[1.0, 1.0], [2.0, -3.0]])).difference.item()
      5.0
    """
    check_params(kernel, "kernel", narrow=True)
    channels = (parameter or flax_kernel(kernel.ndim)).filter_axes
    spread = kernel.max(axis=channels) - kernel.min(axis=channels)
    return Symmetry(spread.max(), jnp.abs(kernel).max())
