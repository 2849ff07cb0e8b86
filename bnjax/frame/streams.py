"""The random streams of a seed: each use has a key of its own, the same in every arm."""

from typing import Literal

import jax


def stream_key(seed: int, stream: Literal["init", "data", "probe", "select"]) -> jax.Array:
    """The PRNG key of one use of a seed; no two uses share one.

    Args:
      seed: 0 or more.
      stream: what is drawn: a network's start, the data's order, what probes draw, which
        parameters are trained.

    Returns:
      A typed key; the same in every arm.

    Example:
      >>> bool((stream_key(0, "init") == stream_key(0, "data")).all())
      False
    """
    streams = ("init", "data", "probe", "select")
    return jax.random.fold_in(jax.random.key(seed), streams.index(stream))
