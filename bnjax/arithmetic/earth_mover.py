r"""The earth mover distance between two sets of samples, and what bounds it.

$W_1(P, Q) = \min \mathbb E\|x - y\|_2$ over all couplings of $x \sim P$ and $y \sim Q$. Here P and
Q are empirical: each of the n samples given has mass 1/n. Every coupling gives an upper bound:

* pairs in their order, $\mathbb E\|a_i - b_i\|$: tight where sample i of both sets is the same
  example before and after a small step;
* independence, by Jensen $\sqrt{\|\mu_1 - \mu_2\|^2 + \mathrm{tr}\Sigma_1 + \mathrm{tr}\Sigma_2}$.

From below: $\|\mu_1 - \mu_2\|$ (Jensen), and every projection on a unit vector, since projections
shrink distances. The mean over directions u of the sphere obeys more,
$\mathbb E_u W_1(\langle u, P\rangle, \langle u, Q\rangle) \le c_D W_1(P, Q)$ with
$c_D = \mathbb E|u_1| \approx \sqrt{2 / (\pi D)}$.

Source: Huang & Yu 2020 (2001.02814) for the bounds; Bonneel et al. 2015 for slices.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from bnjax.arithmetic import euclidean
from bnjax.arithmetic.moments import moments
from bnjax.types import PRNGKey, Scalar


class Sliced(NamedTuple):
    """A mean over random directions."""

    distance: Scalar  # mean of the one-dimensional distances of the projections, units of samples
    error: Scalar  # its standard error over directions; NaN with one direction


class Bounds(NamedTuple):
    """Bounds of an earth mover distance by the first two moments, units of the samples."""

    lower: Float[Array, "*kept"]
    upper: Float[Array, "*kept"]


def centred(
    a: Float[Array, "samples dims"], b: Float[Array, "samples dims"]
) -> tuple[Float[Array, "samples dims"], Float[Array, "samples dims"]]:
    """Both less the mean of the first, in float32 or wider: distances stay.

    Sums over samples far from the origin would lose the digits that tell them apart.
    """
    mean = moments(a, axes=(0,)).mean[None]
    return a.astype(mean.dtype) - mean, b.astype(mean.dtype) - mean


def per_channel(
    a: Float[Array, "samples channels"], b: Float[Array, "samples channels"]
) -> Float[Array, " channels"]:
    r"""Earth mover distance of each channel, $\frac1n\sum_i|a_{(i)} - b_{(i)}|$ of sorted samples.

    In one dimension, pairing sorted samples is an optimal coupling.

    Example:
      >>> per_channel(jnp.array([[0.0], [1.0]]), jnp.array([[3.0], [2.0]])).tolist()
      [2.0]
    """
    # Along the last axis, as XLA's sort on a CPU is slow over strides; one sort compiles faster.
    first, second = jnp.sort(jnp.stack([a.T, b.T]), axis=-1)
    return jnp.mean(jnp.abs(first - second), axis=-1)


def sliced(
    key: PRNGKey,
    a: Float[Array, "samples dims"],
    b: Float[Array, "samples dims"],
    *,
    directions: int,
) -> Sliced:
    """Mean earth mover distance of the projections on random unit directions."""
    kind = a.dtype
    a, b = centred(a, b)
    chosen = jax.random.normal(key, (a.shape[1], directions), a.dtype)
    chosen = chosen / jnp.linalg.norm(chosen, axis=0, keepdims=True)
    distances = per_channel(*(jnp.matmul(x, chosen, precision="highest") for x in (a, b)))
    values, scale = euclidean.scaled(distances)
    error = jnp.std(values, ddof=1) / directions**0.5 * scale if directions > 1 else jnp.nan
    return Sliced(jnp.mean(distances).astype(kind), jnp.asarray(error, kind))


def slice_factor(dims: int) -> float:
    r"""$c_D = \Gamma(D/2) / (\sqrt\pi\,\Gamma((D+1)/2))$, the mean of $|u_1|$ over the sphere."""
    return math.exp(math.lgamma(dims / 2) - math.lgamma((dims + 1) / 2)) / math.sqrt(math.pi)


def channel_bounds(
    a: Float[Array, "samples channels"], b: Float[Array, "samples channels"]
) -> Bounds:
    r"""Bounds of `per_channel`: $|\mu_j - \mu'_j|$, $\sqrt{(\mu_j - \mu'_j)^2 + …}$."""
    (a, b), scale = euclidean.scaled(centred(a, b))
    first, second = moments(a, axes=(0,)), moments(b, axes=(0,))
    shift = jnp.abs(first.mean - second.mean)
    return Bounds(shift * scale, jnp.sqrt(jnp.square(shift) + first.var + second.var) * scale)


def bounds(a: Float[Array, "samples dims"], b: Float[Array, "samples dims"]) -> Bounds:
    r"""Bounds of the full distance, $\|\mu_1-\mu_2\| \le W_1 \le \sqrt{\|\mu_1-\mu_2\|^2 + …}$.

    With biased variances they hold exactly for the empirical distributions of the samples. The
    upper one bounds slices as well, the lower one does not.
    """
    # Both sides are sums over coordinates under one root.
    return Bounds(*(euclidean.norm(side) for side in channel_bounds(a, b)))


def paired(a: Float[Array, "samples dims"], b: Float[Array, "samples dims"]) -> Scalar:
    r"""$\frac1n\sum_i\|a_i - b_i\|_2$: the distance with samples coupled in order."""
    return jnp.mean(euclidean.norm(a - b, axes=(1,)))


def exact(a: Float[Array, "samples dims"], b: Float[Array, "samples dims"]) -> Scalar:
    r"""The earth mover distance in D dimensions, by an optimal assignment of the samples.

    For n equal masses some assignment of samples is an optimal coupling. Solved on the host
    (`scipy.optimize.linear_sum_assignment`): cheap up to a thousand samples, cubic beyond. NaN
    where a sample is not finite.

    Example:
      >>> exact(jnp.array([[0.0, 0.0], [1.0, 0.0]]), jnp.array([[1.0, 2.0], [0.0, 2.0]])).item()
      2.0
    """
    (x, y), _ = euclidean.scaled(centred(a, b))
    squares = [jnp.sum(jnp.square(samples), axis=-1) for samples in (x, y)]
    products = jnp.matmul(x, y.T, precision="highest")
    costs = jnp.sqrt(jnp.maximum(squares[0][:, None] + squares[1][None] - 2 * products, 0))
    # The formula above cancels where the samples of a pair are close to each other: it says who is
    # paired with whom, except with oneself, and the distance is taken from the pairs themselves.
    costs = jnp.fill_diagonal(costs, jnp.linalg.norm(x - y, axis=-1), inplace=False)
    partners = jax.ShapeDtypeStruct((len(a),), jnp.int32)
    found = paired(a, b[jax.pure_callback(assign, partners, costs, vmap_method="sequential")])
    return jnp.where(jnp.isfinite(costs).all(), found, jnp.nan)


def assign(costs: Array) -> np.ndarray:
    """The column of each row in the cheapest assignment; on the host."""
    from scipy.optimize import linear_sum_assignment  # takes half a second to import

    found = np.asarray(costs)
    if not np.isfinite(found).all():
        return np.arange(len(found), dtype=np.int32)
    return linear_sum_assignment(found)[1].astype(np.int32)


def normalised_bound(
    scale: Float[Array, " channels"],
    bias: Float[Array, " channels"],
    next_scale: Float[Array, " channels"],
    next_bias: Float[Array, " channels"],
    *,
    sites: int,
) -> Scalar:
    r"""The bound by BatchNorm's γ and β, for any layer.

    $W_1 \le \sqrt{2D}\,\max|\gamma| + \|\beta - \beta'\|$ where a sample is a vector of
    $D$ channels. With S sites (pixels) per channel, $D$ counts all of them, and the sites' means
    may differ from β: only
    $W_1 \le 2\sqrt D\,\max|\gamma| + \sqrt S\,\|\beta - \beta'\|$ holds, by the triangle
    inequality over the points β and β'.

    Source: Huang & Yu 2020; the case of many sites is derived here.
    """
    largest = jnp.maximum(jnp.max(jnp.abs(scale)), jnp.max(jnp.abs(next_scale)))
    factor = math.sqrt(2) if sites == 1 else 2.0
    shift = euclidean.norm(next_bias - bias)
    return factor * math.sqrt(sites * scale.size) * largest + math.sqrt(sites) * shift
