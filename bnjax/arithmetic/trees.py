"""Pytree helpers that `optax.tree` lacks: points on a line, norms, angles, subsets, names."""

import functools
import operator
from collections.abc import Callable, Mapping, Sequence
from fnmatch import fnmatchcase
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from jax.typing import DTypeLike
from jaxtyping import Array, Int

from bnjax.arithmetic import euclidean
from bnjax.arithmetic.moments import accumulator
from bnjax.errors import UsageError
from bnjax.types import Flag, Params, PRNGKey, PyTree, Scalar

Predicate: TypeAlias = Callable[[str], bool]
Parameters: TypeAlias = Predicate | str | Sequence[str]  # which leaves, see `selected_names`


def move(params: Params, direction: Params, step_size: Scalar) -> Params:
    """The point `params − step_size · direction`, each leaf in the dtype it had.

    Example:
      >>> import jax.numpy as jnp
      >>> move({"w": jnp.ones(2)}, {"w": jnp.ones(2)}, jnp.float32(0.25))["w"].tolist()
      [0.75, 0.75]
    """
    return jax.tree.map(lambda p, d: p - step_size.astype(p.dtype) * d, params, direction)


def norm(tree: PyTree, less: PyTree = None, times: PyTree = None) -> Scalar:
    """The Euclidean norm of `(tree − less) · times`; no square overflows or vanishes.

    `less` and `times` have the structure of `tree`, without them nothing is taken off or weighted.

    On ordinary ranges it is `optax.tree.norm` to the last bit.

    Example:
      >>> import jax.numpy as jnp
      >>> round(float(norm({"a": jnp.array([3e30]), "b": jnp.array([4e30])}) / 1e30), 3)
      5.0
    """
    square = optax.tree.norm(_wide(_weighted(tree, less, times)), squared=True)

    def careful() -> Scalar:
        # One vector compiles faster than its leaves, and what is seldom run may copy.
        values, scale = euclidean.scaled(ravel(_weighted(tree, less, times))[0])
        return euclidean.root(jnp.sum(jnp.square(values))) * scale

    # Another look at every number for its magnitude would take several times as long.
    found = _either(tree, euclidean.is_ordinary(square), lambda: jnp.sqrt(square), careful)
    return found.astype(jnp.result_type(*jax.tree.leaves(tree)))


def _either(
    tree: PyTree, ordinary: Array, usual: Callable[[], Scalar], careful: Callable[[], Scalar]
) -> Scalar:
    """One of two results of a tree, of which only that one is computed.

    Inside a `shard_map` both are: JAX cannot map a branch there that brings together what differs
    from device to device and what does not. Nor can it map one over leaves that are divided over an
    explicit mesh.
    """
    if jax.sharding.get_abstract_mesh().manual_axes or is_divided(tree):
        return jnp.where(ordinary, usual(), careful())
    found: Scalar = jax.lax.cond(ordinary, usual, careful)
    return found


def _weighted(tree: PyTree, less: PyTree, times: PyTree) -> PyTree:
    tree = tree if less is None else optax.tree.sub(tree, less)
    return tree if times is None else optax.tree.mul(tree, times)


def _wide(tree: PyTree) -> PyTree:
    """Every leaf in float32 or wider."""
    return jax.tree.map(lambda leaf: jnp.asarray(leaf).astype(accumulator(leaf.dtype)), tree)


def cosine(a: PyTree, b: PyTree) -> Scalar:
    """Cosine of the angle between two pytrees, ⟨a, b⟩ / (‖a‖ ‖b‖); NaN where one is zero."""

    def plain(a: PyTree, b: PyTree) -> Scalar:
        return vdot(a, b) / (optax.tree.norm(a) * optax.tree.norm(b))

    def careful() -> Scalar:
        found = plain(euclidean.scaled(a).values, euclidean.scaled(b).values)
        return found.astype(usual.dtype)

    squares = [optax.tree.norm(tree, squared=True) for tree in (a, b)]
    ordinary = euclidean.is_ordinary(squares[0]) & euclidean.is_ordinary(squares[1])
    usual = plain(a, b)
    return _either(a, ordinary, lambda: usual, careful)


def vdot(a: PyTree, b: PyTree) -> Scalar:
    """⟨a, b⟩, also of leaves divided over an explicit mesh, whose axes JAX does not contract."""
    if not is_divided(a):
        return optax.tree.vdot(a, b)
    return optax.tree.sum(jax.tree.map(lambda x, y: jnp.sum(x * y), a, b))


def is_divided(tree: PyTree) -> bool:
    """Whether some leaf lies divided over a mesh with explicit axes."""
    return any(any(jax.typeof(leaf).sharding.spec) for leaf in jax.tree.leaves(tree))


