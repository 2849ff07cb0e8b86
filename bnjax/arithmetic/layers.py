"""What the leaves of a parameter tree are, which axes they have, and which layers they make up.

The one place that the library asks which leaves are kernels, which axes count filters, which ones
count stacked layers, and where a tree falls into layers. Names, classes and shapes of a tree tell,
as linen, nnx, Haiku and Equinox make it; where they do not, the caller says it.
"""

import dataclasses
import itertools
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias, get_args

import jax
import jax.numpy as jnp
import numpy as np

from bnjax.arithmetic import equations, trees
from bnjax.arithmetic.equations import Equations
from bnjax.arithmetic.trees import Selection
from bnjax.errors import UsageError
from bnjax.types import Params, PyTree

Kind: TypeAlias = Literal["kernel", "bias", "scale", "shift", "embedding", "other"]
Described: TypeAlias = Mapping[str, "Parameter"]  # by the leaf's name, such as `conv3/kernel`

# Names of leaves. linen and nnx: kernel, bias, scale, embedding. Haiku: w, b, scale, offset,
# embeddings. Equinox and PyTorch: weight, bias, whose channels come first.
KERNEL = re.compile(r"kernel|w(eights)?(_.*|\d+)?", re.IGNORECASE)
CHANNELS_FIRST = re.compile(r"weight(_.*)?|.*_weight")
SCALE = re.compile(r"(.*_)?(scale|gamma)|g")
SHIFT = re.compile(r"offset|beta|shift")
BIAS = re.compile(r"b(_.*|\d+)?|.*bias.*")
EMBEDDING = re.compile(r".*embed.*|pos(ition.*)?|w[tp]e|cls|.*token")
# Names of modules.
NORM = re.compile(r".*norm.*|(ln|bn|gn)([_\d].*)?", re.IGNORECASE)
STACK = re.compile(r"(Scan|Vmap)[A-Z].*|.*layer_stack.*")
QUERY = re.compile(r"query|key|value")  # linen's attention: kernels [channels, heads, dim]


class Parameter(NamedTuple):
    """One leaf of a parameter tree.

    Attributes:
      kind: `scale` and `shift` are γ and β of normalisers; `embedding` is a table of vectors, of
        tokens or of positions; `other` is what names do not tell.
      filter_axes: of a kernel, the axes that count its filters: output channels, in a query
        `[channels, heads, dim]` both last ones. A filter is all weights of one output channel.
      stacked_axes: the axes that count layers of one shape, as a scan or a vmap over layers makes
        them.
    """

    kind: Kind
    filter_axes: tuple[int, ...] = ()
    stacked_axes: tuple[int, ...] = ()

    def within_filter(self, ndim: int) -> tuple[int, ...]:
        """The axes of a kernel over which the weights of one filter extend."""
        return tuple(
            axis for axis in range(ndim) if axis not in (*self.filter_axes, *self.stacked_axes)
        )

    def within_layer(self, ndim: int) -> tuple[int, ...]:
        """The axes of a leaf over which one layer extends."""
        return tuple(axis for axis in range(ndim) if axis not in self.stacked_axes)


def flax_kernel(ndim: int) -> Parameter:
    """A kernel `[…, channels]`, as linen, nnx and bnjax's own layers keep it."""
    return Parameter("kernel", (ndim - 1,))


