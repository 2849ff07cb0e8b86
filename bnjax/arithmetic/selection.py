"""Which parameters are trained: a subset of the tree, taken out and put back."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import numpy as np
from jaxtyping import Array, Int

from bnjax.arithmetic import trees
from bnjax.errors import UsageError
from bnjax.types import Params, PRNGKey, PyTree


class Selection(NamedTuple):
    """Two pure functions: the trained part of parameters, and parameters with a new trained part.

    `merge(params, split(params))` is `params`, bit for bit. Optimisers see `split(params)` only.
    """

    split: Callable[[Params], PyTree]
    merge: Callable[[Params, PyTree], Params]


EVERYTHING = Selection(lambda params: params, lambda params, trained: trained)


def leaves_where(predicate: trees.Predicate) -> Selection:
    """The leaves whose name, such as `conv3/norm/scale`, satisfies a predicate."""

    def split(params: Params) -> PyTree:
        return trees.partition(params, predicate)[0]

    def merge(params: Params, trained: PyTree) -> Params:
        return trees.combine(trained, trees.partition(params, predicate)[1])

    return Selection(split, merge)


def elements(indices: Mapping[str, Int[np.ndarray, " count"]]) -> Selection:
    """Single elements of leaves, by positions in each flattened leaf.

    Example:
      >>> import jax.numpy as jnp
      >>> selection, params = elements({"a": np.array([1])}), {"a": jnp.array([3.0, 4.0])}
      >>> selection.split(params)["a"].tolist()
      [4.0]
      >>> selection.merge(params, {"a": jnp.array([5.0])})["a"].tolist()
      [3.0, 5.0]
    """

    def split(params: Params) -> PyTree:
        named = trees.named_leaves(params)
        return {name: named[name].reshape(-1)[places] for name, places in indices.items()}

    def merge(params: Params, trained: PyTree) -> Params:
        def put(path: tuple, leaf: Array) -> Array:
            name = trees.path_name(path)
            if name not in indices:
                return leaf
            flat = leaf.reshape(-1).at[indices[name]].set(trained[name], unique_indices=True)
            return flat.reshape(leaf.shape)

        return jax.tree_util.tree_map_with_path(put, params)

    return Selection(split, merge)


def random_elements(
    key: PRNGKey, params: Params, count: int, among: trees.Predicate
) -> dict[str, Int[np.ndarray, " chosen"]]:
    """Positions of `count` elements, drawn uniformly without replacement from leaves by name."""
    sizes = {name: leaf.size for name, leaf in trees.named_leaves(params).items() if among(name)}
    total = sum(sizes.values())
    if not 1 <= count <= total:
        raise UsageError(f"count={count} must be from 1 to {total}, the elements to choose from")
    drawn = np.sort(np.asarray(jax.random.choice(key, total, (count,), replace=False)))
    found, start = {}, 0
    for name, size in sizes.items():
        inside = drawn[(drawn >= start) & (drawn < start + size)] - start
        if len(inside):
            found[name] = inside
        start += size
    return found
