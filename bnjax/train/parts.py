"""The parts of a network that Frankle et al. 2020 train while the rest stays as drawn."""

import math
from typing import Literal, TypeAlias

import jax
import numpy as np
from jaxtyping import Int

from bnjax.arithmetic import trees
from bnjax.arithmetic.layers import describe, of_norm
from bnjax.arithmetic.trees import Selection
from bnjax.types import Params, PRNGKey

Part: TypeAlias = Literal["all", "bn", "bn+output", "random", "random_anywhere", "output"]


def select(part: Part, shapes: Params, key: PRNGKey) -> Selection:
    """The trained part of a network.

    Args:
      part: `all`; `bn`, γ and β of every normaliser; `bn+output`, these and the last layer;
        `random`, of each channel's kernel as many elements as the channel has of γ and β, as in
        Frankle et al. 2020, §4; `random_anywhere`, as many in all, drawn uniformly from all
        parameters but γ and β; `output`, the last layer.
      shapes: of all parameters.
      key: typed PRNG key, for random parts.

    Returns:
      A `Selection` for `init_state` and `make_program`.

    Raises:
      UsageError: no parameter is selected.

    Source: Frankle et al. 2020 (2003.00152), §3 and §4.

    Example:
      >>> import jax.numpy as jnp
      >>> layer = {"kernel": jnp.ones(3), "norm": {"scale": jnp.ones(1), "bias": jnp.ones(1)}}
      >>> chosen = select("bn", {"conv1": layer}, jax.random.key(0))
      >>> len(jax.tree.leaves(chosen.split({"conv1": layer})))
      2
    """
    if part == "all":
        return trees.EVERYTHING
    if part == "random":
        return trees.elements(random_per_channel(key, shapes))
    if part == "random_anywhere":
        count = norm_size(shapes)
        return trees.elements(trees.random_elements(key, shapes, count, not_of_norm))
    wanted = {"bn": (of_norm,), "bn+output": (of_norm, of_output), "output": (of_output,)}[part]
    return trees.leaves_where(lambda name: any(belongs(name) for belongs in wanted))


def not_of_norm(name: str) -> bool:
    """Whether a parameter is no normaliser's, by its name."""
    return not of_norm(name)


def of_output(name: str) -> bool:
    """Whether a parameter is the last layer's."""
    return name.startswith("output/")


def norm_size(shapes: Params) -> int:
    """The number of parameters γ and β."""
    return sum(leaf.size for name, leaf in trees.named_leaves(shapes).items() if of_norm(name))


def random_per_channel(key: PRNGKey, shapes: Params) -> dict[str, Int[np.ndarray, " chosen"]]:
    """Of each channel's kernel as many random elements as the channel has of γ and β."""
    leaves, described = trees.named_leaves(shapes), describe(shapes)
    generator = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    found = {}
    for name, kernel in leaves.items():
        layer, one = name.rpartition("/")[0], described[name]
        own = [leaves[n] for n in (f"{layer}/norm/scale", f"{layer}/norm/bias") if n in leaves]
        if one.kind != "kernel" or not own:
            continue
        blocks, inputs, channels = (
            math.prod(kernel.shape[axis] for axis in axes)
            for axes in (one.stacked_axes, one.within_filter(kernel.ndim), one.filter_axes)
        )
        drawn = generator.random((blocks, channels, inputs))
        chosen = np.argsort(drawn, axis=-1)[..., : len(own)]  # among a channel's inputs
        block, channel = np.indices(chosen.shape)[:2]
        found[name] = np.sort(((block * inputs + chosen) * channels + channel).ravel())
    return found