def describe(params: Params, described: Described | None = None) -> dict[str, Parameter]:
    """What each leaf is, found from names, classes and shapes; nothing is computed.

    linen and nnx have `kernel`, its output channels last (in a query, key or value heads and
    channels), `bias`, `scale` and `embedding`; Haiku has `w`, channels last, `b`, `scale`, `offset`
    and `embeddings`; Equinox and PyTorch have `weight` and `bias`, channels first, which the module
    or the shape shows to be of a kernel, a normaliser or an embedding. In a pair `(W, b)` the
    channels are the axis as long as b.

    The first axis is stacked where a scan or vmap made it: where all leaves of a subtree share its
    length and a bias, γ or β among them has an axis too many, or where linen's or Haiku's own name
    of the module says so. Kernels alone do not show it: `[5, 8, 8]` may be a convolution.

    Args:
      params: pytree of arrays or of their shapes.
      described: what you know better, by the leaf's name; axes may count from the last one.

    Returns:
      A `Parameter` by the leaf's name, in the order of `jax.tree.leaves`.

    Raises:
      UsageError: `described` names a leaf that does not exist, an unknown kind, or axes that the
        leaf does not have.

    Source: Li et al. 2018 (1712.09913), §4, for filters.

    Example:
      >>> import jax.numpy as jnp
      >>> dense = {"kernel": jnp.ones((3, 5, 8)), "bias": jnp.ones((3, 8))}
      >>> describe({"stage": dense})["stage/kernel"]
      Parameter(kind='kernel', filter_axes=(2,), stacked_axes=(0,))
      >>> describe({"mixer": jnp.ones((4, 4))}, {"mixer": Parameter("kernel", (0,))})["mixer"].kind
      'kernel'
    """
    leaves = list(_leaves(params))
    names = trees.leaf_names(params)
    groups: dict[tuple[str, ...], list[_Leaf]] = defaultdict(list)
    for leaf in leaves:
        groups[leaf.module].append(leaf)
    kinds = [_kind(leaf, groups[leaf.module]) for leaf in leaves]
    kind_of = {id(leaf): kind for leaf, kind in zip(leaves, kinds, strict=True)}
    stacks = _stacks(leaves, groups, kind_of)
    found = {
        name: _parameter(leaf, groups[leaf.module], kind_of, stacks)
        for name, leaf in zip(names, leaves, strict=True)
    }
    shapes = {name: leaf.shape for name, leaf in zip(names, leaves, strict=True)}
    for name, given in (described or {}).items():
        found[name] = _checked(name, given, shapes)
    return found


def of_norm(name: str) -> bool:
    """Whether a leaf is a normaliser's, by the names of the modules around it."""
    return any(NORM.fullmatch(module) for module in name.split("/")[:-1])


def unknown(described: Described, params: Params) -> dict[str, tuple[int, ...]]:
    """The leaves with two or more axes of which nobody knows what they are, with their shapes."""
    shapes = {name: np.shape(leaf) for name, leaf in trees.named_leaves(params).items()}
    return {
        name: shapes[name]
        for name, one in described.items()
        if one.kind == "other" and _long(shapes[name]) >= 2
    }


def check_told(described: Described, params: Params) -> None:
    """Refuse leaves with two or more axes of which nobody knows what they are."""
    for name, shape in unknown(described, params).items():
        raise UsageError(
            f"whether {name or 'the only leaf'} {shape} is a kernel, its name does not tell: give "
            f"described={{{name!r}: Parameter('kernel', filter_axes=(-1,))}}, or another kind of "
            f"{', '.join(get_args(Kind))}"
        )


@dataclasses.dataclass(frozen=True, eq=False)
class _Leaf:
    """A leaf as its tree names it."""

    module: tuple[str, ...]  # names of the modules around it
    name: str
    owner: str  # name of the class of the innermost node, e.g. Equinox's Linear
    shape: tuple[int, ...]


def _leaves(tree: PyTree) -> Iterator[_Leaf]:
    def visit(node: PyTree, keys: tuple, owner: str) -> Iterator[_Leaf]:
        for path, child in _children(node):
            if path:
                yield from visit(child, (*keys, *path), type(node).__name__)
                continue
            # nnx keeps an array as the `value` of its Param. One key of Haiku's holds a path, and
            # one of PyTorch's the leaf's name, too.
            is_value = bool(keys) and keys[-1] == jax.tree_util.GetAttrKey("value")
            words = re.split(r"[/.]", trees.path_name(keys[:-1] if is_value else keys))
            yield _Leaf(tuple(words[:-1]), words[-1], owner, np.shape(child))

    return visit(tree, (), "")


def _children(node: PyTree) -> list[tuple[tuple, PyTree]]:
    """What a node holds, with a path of one key each; a leaf holds itself, with an empty path."""
    found: Any = jax.tree_util.tree_flatten_with_path(node, is_leaf=lambda x: x is not node)
    return list(found[0])


