"""Internal covariate shift as an earth mover distance: how far a step moves a layer's outputs.

A sample of a layer is the whole output of one example, all pixels and channels in one vector. A
sample of a channel is its output at one pixel of one example. All samples have the same mass.
"""

from collections.abc import Sequence
from typing import Annotated, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from bnjax.arithmetic import earth_mover as distances
from bnjax.arithmetic.moments import moment_changes, moments
from bnjax.arithmetic.percentiles import percentiles as percentiles_of
from bnjax.fields import Field
from bnjax.probes.activations import PERCENTILES
from bnjax.probes.points import check_counts, check_key, check_like, check_params
from bnjax.types import PRNGKey, Scalar


class Affine(NamedTuple):
    """γ and β of a layer's BatchNorm before and after the step, in units of its output."""

    scale: Float[Array, " channels"]
    bias: Float[Array, " channels"]
    next_scale: Float[Array, " channels"]
    next_bias: Float[Array, " channels"]


class EarthMover(NamedTuple):
    """Between a layer's outputs on the batch before and after the step's actual update.

    In units of the layer's output, unless said otherwise; μ and Σ are means and covariances. Fields
    of channels are averages over the layer's channels.
    """

    dimension: Annotated[Scalar, Field("Dimension D of the layer")]
    deviation: Annotated[Scalar, Field("Deviation of the layer √tr Σ")]  # before the step
    sliced: Annotated[Scalar, Field("Sliced distance")]  # mean over random directions
    sliced_error: Annotated[Scalar, Field("Standard error of the sliced distance")]
    # `sliced` / c_D: at most `exact` in expectation.
    scaled: Annotated[Scalar, Field("Sliced distance, scaled to all dimensions")]
    exact: Annotated[Scalar, Field("Earth mover distance W₁")]  # NaN where it was not asked for
    paired: Annotated[Scalar, Field("Distance of each example to itself")]  # at least `exact`
    lower: Annotated[Scalar, Field("Lower bound ‖μ₁ − μ₂‖")]
    upper: Annotated[Scalar, Field("Upper bound √(‖μ₁ − μ₂‖² + tr Σ₁ + tr Σ₂)")]
    norm_bound: Annotated[Scalar, Field("Bound by BatchNorm's γ and β")]  # NaN of other layers
    channel: Annotated[Scalar, Field("Distance of channels, mean")]
    channel_percentiles: Annotated[
        Float[Array, " percentile"], Field("Distance of channels, percentiles")
    ]
    channel_lower: Annotated[Scalar, Field("Lower bound of channels, mean")]
    channel_upper: Annotated[Scalar, Field("Upper bound of channels, mean")]
    channel_deviation: Annotated[Scalar, Field("Deviation of channels, mean")]  # before the step
    mean_change: Annotated[Scalar, Field("Change of channels' mean")]  # mean of |μ'_j − μ_j|
    variance_change: Annotated[Scalar, Field("Change of channels' variance")]  # units squared
    skewness_change: Annotated[Scalar, Field("Change of channels' skewness")]  # no unit
    kurtosis_change: Annotated[Scalar, Field("Change of channels' kurtosis")]  # no unit


