"""Percentiles without sorting, which takes XLA half a second for two million numbers on a CPU."""

from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np
from jax import lax
from jaxtyping import Array, Float

from bnjax.arithmetic.moments import accumulator


def percentiles(
    values: Float[Array, " count"], levels: Sequence[float | int]
) -> Float[Array, " num_levels"]:
    r"""The smallest of the values that at least `level` percent of them do not exceed.

    Found bit by bit: numbers in the order of their bit patterns, one count for each bit. Exact, and
    five times as fast as sorting.

    Source: Hyndman & Fan 1996, definition 1 (numpy's `inverted_cdf`).

    Example:
      >>> percentiles(jnp.array([3.0, 1.0, 2.0, 4.0]), (0, 50, 100)).tolist()
      [1.0, 2.0, 4.0]
    """
    values = values.astype(accumulator(values.dtype))
    count, bits = values.shape[0], jnp.finfo(values.dtype).bits
    ranks = [max(0, int(np.ceil(level / 100 * count)) - 1) for level in levels]
    unsigned = {32: jnp.uint32, 64: jnp.uint64}[bits]
    sign = unsigned(1) << unsigned(bits - 1)
    # Bit patterns of positive floats ascend, those of negative ones descend; −0 becomes 0.
    words = lax.bitcast_convert_type(values + jnp.zeros((), values.dtype), unsigned)
    keys = jnp.where(words >= sign, ~words, words | sign)

    def narrow(index: Array, found: Array) -> Array:
        bit = unsigned(1) << (unsigned(bits - 1) - index.astype(unsigned))
        trial = found | bit
        # A loop over the levels compiles one count, in half the time of one a level.
        below = lax.map(lambda each: jnp.sum(keys < each, dtype=jnp.int32), trial)
        return jnp.where(below <= jnp.array(ranks, jnp.int32), trial, found)

    found = lax.fori_loop(0, bits, narrow, jnp.zeros(len(ranks), unsigned))
    words = jnp.where(found >= sign, found ^ sign, ~found)
    ordered = lax.bitcast_convert_type(words, values.dtype)
    return jnp.where(jnp.isnan(values).any(), jnp.nan, ordered)