def _kind(leaf: _Leaf, group: Sequence[_Leaf]) -> Kind:
    """The kind of a leaf by its name and its neighbours."""
    name, beside = leaf.name, [other for other in group if other is not leaf]
    weights = [other for other in beside if _is_kernel_name(other.name)]
    within = (*leaf.module, leaf.owner)
    normaliser = any(NORM.fullmatch(word) for word in within)
    if SCALE.fullmatch(name):
        return "scale"
    if SHIFT.fullmatch(name):
        return "shift"
    if BIAS.fullmatch(name):
        if any(SCALE.fullmatch(other.name) for other in beside):
            return "shift"
        if not weights:
            return "shift" if normaliser else "bias"
        return "bias" if any(_kind(other, group) == "kernel" for other in weights) else "shift"
    if EMBEDDING.fullmatch(name):
        return "embedding"
    if KERNEL.fullmatch(name):
        return "kernel"
    if CHANNELS_FIRST.fullmatch(name):
        if len(leaf.shape) < 2 or any(NORM.fullmatch(word) for word in within[-2:]):
            return "scale"
        table = any(EMBEDDING.fullmatch(word.lower()) for word in within[-2:])
        return "embedding" if table and len(leaf.shape) == 2 else "kernel"
    return _of_pair(leaf, beside)


def _is_kernel_name(name: str) -> bool:
    known = SCALE.fullmatch(name) or BIAS.fullmatch(name) or EMBEDDING.fullmatch(name)
    return not known and bool(KERNEL.fullmatch(name) or CHANNELS_FIRST.fullmatch(name))


def _of_pair(leaf: _Leaf, beside: Sequence[_Leaf]) -> Kind:
    """Of two arrays without names, such as `(W, b)`, the matrix is the kernel."""
    if len(beside) == 1 and leaf.name.isdecimal():
        small, large = sorted((leaf.shape, beside[0].shape), key=len)
        if len(small) == 1 < len(large) and small[0] in (large[0], large[-1]):
            return "kernel" if leaf.shape == large else "bias"
    return "other"


def _long(shape: tuple[int, ...]) -> int:
    """The number of axes that do not merely stand there for broadcasts, as Haiku's (1, 1, 1, C)."""
    return sum(size > 1 for size in shape)


def _stacks(
    leaves: Sequence[_Leaf],
    groups: Mapping[tuple[str, ...], Sequence[_Leaf]],
    kind_of: Mapping[int, Kind],
) -> dict[int, int]:
    """The number of stacked axes, always the first ones, by the leaf's identity."""
    below: dict[tuple[str, ...], list[_Leaf]] = defaultdict(list)
    for leaf in leaves:
        for length in range(len(leaf.module) + 1):
            below[leaf.module[:length]].append(leaf)

    def shown_by(leaf: _Leaf) -> int:
        named, kind = sum(bool(STACK.fullmatch(word)) for word in leaf.module), kind_of[id(leaf)]
        group = groups[leaf.module]
        if kind == "bias":
            kernels = [other for other in group if kind_of[id(other)] == "kernel"]
            fits = [fit for kernel in kernels if (fit := _fit(kernel, leaf))]
            return max(named, *(fit[0] for fit in fits)) if fits else named
        return max(named, _long(leaf.shape) - 1) if kind in ("scale", "shift") else named

    depth = {}
    for place, inside in below.items():
        shared = itertools.takewhile(
            lambda sizes: len(set(sizes)) == 1, zip(*(leaf.shape for leaf in inside), strict=False)
        )
        most = min(len(leaf.shape) - (kind_of[id(leaf)] != "other") for leaf in inside)
        depth[place] = max(0, min(max(map(shown_by, inside)), len(list(shared)), most))
    return {
        id(leaf): max(depth[leaf.module[:length]] for length in range(len(leaf.module) + 1))
        for leaf in leaves
    }


def _fit(kernel: _Leaf, bias: _Leaf) -> tuple[int, int] | None:
    """How many stacked and how many output axes of a kernel its bias shows, if they fit."""
    if CHANNELS_FIRST.fullmatch(kernel.name):
        stack = max(0, _long(bias.shape) - 1)
        return (stack, 1) if kernel.shape[: stack + 1] == bias.shape[: stack + 1] else None
    most = len(bias.shape)
    outputs = [2] * _is_query(kernel) + list(range(1, most + 1))
    for count in outputs:
        stack = most - count
        shown = kernel.shape[:stack] + kernel.shape[len(kernel.shape) - count :]
        if 0 <= stack < len(kernel.shape) - count and shown == bias.shape:
            return stack, count
    return None


def _is_query(kernel: _Leaf) -> bool:
    return bool(kernel.module) and bool(QUERY.fullmatch(kernel.module[-1]))


