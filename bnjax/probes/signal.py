"""What a network does to signals, by depth: gradients, inner products of examples, residual sums.

At initialisation each has a known value behind BatchNorm, which says why its step 0 is as it is.
"""

from collections.abc import Callable, Sequence
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from bnjax.arithmetic import euclidean, trees
from bnjax.errors import UsageError
from bnjax.fields import Field
from bnjax.probes.points import check_params, check_scalar
from bnjax.types import Scalar


class GradientRatios(NamedTuple):
    """Of the gradient by the outputs z_l of layers, on one batch."""

    norms: Annotated[Float[Array, " layer"], Field("Gradient norm ‖∂L/∂z‖ by the layer's output")]
    # NaN of the last layer.
    ratios: Annotated[Float[Array, " layer"], Field("‖∂L/∂z_l‖ / ‖∂L/∂z_{l+1}‖")]


def gradient_ratios(
    loss: Callable[[Sequence[Array]], Scalar], offsets: Sequence[Array]
) -> GradientRatios:
    r"""The growth of the gradient from each layer to the one below.

    $\|\partial L/\partial z_l\| / \|\partial L/\partial z_{l+1}\|$. In wide random networks of
    BatchNorm and ReLU it is $\sqrt{\pi/(\pi-1)} = 1.2112$: gradients explode with depth, whatever
    the scale of the weights.

    Args:
      loss: `loss(offsets) -> scalar`, the loss of the batch where `offsets[l]` is added to the
        output of layer l, before or after its normaliser, but the same in each layer.
      offsets: zeros in the shapes of these outputs, in the order of the layers.

    Returns:
      `GradientRatios`, in the dtype of the offsets.

    Raises:
      UsageError: the loss returns no scalar, or an offset is no float32 or float64 array.

    Source: Yang et al. 2019 (1902.08129).

    Example:
      >>> def loss(offsets):
      ...     first = jnp.ones(2) + offsets[0]
      ...     return jnp.sum(3 * first + offsets[1])
      >>> gradient_ratios(loss, [jnp.zeros(2), jnp.zeros(2)]).ratios.round(6).tolist()
      [3.0, nan]
    """
    offsets = list(offsets)
    check_scalar(loss, offsets, "offsets")
    norms = jnp.stack([trees.norm(one) for one in jax.grad(loss)(offsets)])
    return GradientRatios(norms, norms / jnp.append(norms[1:], jnp.nan))


class Orthogonality(NamedTuple):
    """How far the examples of a batch are from orthogonal to each other in each layer."""

    gaps: Annotated[Float[Array, " layer"], Field("Orthogonality gap ‖HᵀH/‖H‖² − I/n‖")]


def orthogonality(layers: Sequence[Array]) -> Orthogonality:
    r"""The orthogonality gap of each layer, $\|H^\top H/\|H\|_F^2 - I/n\|_F$, n examples.

    H has a column for each example. The gap is 0 for orthogonal examples of equal norm and
    $\sqrt{1-1/n}$ for parallel ones. In deep random linear networks with BatchNorm that takes no
    mean off it falls with the width as $1/\sqrt{\mathrm{width}}$. With the mean it cannot fall
    below $1/\sqrt{n(n-1)}$.

    Args:
      layers: activations `[batch, …]` of each layer, all of the same batch.

    Returns:
      `Orthogonality`, no unit.

    Raises:
      UsageError: no layer, or activations that are no floating-point arrays.

    Source: Daneshmand, Joudaki & Bach 2021 (2106.03970), §3.

    Example:
      >>> [round(float(gap), 4) for gap in orthogonality([jnp.eye(2), jnp.ones((2, 3))]).gaps]
      [0.0, 0.7071]
    """
    check_params(list(layers), "activations", narrow=True)

    def gap(activations: Array) -> Scalar:
        rows = euclidean.scaled(activations.reshape(activations.shape[0], -1)).values
        count = rows.shape[0]
        return trees.norm(
            rows @ rows.T / jnp.sum(rows**2) - jnp.eye(count, dtype=rows.dtype) / count
        )

    return Orthogonality(jnp.stack([gap(activations) for activations in layers]))


class ResidualShares(NamedTuple):
    """How much of the signal each residual block adds."""

    shares: Annotated[Float[Array, " block"], Field("Var(branch) / Var(sum)", bounded=True)]


def residual_shares(branches: Sequence[Array], sums: Sequence[Array]) -> ResidualShares:
    r"""The variance of each block's branch over that of the sum of branch and skip.

    $\mathrm{Var}(b_l)/\mathrm{Var}(x_l + b_l)$, over all examples and channels. At initialisation,
    from an input of unit variance, it is 1/(l + 1) at block l = 1, 2, … if branches are normalised,
    so that BatchNorm leaves deep residual networks near the identity; without it about ½ at any
    depth.

    Args:
      branches: what each block adds, `[batch, …]`.
      sums: what each block puts out, skip and branch, in the same shapes.

    Returns:
      `ResidualShares`; 1 where the skip is constant, above it where branch and skip cancel.

    Raises:
      UsageError: lists of different lengths or none, or what is no floating-point array.

    Source: De & Smith 2020 (2002.10444).

    Example:
      >>> skip, branch = jnp.array([[1.0, -1.0]]), jnp.array([[1.0, 1.0], [-1.0, -1.0]])
      >>> residual_shares([branch], [skip + branch]).shares.tolist()
      [0.5]
    """
    if len(branches) != len(sums):
        raise UsageError(
            f"there are {len(branches)} branches and {len(sums)} sums: give one of each a block"
        )
    check_params([list(branches), list(sums)], "branches and sums", narrow=True)
    pairs = zip(branches, sums, strict=True)
    return ResidualShares(jnp.stack([jnp.var(branch) / jnp.var(total) for branch, total in pairs]))