def earth_mover(
    key: PRNGKey,
    before: Float[Array, "batch *sites channels"],
    after: Float[Array, "batch *sites channels"],
    *,
    directions: int = 64,
    pixels: int = 16,
    percentiles: Sequence[float] = PERCENTILES,
    exact: bool = True,
    affine: Affine | None = None,
) -> EarthMover:
    """How far one step moves the distribution of a layer's outputs on one batch.

    Args:
      key: typed PRNG key of directions and pixels.
      before: outputs `[batch, …, channels]`, e.g. before the non-linearity.
      after: those of the same examples after the step, in the shape, dtype and units of `before`.
      directions: of the sliced distance.
      pixels: random pixels of every example, drawn with replacement and the same before and after,
        which are the samples of a channel's distance and bounds; a layer that has no more gives
        all of its pixels. Everything else is taken over all pixels.
      percentiles: over channels, in [0, 100].
      exact: whether to solve for the distance in D dimensions, see `arithmetic.earth_mover.exact`.
      affine: of a layer behind BatchNorm whose batch this is, for the bound that they set.

    Returns:
      An `EarthMover`.

    Raises:
      UsageError: directions or pixels below 1; `before` is no floating-point array, or `after` not
        as `before`.

    Source: Huang & Yu 2020 (2001.02814).

    Example:
      >>> x = jax.random.normal(jax.random.key(0), (16, 3))
      >>> moved = earth_mover(jax.random.key(1), x, x + jnp.array([[3.0, 4.0, 0.0]]))
      >>> round(float(moved.exact), 4), round(float(moved.lower), 4)
      (5.0, 5.0)
    """
    check_counts(directions=directions, pixels=pixels)
    check_key(key)
    check_params(before, "before", narrow=True)
    check_like(before, after, "after", "before")
    batch, channels = before.shape[0], before.shape[-1]
    vectors = [x.reshape(batch, -1) for x in (before, after)]
    images = [x.reshape(batch, -1, channels) for x in (before, after)]
    sites = images[0].shape[1]
    direction_key, pixel_key = jax.random.split(key)
    slices = distances.sliced(direction_key, *vectors, directions=directions)
    full = distances.bounds(*vectors)
    if pixels < sites:
        shown = jax.random.randint(pixel_key, (batch, pixels, 1), 0, sites)
        samples = [jnp.take_along_axis(x, shown, axis=1).reshape(-1, channels) for x in images]
    else:
        samples = [x.reshape(-1, channels) for x in images]
    per_channel = distances.per_channel(*samples)
    channel = distances.channel_bounds(*samples)
    rows = [x.reshape(-1, channels) for x in images]
    (var, *first), (_, *later) = map(shape_of, rows)
    shapes = [after - before for before, after in zip(first, later, strict=True)]
    moved = moment_changes(rows[0], rows[1], axes=(0,))
    changes = [jnp.mean(jnp.abs(change)) for change in (*moved, *shapes)]
    dims = sites * channels
    nothing = jnp.full((), jnp.nan, before.dtype)
    return EarthMover(
        dimension=jnp.full((), dims, before.dtype),
        deviation=jnp.sqrt(jnp.sum(moments(vectors[0], axes=(0,)).var)),
        sliced=slices.distance,
        sliced_error=slices.error,
        scaled=slices.distance / distances.slice_factor(dims),
        exact=distances.exact(*vectors) if exact else nothing,
        paired=distances.paired(*vectors),
        lower=full.lower,
        upper=full.upper,
        norm_bound=distances.normalised_bound(*affine, sites=sites) if affine else nothing,
        channel=jnp.mean(per_channel),
        channel_percentiles=percentiles_of(per_channel, percentiles),
        channel_lower=jnp.mean(channel.lower),
        channel_upper=jnp.mean(channel.upper),
        channel_deviation=jnp.mean(jnp.sqrt(var)),
        mean_change=changes[0],
        variance_change=changes[1],
        skewness_change=changes[2],
        kurtosis_change=changes[3],
    )


def shape_of(samples: Float[Array, "samples channels"]) -> tuple[Float[Array, " channels"], ...]:
    """Biased variance, skewness and kurtosis; all three of a constant channel are 0."""
    # Seen from the first sample, which is exact far from the origin, and 0 in a constant channel.
    samples = samples - samples[:1]
    mean, var = moments(samples, axes=(0,))
    scale = jnp.where(var > 0, jax.lax.rsqrt(jnp.where(var > 0, var, 1)), 0)
    standardised = (samples - mean[None]) * scale[None]
    third, fourth = (jnp.mean(standardised**power, axis=0) for power in (3, 4))
    return var, third, fourth