def _parameter(
    leaf: _Leaf, group: Sequence[_Leaf], kind_of: Mapping[int, Kind], stacks: Mapping[int, int]
) -> Parameter:
    kind, stack, ndim = kind_of[id(leaf)], stacks[id(leaf)], len(leaf.shape)
    stacked = tuple(range(stack))
    if kind != "kernel" or ndim - stack < 2:  # with one axis a kernel is one filter
        return Parameter(kind, (), stacked)
    biases = [other for other in group if kind_of[id(other)] == "bias"]
    if CHANNELS_FIRST.fullmatch(leaf.name):
        return Parameter(kind, (stack,), stacked)
    if leaf.name.isdecimal():  # (W, b)
        return Parameter(kind, (ndim - 1 if leaf.shape[-1:] == biases[0].shape else 0,), stacked)
    if leaf.name == "w" and "transpose" in "".join(leaf.module[-1:]).lower():  # Haiku's
        return Parameter(kind, (ndim - 2,), stacked)
    count = 2 if _is_query(leaf) and ndim - stack == 3 else 1
    fits = [fit for bias in biases if (fit := _fit(leaf, bias))]
    if fits and fits[0][0] == stack:
        count = fits[0][1]
    return Parameter(kind, tuple(range(ndim - count, ndim)), stacked)


def _checked(name: str, given: Parameter, shapes: Mapping[str, tuple[int, ...]]) -> Parameter:
    """What the caller says of a leaf, with axes counted from the first one."""
    if name not in shapes:
        raise UsageError(
            f"described has {name!r}, which is no leaf: choose from {', '.join(shapes)}"
        )
    if given.kind not in get_args(Kind):
        raise UsageError(
            f"described[{name!r}] has the kind {given.kind!r}: choose from "
            f"{', '.join(get_args(Kind))}"
        )
    ndim = len(shapes[name])
    axes = (*given.filter_axes, *given.stacked_axes)
    if any(not -ndim <= axis < ndim for axis in axes) or len({a % ndim for a in axes}) < len(axes):
        raise UsageError(
            f"described[{name!r}] has the axes {axes}, its leaf the shape {shapes[name]}: give "
            f"each axis once, from {-ndim} to {ndim - 1}"
        )
    filters, stacked = (tuple(a % ndim for a in own) for own in given[1:])
    return Parameter(given.kind, filters, stacked)


class _Piece(NamedTuple):
    """One layer, or the layers of one stack."""

    name: str
    places: PyTree  # the positions of its leaves among those of the whole tree
    rows: int | None


def by_layer(params: Params, stacked: Mapping[str, int] | None = None) -> Selection:
    """A tree taken apart into its layers, and put together again.

    A layer is an entry of the tree. Each element of a list or tuple of blocks is a layer, such as
    `blocks/0`, wherever it stands; so is each row of a subtree whose leaves are all stacked. What
    holds such blocks is no layer itself, but its other entries are.

    Args:
      params: mapping, list, tuple or module of layers.
      stacked: the leaves whose first axis counts layers, by name, with the number of their stack.

    Returns:
      A `Selection`: `split(params)` has the layers by name, `merge(params, layers)` the tree.

    Example:
      >>> params = {"blocks": [{"w": 1}, {"w": 2}], "out": {"w": 3}}
      >>> by_layer(params).split(params)
      {'blocks/0': {'w': 1}, 'blocks/1': {'w': 2}, 'out': {'w': 3}}
    """
    leaves, structure = jax.tree.flatten(params)
    named = enumerate(zip(trees.leaf_names(params), leaves, strict=True))
    stacks = stacked or {}
    rows = {i: (stacks[n], jnp.shape(leaf)[0]) for i, (n, leaf) in named if n in stacks}
    count = len(leaves)

    def rows_of(node: PyTree) -> int | None:
        found = {rows.get(place) for place in jax.tree.leaves(node)}
        one = found.pop() if len(found) == 1 else None
        return one and one[1]

    def holds_layers(node: PyTree) -> bool:
        inner = (child for path, child in _children(node) if path)
        return rows_of(node) is not None or _is_sequence(node) or any(map(holds_layers, inner))

    def find(node: PyTree, name: str) -> Iterator[_Piece]:
        for path, child in _children(node):
            own = "/".join(filter(None, (name, trees.path_name(path))))
            if rows_of(child) is None and path and holds_layers(child):
                yield from find(child, own)
            elif jax.tree.leaves(child):
                yield _Piece(own, child, rows_of(child))

    root: PyTree = jax.tree.unflatten(structure, range(count))
    whole = rows_of(root) if len(_children(root)) > 1 else None  # of one entry it has the name
    pieces = list(find(root, "")) if whole is None else [_Piece("", root, whole)]

    def names_of(piece: _Piece) -> list[str]:
        start = f"{piece.name}/" if piece.name else ""
        return [f"{start}{row}" for row in range(piece.rows or 0)]

    def split(tree: Params) -> dict[str, PyTree]:
        values, layers = jax.tree.leaves(tree), {}
        for piece in pieces:
            if piece.rows is None:
                layers[piece.name] = jax.tree.map(values.__getitem__, piece.places)
            for row, name in enumerate(names_of(piece)):
                layers[name] = jax.tree.map(lambda i, row=row: values[i][row], piece.places)
        return layers

    def merge(params: Params, layers: PyTree) -> Params:
        del params  # every leaf is in a layer
        values: list[Any] = [None] * count
        for piece in pieces:
            own: Any = layers.get(piece.name) if piece.rows is None else None
            if piece.rows is not None:
                own = trees.stack([layers[name] for name in names_of(piece)])
            for place, value in zip(
                jax.tree.leaves(piece.places), jax.tree.leaves(own), strict=True
            ):
                values[place] = value
        return jax.tree.unflatten(structure, values)

    return Selection(split, merge)