def ravel(tree: PyTree) -> tuple[Array, Callable[[Array], PyTree]]:
    """A tree as one vector, and the way back; JAX joins no leaves divided over an explicit mesh.

    Of such leaves the vector has whole copies, which are divided again on the way back.
    """
    if not is_divided(tree):
        return ravel_pytree(tree)
    places = jax.tree.map(lambda leaf: jax.typeof(leaf).sharding, tree)
    whole = jax.sharding.PartitionSpec()
    vector, back = ravel_pytree(
        jax.tree.map(lambda leaf, at: jax.reshard(leaf, at.update(spec=whole)), tree, places)
    )
    return vector, lambda vector: jax.tree.map(jax.reshard, back(vector), places)


def random_direction(key: PRNGKey, params: Params, length: Scalar) -> Params:
    """A Gaussian direction over all of `params`, uniform on the sphere of norm `length`.

    A control for the gradient direction: Santurkar et al. 2018 (§3.1) state their observations for
    random directions too, without a figure.
    """
    noise = optax.tree.random_like(key, params, jax.random.normal)
    return optax.tree.scale(length / norm(noise), noise)


def all_finite(tree: PyTree) -> Flag:
    """Whether no element of any leaf is NaN or infinite; boolean scalar on the device."""
    return jnp.isfinite(ravel(tree)[0]).all()


def cast_floating(tree: PyTree, dtype: DTypeLike) -> Any:
    """The tree in another type, but for whole numbers such as tokens.

    Example:
      >>> [leaf.dtype.name for leaf in cast_floating([np.ones(2), np.arange(2)], "float16")]
      ['float16', 'int64']
    """
    return jax.tree.map(
        lambda leaf: leaf.astype(dtype) if jnp.issubdtype(leaf.dtype, jnp.floating) else leaf, tree
    )


def path_name(path: tuple) -> str:
    """The readable name of a leaf's path: `conv3/norm/scale`."""
    return jax.tree_util.keystr(path, simple=True, separator="/")


def leaf_names(tree: PyTree) -> list[str]:
    """The names of all leaves, in the order of `jax.tree.leaves`."""
    return [path_name(path) for path, _ in jax.tree_util.tree_flatten_with_path(tree)[0]]


def named_leaves(tree: PyTree) -> dict[str, Any]:
    """All leaves by their names, in the order of `jax.tree.leaves`.

    Example:
      >>> named_leaves({"conv1": {"kernel": 1.0}, "output": 2.0})
      {'conv1/kernel': 1.0, 'output': 2.0}
    """
    return dict(zip(leaf_names(tree), jax.tree.leaves(tree), strict=True))


def at(tree: PyTree, name: str) -> Any:
    """The part of nested dicts that has a name.

    Example:
      >>> at({"block1": {"conv2": {"kernel": 1.0}}}, "block1/conv2")
      {'kernel': 1.0}
    """
    return functools.reduce(operator.getitem, name.split("/"), tree)


def stack(rows: Sequence[PyTree]) -> Any:
    """One pytree of several that are alike, each leaf with a leading axis `[rows]`."""

    def stacked(*leaves: Any) -> Any:
        # Arrays of the host need no program of their own.
        return (np if all(isinstance(x, np.ndarray) for x in leaves) else jnp).stack(leaves)

    return jax.tree.map(stacked, *rows)


def selected_names(params: Params, parameters: Parameters) -> list[str]:
    """The names of the leaves for which a predicate is true, or which fit one of some patterns.

    A pattern is one of a shell: `*` stands for anything, even for `/`, so `conv3/*` is a layer with
    its normaliser and `*/kernel` all kernels. The `/value` that ends names of nnx may be left out.

    Raises:
      UsageError: no leaf is selected, or a pattern fits none.

    Example:
      >>> params = {"conv1": {"bias": 0.0, "kernel": 1.0}, "output": {"kernel": 2.0}}
      >>> selected_names(params, "*/kernel"), selected_names(params, ["conv1/*"])
      (['conv1/kernel', 'output/kernel'], ['conv1/bias', 'conv1/kernel'])
    """
    names = leaf_names(params)
    if callable(parameters):
        found = list(filter(parameters, names))
    else:
        patterns = [parameters] if isinstance(parameters, str) else parameters
        fits = {
            one: [name for name in names if any(fnmatchcase(n, one) for n in spellings(name))]
            for one in patterns
        }
        if missing := [pattern for pattern, fitting in fits.items() if not fitting]:
            raise UsageError(
                f"parameters={missing[0]!r} fits no name; the names are {', '.join(names)[:200]}: "
                f"give one of them, or a pattern such as {names[0].partition('/')[0] + '*'!r}"
            )
        found = [name for name in names if any(name in fitting for fitting in fits.values())]
    if not found:
        raise UsageError(
            f"no parameter is selected; the names are {', '.join(names)[:200]}: give a pattern "
            "such as "
            f"{names[0].partition('/')[0] + '*'!r}, or a predicate that is true for at least one"
        )
    return found


def spellings(name: str) -> tuple[str, str]:
    """A leaf's name, and the same without what nnx adds to it."""
    return name, name.removesuffix("/value")


