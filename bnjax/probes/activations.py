"""Distributions of activations: histograms, percentiles, moments, and how a step moves them."""

from collections.abc import Sequence
from typing import Annotated, NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float

from bnjax.arithmetic.moments import moment_changes
from bnjax.arithmetic.percentiles import percentiles as percentiles_of
from bnjax.errors import UsageError
from bnjax.fields import Field
from bnjax.probes.points import check_like, check_params
from bnjax.types import Scalar

PERCENTILES = (15.0, 50.0, 85.0)  # those of Ioffe & Szegedy 2015, Fig. 1


class Distribution(NamedTuple):
    """Of what a layer hands to its non-linearity, on the batch of the step.

    Percentiles, means and deviations are in units of the activations, `variance_change` in those
    units squared. A channel's moments are over the batch and its pixels; both changes are NaN
    without `after`.
    """

    histogram: Annotated[Float[Array, " bin"], Field("Histogram of activations", "share")]
    percentiles: Annotated[Float[Array, " percentile"], Field("Percentiles of activations")]
    channel_percentiles: Annotated[Float[Array, " percentile"], Field("Percentiles of one channel")]
    mean: Annotated[Scalar, Field("Mean of channels")]
    deviation: Annotated[Scalar, Field("Deviation of channels")]
    # Averages over channels of |μ'_j − μ_j| and of |σ'_j² − σ_j²|.
    mean_change: Annotated[Scalar, Field("Change of channels' mean in one step")]
    variance_change: Annotated[Scalar, Field("Change of channels' variance in one step")]


def distribution(
    before: Float[Array, "*batch channels"],
    after: Float[Array, "*batch channels"] | None = None,
    *,
    edges: Float[Array, " num_edges"],
    percentiles: Sequence[float] = PERCENTILES,
    channel: int = 0,
) -> Distribution:
    r"""The distribution of a layer's activations on one batch, and what an update does to it.

    Args:
      before: activations `[batch, …, channels]`, e.g. before the non-linearity.
      after: the same activations on the same batch after an optimiser step; None for no changes.
      edges: of the histogram, ascending, `[num_edges]`, units of the activations; values outside
        count in the first or last bin.
      percentiles: each in [0, 100].
      channel: the channel of `channel_percentiles`.

    Returns:
      A `Distribution`, in the dtype of the activations; percentiles of half precision are float32.

    Raises:
      UsageError: no such channel, or edges that are fewer than two or not one-dimensional; what is
        no floating-point array, or `after` not as `before`.

    Source: Santurkar et al. 2018, Fig. 1c and 8; Ioffe & Szegedy 2015, Fig. 1.

    Example:
      >>> x = jnp.array([[0.0, 1.0], [2.0, 3.0]])
      >>> distribution(x, edges=jnp.array([0.0, 1.5, 4.0])).histogram.tolist()
      [0.5, 0.5]
    """
    check_params(before, "before", narrow=True)
    check_params(edges, "edges", narrow=True)
    if after is not None:
        check_like(before, after, "after", "before")
    channels = before.shape[-1]
    if not 0 <= channel < channels:
        raise UsageError(f"channel={channel} does not exist: choose from 0 to {channels - 1}")
    if edges.ndim != 1 or edges.shape[0] < 2:
        raise UsageError(f"edges has shape {edges.shape}: give at least two, ascending")
    rows = before.reshape(-1, channels)
    # The number of a bin is the number of inner edges at or below the value.
    bins = jnp.searchsorted(edges[1:-1], rows.ravel(), side="right")
    counts = jnp.zeros(edges.shape[0] - 1, rows.dtype).at[bins].add(1)
    mean, variance = rows.mean(axis=0), rows.var(axis=0)
    changes = [jnp.full((), jnp.nan, rows.dtype)] * 2
    if after is not None:
        moved = moment_changes(rows, after.reshape(-1, channels), axes=(0,))
        changes = [jnp.mean(jnp.abs(change)).astype(rows.dtype) for change in moved]
    return Distribution(
        histogram=jnp.where(jnp.isnan(rows).any(), jnp.nan, counts / rows.size),
        percentiles=percentiles_of(rows.ravel(), percentiles),
        channel_percentiles=percentiles_of(rows[:, channel], percentiles),
        mean=jnp.mean(mean),
        deviation=jnp.mean(jnp.sqrt(variance)),
        mean_change=changes[0],
        variance_change=changes[1],
    )