def _is_sequence(node: PyTree) -> bool:
    """Whether a node is a sequence of blocks; one of arrays, such as (W, b), is none."""
    if isinstance(node, Mapping):
        numbered = all(str(key).isdecimal() for key in node)  # nnx's lists
    else:
        numbered = isinstance(node, list | tuple) and not hasattr(node, "_fields")
    inner = [_children(child) for _, child in _children(node) if jax.tree.leaves(child)]
    value = (jax.tree_util.GetAttrKey("value"),)  # of nnx's Param
    return numbered and bool(inner) and all(child[0][0] not in ((), value) for child in inner)


# Equations through which weights stay weights when they meet constants: masks, scales, adapters.
WEIGHTWISE = equations.ELEMENTWISE | {
    "concatenate",
    "stack",
    "pad",
    "scatter",
    "dynamic_update_slice",
}


def order_of_use(program: Equations, owners: Sequence[str]) -> tuple[str, ...]:
    """The layers in the order in which the program brings them together with its data.

    Computations on weights alone (casts, norms, penalties) do not count, nor do their elementwise
    changes by constants (pruning masks, scales, frozen weights). Data begin where a product, a
    convolution, a look-up or a broadcast over examples joins a weight with constants. A layer that
    never meets data counts from its first use.

    Args:
      program: the loss's equations.
      owners: the name of the layer of each of its inputs.

    Returns:
      Names of layers; one that the program does not use is left out.
    """
    layer_of = dict(zip(program.inputs, owners, strict=True))
    sources = {variable: frozenset([variable]) for variable in program.inputs}
    weights: set[Any] = set(program.inputs)
    data: set[Any] = set()
    spread: set[Any] = set()  # weights that a broadcast made larger than any leaf they come from
    read: dict[str, tuple[int, int]] = {}  # place in the program, and in the equation
    used: dict[str, tuple[int, int]] = {}
    for place, equation in enumerate(program.body):
        name, variables = equation.primitive.name, list(equations.variables(equation))
        own = [variable for variable in variables if variable in weights]
        meets_data = not data.isdisjoint(variables)
        if len(own) < len(variables) and own and not meets_data:
            meets_data = name not in WEIGHTWISE or spread.issuperset(own)
        for position, variable in enumerate(variables):
            for source in sources.get(variable, ()):
                read.setdefault(layer_of[source], (place, position))
                if meets_data and variable in weights:
                    used.setdefault(layer_of[source], (place, position))
        made_of = frozenset().union(*(sources.get(variable, ()) for variable in variables))
        sources |= dict.fromkeys(equation.outvars, made_of)
        if meets_data:
            data.update(equation.outvars)
        elif own:
            weights.update(equation.outvars)
            largest = max(source.aval.size for source in made_of)
            grows = name == "broadcast_in_dim" and equation.outvars[0].aval.size > largest
            if grows or spread.issuperset(own):
                spread.update(equation.outvars)
    return tuple(sorted(read, key=lambda name: used.get(name, read[name])))