def partition(params: Params, parameters: Parameters) -> tuple[Params, Params]:
    """Split a pytree in two: the leaves that are selected, see `selected_names`, and the rest.

    Each part has the structure of `params` with `None` (an empty pytree) where the leaf went to
    the other part, so gradients and norms of a part see that part only. `combine` undoes it.

    Example:
      >>> import jax.numpy as jnp
      >>> selected, rest = partition({"a": jnp.ones(1), "b": jnp.zeros(1)}, lambda n: n == "a")
      >>> rest["a"] is None, selected["b"] is None
      (True, True)
    """
    names = set(selected_names(params, parameters))
    chosen = jax.tree_util.tree_map_with_path(lambda path, _: path_name(path) in names, params)
    selected = jax.tree.map(lambda keep, leaf: leaf if keep else None, chosen, params)
    rest = jax.tree.map(lambda keep, leaf: None if keep else leaf, chosen, params)
    return selected, rest


def combine(selected: Params, rest: Params) -> Params:
    """The pytree that `partition` took apart."""
    return jax.tree.map(
        lambda a, b: b if a is None else a, selected, rest, is_leaf=lambda leaf: leaf is None
    )


def like(part: PyTree, tree: PyTree) -> PyTree:
    """The leaves of a tree that are in a part of a tree of its structure, see `partition`."""
    return jax.tree.map(
        lambda one, leaf: None if one is None else leaf, part, tree, is_leaf=lambda one: one is None
    )


def keep(tree: PyTree, parameters: Parameters | None) -> PyTree:
    """The tree with zeros in place of the leaves that are not selected; None selects all.

    Example:
      >>> keep({"a": jnp.ones(1), "b": jnp.ones(1)}, "b")["a"].tolist()
      [0.0]
    """
    if parameters is None:
        return tree
    selected, rest = partition(tree, parameters)
    return combine(selected, jax.tree.map(jnp.zeros_like, rest))


class Selection(NamedTuple):
    """Two pure functions: the trained part of parameters, and parameters with a new trained part.

    `merge(params, split(params))` is `params`, bit for bit. Optimisers see `split(params)` only.
    """

    split: Callable[[Params], PyTree]
    merge: Callable[[Params, PyTree], Params]


EVERYTHING = Selection(lambda params: params, lambda params, trained: trained)


def leaves_where(parameters: Parameters) -> Selection:
    """The leaves that are selected by their names, such as `conv3/norm/scale`."""

    def split(params: Params) -> PyTree:
        return partition(params, parameters)[0]

    def merge(params: Params, trained: PyTree) -> Params:
        return combine(trained, partition(params, parameters)[1])

    return Selection(split, merge)


def apart(layers: Sequence[str]) -> Selection:
    """All leaves of nested dicts, by layer: those at these names, and what holds the other leaves.

    Example:
      >>> block = {"conv1": {"kernel": 1.0, "norm": {"scale": 2.0}}, "norm1": {"scale": 3.0}}
      >>> for layer, leaves in apart(["block/conv1"]).split({"block": block}).items():
      ...     print(layer, leaves)
      block/conv1 {'block/conv1/kernel': 1.0, 'block/conv1/norm/scale': 2.0}
      block/norm1 {'block/norm1/scale': 3.0}
    """

    def split(params: Params) -> PyTree:
        found: dict[str, dict[str, Any]] = {}
        for name, leaf in named_leaves(params).items():
            around = name.rpartition("/")[0] or name
            owner = next((layer for layer in layers if name.startswith(f"{layer}/")), around)
            found.setdefault(owner, {})[name] = leaf
        return found

    def merge(params: Params, trained: PyTree) -> Params:
        named = {name: leaf for layer in trained.values() for name, leaf in layer.items()}
        leaves = [named[name] for name in leaf_names(params)]
        return jax.tree.unflatten(jax.tree.structure(params), leaves)

    return Selection(split, merge)


def within(outer: Selection, inner: Selection) -> Selection:
    """A selection from the part that another one has selected."""

    def merge(params: Params, trained: PyTree) -> Params:
        return outer.merge(params, inner.merge(outer.split(params), trained))

    return Selection(lambda params: inner.split(outer.split(params)), merge)


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
        named = named_leaves(params)
        return {name: named[name].reshape(-1)[places] for name, places in indices.items()}

    def merge(params: Params, trained: PyTree) -> Params:
        def put(path: tuple, leaf: Array) -> Array:
            name = path_name(path)
            if name not in indices:
                return leaf
            flat = leaf.reshape(-1).at[indices[name]].set(trained[name], unique_indices=True)
            return flat.reshape(leaf.shape)

        return jax.tree_util.tree_map_with_path(put, params)

    return Selection(split, merge)


def random_elements(
    key: PRNGKey, params: Params, count: int, among: Predicate
) -> dict[str, Int[np.ndarray, " chosen"]]:
    """Positions of `count` elements, drawn uniformly without replacement from leaves by name."""
    sizes = {name: leaf.size for name, leaf in named_leaves(params).items() if among(name)}
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
