r"""Which weights of a model are scale-invariant: the symmetries of a loss, found by themselves.

A generator T moves parameters along a curve $e^{sT}\theta$. Where the loss is constant along it,
$\langle T\theta, \nabla L(\theta)\rangle = 0$ at every θ, so random θ are a test. Sums of θ·g and
of g over parts of a leaf test the scales and shifts of all these parts at once: one gradient at
each draw serves them all. Pairs, such as γ and the weights that read it, are the null space of
such sums over all leaves.
"""

import functools
import itertools
import math
import re
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from bnjax.arithmetic import trees
from bnjax.arithmetic.layers import Parameter, describe
from bnjax.convolution.convolution import outside_loops
from bnjax.errors import require
from bnjax.probes.points import (
    check_counts,
    check_function,
    check_key,
    check_params,
    check_scalar,
    dtype_of,
    is_a,
    kind_of,
)
from bnjax.probes.rotation import equilibrium_angle
from bnjax.probes.rounding import coarsest_epsilon
from bnjax.types import Params, PRNGKey

Kind: TypeAlias = Literal[
    "scale-invariant", "not scale-invariant", "shift-invariant", "rescaling", "no effect",
    "undetermined", "no parameter",
]  # fmt: skip
Counts: TypeAlias = tuple[int, ...]  # into how many equal parts each axis of a leaf is cut
Sums: TypeAlias = dict[Counts, np.ndarray]  # [4, *counts]: θ·g, θ², g² and g, summed over each part

SPREAD = 0.3  # deviation of a draw, in units of the leaf's own size
CHECKED = 2  # draws at which the finite checks and the search for an ε are made
MOST_PARTS = 2**14  # of a leaf: finer cuts are not looked at
NEARLY = 0.1  # the largest κ that an ε may explain
GROWTH = 10.0  # factor on weights, at which an ε counts a hundredth
FALL = 30.0  # of κ at the least, for an ε to be its cause; that of a saturating unit falls tenfold
TOGETHER = 0.1  # share of θ·g that may be left where another leaf makes up for it
ROWS = 1.5  # numbers for each unknown of a search for pairs, at the least


class Group(NamedTuple):
    """A row of the audit: parts of one leaf, or parts of several leaves that are rescaled together.

    Attributes:
      parameter: the leaf's name; of a rescaling, what grows ↔ what shrinks, with the index that
        they share; without ↔ all of it grows together.
      parts: which parts of the leaf, as an index: `[:, j]` are its columns, `[:, 8 at a time]`
        blocks of 8 columns, `whole` the leaf.
      number: how many of the parts are of this kind.
      total: how many parts there are.
      kind: what they are. `no effect`: no gradient at any draw, and replacing them does not change
        the loss. `undetermined`: no gradient at some draws, or not to be measured.
      kappa: |⟨Tθ, g⟩| / (‖Tθ‖‖g‖), the largest over draws and parts; None: not measured.
      change: |L(e^{sT}θ) − L(θ)|, the largest over draws, each part with an s of its own between
        ±0.7; units of the loss. Exact symmetries are tried together, and those that an ε breaks,
        so that all of one kind have one change; each is tried alone where the loss does not stay.
      broken_by: empty where the symmetry is exact to rounding. `ε` of a normaliser: κ falls with
        the square of the weights' size. `missing norm`: most weights of this shape at the same
        place in other blocks are scale-invariant. A name, such as `bias`: of a smaller leaf, with
        which together they are scale-invariant.
      norm: ‖w‖ of a part at the given parameters, the median over parts.
      effective_rate: lr / ‖w‖².
      angle: by which a step turns the weights at equilibrium, radians.
      note: a remark.
    """

    parameter: str
    parts: str
    number: int
    total: int
    kind: Kind
    kappa: float | None = None
    change: float | None = None
    broken_by: str = ""
    norm: float | None = None
    effective_rate: float | None = None
    angle: float | None = None
    note: str = ""


class Audit(NamedTuple):
    """The symmetries of a loss, and how they were decided.

    Attributes:
      groups: the rows. Each leaf has one on its scale; others are on shifts, parts without effect,
        and rescalings.
      epsilon: relative spacing of the coarsest arithmetic in the loss.
      exact: the largest κ that is rounding, epsilon^(2/3).
      zero: the largest ‖θ‖‖g‖ of a leaf, over that of all leaves, at which its gradient is
        rounding, epsilon^(5/6).
      draws: points at which loss and gradient were finite.
      notes: symmetries that the audit did not look for.
    """

    groups: tuple[Group, ...]
    epsilon: float
    exact: float
    zero: float
    draws: int
    notes: tuple[str, ...] = ()

    @property
    def scale_invariant(self) -> tuple[str, ...]:
        """The leaves whose parts are all scale-invariant or without effect, for `parameters=`."""
        open_parts = {}
        for group in self.groups:
            if group.kind == "scale-invariant":
                open_parts[group.parameter] = group.total - group.number
        for group in self.groups:
            if group.kind == "no effect" and group.parameter in open_parts:
                open_parts[group.parameter] -= group.number
        return tuple(name for name, left in open_parts.items() if left <= 0)

    def to_dataframe(self) -> Any:
        """A `pandas.DataFrame` with a row for each group."""
        import pandas  # takes a second to import, and probes need none

        return pandas.DataFrame(list(self.groups), columns=list(Group._fields))

    def __repr__(self) -> str:
        return table(self)


def audit(
    loss: Callable[..., Any],
    params: Params,
    key: PRNGKey,
    *,
    batches: Sequence[Any] = (),
    draws: int = 8,
    learning_rate: float | None = None,
    weight_decay: float = 0.0,
    momentum: float = 0.0,
    b1: float | None = None,
) -> Audit:
    r"""Which weights the loss does not depend on, in scale, in shift and in pairs.

    Of each leaf: scale and shift of the whole, of rows, columns, filters, heads and equal blocks.
    Of all leaves together: rescalings of parts that share an index, such as γ and β against all
    weights that read them, or weights before a ReLU against those behind it.

    $\kappa(T) = |\langle T\theta, g\rangle| / (\|T\theta\|\,\|g\|)$ is taken at random points
    around `params`: each leaf moves by 0.3 of its own root mean square, a leaf of zeros by that of
    the others. What passes at all points is moved by $e^{sT}$, and the loss must stay. What follows
    from smaller parts is not listed again.

    Args:
      loss: `loss(params, *batch) -> scalar`.
      params: pytree with float32 or float64 arrays; its other leaves are kept as they are.
      key: typed PRNG key of the draws.
      batches: further arguments of the loss, each a tuple (or one array), which the draws take in
        turn; empty for `loss(params)`.
      draws: random points, 2 or more, and at least one for each batch. Each costs a gradient.
      learning_rate: for effective rates and the angle; None leaves them out.
      weight_decay: for the angle, see `equilibrium_angle`.
      momentum: of SGD.
      b1: of AdamW; None for SGD.

    Returns:
      An `Audit`, which prints as a table.

    Raises:
      UsageError: the loss returns no scalar, or is another function at each call; `params` have no
        floating-point array, or a narrow one; `key` is no key; a number is outside of its range.

    Source: Kunin et al. 2021 (2012.04728): symmetries of scale, shift and rescaling as
    ⟨Tθ, ∇L⟩ = 0. Arora et al. 2019 (1812.03981) for scales.

    Example:
      >>> def loss(params):
      ...     direction = params["w"] / jnp.linalg.norm(params["w"])
      ...     return jnp.sum(params["v"] * direction)
      >>> params = {"v": jnp.array([1.0, 2.0, 3.0]), "w": jnp.array([3.0, 1.0, 2.0])}
      >>> audit(loss, params, jax.random.key(0)).scale_invariant
      ('w',)
    """
    check_counts(2, draws=draws)
    angle = None
    decays = weight_decay != 0 or momentum != 0 or b1 is not None
    expected = "given with weight_decay, momentum or b1, e.g. 0.1"
    require("learning_rate", learning_rate, not decays or learning_rate is not None, expected)
    if learning_rate is not None:
        angle = equilibrium_angle(learning_rate, weight_decay, momentum=momentum, b1=b1) or None
    model = _Model(loss, params, key, batches)
    seen = look(model, max(draws, len(batches)))
    scales = scales_of_leaves(model, seen)
    found: list[_Finding] = []
    for place, (name, leaf) in enumerate(zip(model.names, model.leaves, strict=True)):
        if place not in model.moved:
            note = f"{kind_of(leaf)}, not differentiated" if np.size(leaf) else "empty"
            found.append(_Finding(Group(name, "whole", 0, 1, "no parameter", note=note)))
            continue
        first = next(other for other in model.moved if model.leaves[other] is leaf)
        tied = f"the same array as {model.names[first]}, moved by itself" * (first != place)
        moved = model.moved.index(place)
        found += [one.noted(tied) for one in of_leaf(model, seen, moved, scales.get(moved, {}))]
    notes: list[str] = []
    found += pairs(model, seen, notes) if seen.points else []
    shapes = dict(zip(model.names, map(np.shape, model.leaves), strict=True))
    rows = mark_missing_norms(confirm(model, seen, found), shapes)
    for place, row in enumerate(rows):
        if row.kind == "scale-invariant" and learning_rate is not None:
            rate = learning_rate / row.norm**2 if row.norm else None
            rows[place] = row._replace(effective_rate=rate, angle=angle)
    return Audit(tuple(rows), model.epsilon, model.exact, model.zero, len(seen.reach), tuple(notes))


class _Model:
    """A loss as a function of the leaves that move, and random points around the given ones."""

    def __init__(
        self, loss: Callable[..., Any], params: Params, key: PRNGKey, batches: Sequence[Any]
    ) -> None:
        check_function(loss, "the loss")
        check_key(key)
        self.leaves, structure = jax.tree.flatten(params)
        self.names = trees.leaf_names(params)
        floating = [is_a(jnp.floating, leaf) and np.size(leaf) > 0 for leaf in self.leaves]
        self.moved = [place for place, moves in enumerate(floating) if moves]
        check_params({self.names[place]: self.leaves[place] for place in self.moved})
        own = [self.leaves[place] for place in self.moved]
        self.start = [np.asarray(leaf, dtype_of(leaf)) for leaf in own]
        described = list(describe(params).values())
        self.described = [described[place] for place in self.moved]
        self.batches = [one if isinstance(one, tuple) else (one,) for one in batches] or [()]
        self.random = np.random.default_rng(np.asarray(jax.random.key_data(key)).ravel())

        def of_moved(values: Sequence[Any], *batch: Any) -> Any:
            everything = list(self.leaves)
            for place, value in zip(self.moved, values, strict=True):
                everything[place] = value
            return loss(jax.tree.unflatten(structure, everything), *batch)

        def value_and_grad(values: Sequence[Any], *batch: Any) -> Any:
            with jax.default_matmul_precision("highest"), outside_loops():
                return jax.value_and_grad(of_moved)(values, *batch)

        check_scalar(lambda values: of_moved(values, *self.batches[0]), self.start)
        # Compiles sooner and runs as fast; at level 0 gradients of max-pooling are not finite.
        options = {"xla_backend_optimization_level": 1} if jax.default_backend() == "cpu" else {}
        self.compiled = jax.jit(value_and_grad, compiler_options=options)
        widest = max(float(jnp.finfo(leaf.dtype).eps) for leaf in self.start)
        self.epsilon = max(widest, coarsest_epsilon(of_moved, self.start, *self.batches[0]))
        self.exact, self.zero = self.epsilon ** (2 / 3), self.epsilon ** (5 / 6)
        sizes = np.array([np.sqrt(np.mean(leaf.astype(float) ** 2)) for leaf in self.start])
        known = np.isfinite(sizes) & (sizes > 0)
        self.sizes = np.where(known, sizes, np.median(sizes[known]) if known.any() else 1.0)

    def name(self, leaf: int) -> str:
        return self.names[self.moved[leaf]]

    def draw(self, leaf: int, spread: float = SPREAD) -> np.ndarray:
        """The leaf, moved at random in proportion to its own size."""
        start = self.start[leaf]
        noise = self.random.standard_normal(start.shape)
        return np.asarray(start + spread * self.sizes[leaf] * noise, start.dtype)

    def steps(self, chosen: np.ndarray) -> np.ndarray:
        """The s of a finite check: from 0.3 to 0.7 of either sign where chosen, elsewhere 0."""
        sign = self.random.choice([-1.0, 1.0], chosen.shape)
        return np.asarray(chosen * sign * self.random.uniform(0.3, 0.7, chosen.shape))

    def measure(self, values: Sequence[np.ndarray], batch: int) -> tuple[float, list[np.ndarray]]:
        loss, gradient = self.compiled(list(values), *self.batches[batch])
        return float(loss), [np.asarray(one, np.float64) for one in gradient]


class _Point(NamedTuple):
    """Values of the leaves that move, the number of the batch, and the loss there."""

    values: list[np.ndarray]
    batch: int
    loss: float

    def changed(self, new: Mapping[int, np.ndarray]) -> list[np.ndarray]:
        """The values with others in place of some; each keeps its dtype."""
        return [np.asarray(new.get(leaf, old), old.dtype) for leaf, old in enumerate(self.values)]


class _Seen(NamedTuple):
    """What the draws with a finite loss and gradient showed."""

    points: list[_Point]  # the first ones
    reach: np.ndarray  # [draws] largest ‖θ‖‖g‖ of a leaf
    sums: list[Sums]  # of each leaf, with an axis of draws in front

    def silent(self, leaf: int, zero: float) -> np.ndarray:
        """At which draws a leaf has no gradient."""
        *_, whole = self.sums[leaf].values()
        _, square, slope, _ = whole.reshape(-1, 4).T
        return ~(np.sqrt(square * slope) > zero * self.reach)


def look(model: _Model, draws: int) -> _Seen:
    """One gradient at each draw, and its sums over all parts of all leaves."""
    points: list[_Point] = []
    reach: list[float] = []
    sums: list[dict[Counts, list[np.ndarray]]] = [defaultdict(list) for _ in model.start]
    for draw in range(draws):
        values = [model.draw(leaf) for leaf in range(len(model.start))]
        batch = draw % len(model.batches)
        loss, gradient = model.measure(values, batch)
        if not (math.isfinite(loss) and all(np.isfinite(one).all() for one in gradient)):
            continue
        norms = []
        for own, weights, slope in zip(sums, values, gradient, strict=True):
            norms.append(np.linalg.norm(weights) * np.linalg.norm(slope))
            for counts, found in sums_of_parts(weights, slope).items():
                own[counts].append(found)
        reach.append(float(np.fmax.reduce(norms)))
        if len(points) < CHECKED:
            points.append(_Point(values, batch, loss))
    stacked = [{counts: np.stack(found) for counts, found in own.items()} for own in sums]
    return _Seen(points, np.array(reach), stacked)


@functools.cache
def ways_to_cut(shape: tuple[int, ...]) -> dict[Counts, Counts | None]:
    """Cuts of an array into equal parts, the finest first, each with the finer one it is made from.

    Each axis is whole or cut into single entries, and one of them perhaps into blocks.

    Example:
      >>> ways_to_cut((2, 3))
      {(2, 3): None, (1, 3): (2, 3), (2, 1): (2, 3), (1, 1): (2, 1)}
    """
    found = set()
    for counts in itertools.product(*({1, size} for size in shape)):
        found.add(counts)
        for axis, size in enumerate(shape):
            blocks = (count for count in range(2, size // 2 + 1) if size % count == 0)
            found |= {(*counts[:axis], count, *counts[axis + 1 :]) for count in blocks}
    few = [counts for counts in found if math.prod(counts) <= MOST_PARTS]
    made: dict[Counts, Counts | None] = {}
    for counts in sorted(few, key=lambda counts: (-math.prod(counts), counts)):
        finer = [other for other in made if divides(counts, other)]
        made[counts] = min(finer, key=math.prod, default=None)
    return made


def part_sums(values: np.ndarray, counts: Counts) -> np.ndarray:
    """Sums `[…, *counts]` over the parts of an array `[…, *shape]`.

    Example:
      >>> part_sums(np.arange(8).reshape(2, 4), (1, 2)).tolist()
      [[10, 18]]
    """
    lead = values.ndim - len(counts)
    axes = zip(values.shape[lead:], counts, strict=True)
    pieces = [length for size, count in axes for length in (count, size // count)]
    inner = tuple(range(lead + 1, lead + len(pieces), 2))
    return np.asarray(values.reshape(*values.shape[:lead], *pieces).sum(axis=inner))


def spread_out(values: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """A number for each part as an array of the leaf's shape."""
    for axis, size in enumerate(shape):
        values = np.repeat(values, size // values.shape[axis], axis=axis)
    return values


def sums_of_parts(weights: np.ndarray, gradient: np.ndarray) -> Sums:
    """θ·g, θ², g² and g, summed over each part of each cut."""
    weights = weights.astype(np.float64)
    whole = np.stack([weights * gradient, weights**2, gradient**2, gradient])
    found: Sums = {}
    for counts, finer in ways_to_cut(weights.shape).items():
        found[counts] = part_sums(whole if finer is None else found[finer], counts)
    return found


def divides(coarse: Counts, fine: Counts) -> bool:
    """Whether each part of one cut is made of whole parts of the other."""
    return all(many % few == 0 for few, many in zip(coarse, fine, strict=True))


def ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """The quotient, where there is one; elsewhere NaN or infinite."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.asarray(above / below)


def in_place(values: list[np.ndarray]) -> dict[int, np.ndarray]:
    return {}


class _Finding(NamedTuple):
    """A row, and how to move a point by what the row says that the loss does not depend on."""

    row: Group
    alter: Callable[[list[np.ndarray]], Mapping[int, np.ndarray]] = in_place
    first_order: float = 0.0  # ⟨Tθ, g⟩, which an ε leaves

    @property
    def moves(self) -> bool:
        return self.alter is not in_place

    def noted(self, note: str) -> "_Finding":
        notes = filter(None, (note, self.row.note))
        return self._replace(row=self.row._replace(note="; ".join(notes)))


class _State(NamedTuple):
    """Of each part of a cut, `[*counts]`."""

    kappa: np.ndarray  # the largest over draws
    passes: np.ndarray  # a gradient, and κ = 0, at every draw
    fails: np.ndarray  # κ is not 0 at some draw


def states(
    model: _Model, seen: _Seen, leaf: int, kind: Literal["scale", "shift"]
) -> dict[Counts, _State]:
    """What the draws say of all parts of a leaf, but for those of one element among several."""
    found, size = {}, model.start[leaf].size
    *_, whole = seen.sums[leaf].values()
    for counts, own in seen.sums[leaf].items():
        inside = size // math.prod(counts)
        if inside == 1 < size:
            continue
        product, square, slope, total = np.moveaxis(own, 1, 0)
        silent = slope <= model.zero**2 * whole[:, 2]
        along, length = (product, square) if kind == "scale" else (total, inside)
        kappa = np.where(silent, 0.0, ratio(np.abs(along), np.sqrt(length * slope)))
        fails = (kappa > model.exact).any(axis=0)
        found[counts] = _State(kappa.max(axis=0), ~fails & ~silent.any(axis=0), fails)
    return found


def finest(states: Mapping[Counts, _State]) -> Iterator[tuple[Counts, np.ndarray]]:
    """The cuts with parts that pass, and which; without those made of smaller parts that pass."""
    told: list[Counts] = []
    for counts, state in states.items():
        new = state.passes
        for finer in told:
            if divides(counts, finer):
                new = new & (part_sums(states[finer].fails, counts) > 0)
        if new.any():
            told.append(counts)
            yield counts, np.asarray(new)


def scales_of_leaves(model: _Model, seen: _Seen) -> dict[int, dict[Counts, _State]]:
    """What the draws say of the scales of each leaf that has a gradient at all of them."""
    if not seen.points:
        return {}
    known = [leaf for leaf in range(len(model.start)) if not seen.silent(leaf, model.zero).any()]
    scales = {leaf: states(model, seen, leaf, "scale") for leaf in known}
    alone = {leaf: own for leaf, own in scales.items() if not partner_of(model, seen, leaf)}
    return scales | excuse_epsilon(model, seen, alone)


def of_leaf(
    model: _Model, seen: _Seen, leaf: int, scales: Mapping[Counts, _State]
) -> list[_Finding]:
    """The rows of one leaf."""
    start = model.start[leaf]
    unknown = Group(model.name(leaf), "whole", 0, 1, "undetermined")
    if gone := start.size - np.isfinite(start).sum():
        return [
            _Finding(unknown._replace(note=f"{gone} of its {start.size} numbers are not finite"))
        ]
    if not seen.points:
        return [_Finding(unknown._replace(note="loss or gradient is not finite at any draw"))]
    silent = seen.silent(leaf, model.zero)
    whole = (1,) * start.ndim
    if silent.all():
        return [without_effect(model, leaf, whole, np.ones(whole, bool))]
    norm = float(np.linalg.norm(start))
    if silent.any():
        kappa = float(states(model, seen, leaf, "scale")[whole].kappa.item())
        note = f"no gradient at {silent.sum()} of {len(silent)} draws"
        return [_Finding(unknown._replace(kappa=kappa, norm=norm, note=note))]
    found = []
    for counts, chosen in finest(scales):
        kappa = float(scales[counts].kappa[chosen].max())
        factors = np.exp(spread_out(model.steps(chosen), start.shape))
        norms = np.sqrt(part_sums(start.astype(float) ** 2, counts))[chosen]
        row = row_of(model, leaf, counts, chosen, "scale-invariant")._replace(
            kappa=kappa, norm=float(np.median(norms)), broken_by="ε" * (kappa > model.exact)
        )
        first_order = np.abs(seen.sums[leaf][counts][:, 0][:, chosen]).sum(axis=1).max()
        found.append(_Finding(row, functools.partial(times, leaf, factors), first_order))
    if not found:
        kappa = float(scales[whole].kappa.item())
        row = unknown._replace(kind="not scale-invariant", number=1, kappa=kappa, norm=norm)
        found = [_Finding(row._replace(broken_by=partner_of(model, seen, leaf)))]
    shifts = states(model, seen, leaf, "shift")
    for counts, chosen in finest(shifts):
        steps = model.sizes[leaf] * spread_out(model.steps(chosen), start.shape)
        row = row_of(model, leaf, counts, chosen, "shift-invariant")
        row = row._replace(kappa=float(shifts[counts].kappa[chosen].max()))
        found.append(_Finding(row, functools.partial(plus, leaf, steps)))
    return found + silent_parts(model, seen, leaf)


def partner_of(model: _Model, seen: _Seen, leaf: int) -> str:
    """A smaller leaf with which together it is scale-invariant, such as a bias before a norm.

    By the part of its name that both do not share; empty if there is none. A small one may break
    invariance by the square of its size over that of the weights, as an ε does.
    """
    along = np.array([[*sums.values()][-1].reshape(-1, 4)[:, 0] for sums in seen.sums])
    left = np.abs(along + along[leaf])
    found = (left <= TOGETHER * np.abs(along[leaf])).all(axis=1) & along.any(axis=1)
    smaller = [model.start[other].size < model.start[leaf].size for other in range(len(along))]
    for other in np.flatnonzero(found & smaller)[:1].tolist():
        own, theirs = (model.name(one).split("/") for one in (leaf, other))
        while own[:1] == theirs[:1] and len(theirs) > 1:
            own, theirs = own[1:], theirs[1:]
        return "/".join(theirs)
    return ""


def times(leaf: int, factors: np.ndarray, old: list[np.ndarray]) -> dict[int, np.ndarray]:
    return {leaf: old[leaf] * factors}


def plus(leaf: int, steps: np.ndarray, old: list[np.ndarray]) -> dict[int, np.ndarray]:
    return {leaf: old[leaf] + steps}


def row_of(model: _Model, leaf: int, counts: Counts, chosen: np.ndarray, kind: Kind) -> Group:
    parts = label(counts, model.start[leaf].shape, model.described[leaf])
    return Group(model.name(leaf), parts, int(chosen.sum()), chosen.size, kind)


def silent_parts(model: _Model, seen: _Seen, leaf: int) -> list[_Finding]:
    """At most one row: entries along one axis that have no gradient at any draw."""
    sums, shape = seen.sums[leaf], model.start[leaf].shape
    *_, whole = sums.values()
    found = {}
    for axis, size in enumerate(shape):
        counts = tuple(size if place == axis else 1 for place in range(len(shape)))
        if size > 1 and counts in sums:
            found[counts] = (sums[counts][:, 2] <= model.zero**2 * whole[:, 2]).all(axis=0)
    if not any(chosen.any() for chosen in found.values()):
        return []
    counts = max(found, key=lambda counts: found[counts].mean())
    return [without_effect(model, leaf, counts, found[counts])]


def without_effect(model: _Model, leaf: int, counts: Counts, chosen: np.ndarray) -> _Finding:
    """Parts without gradient: the loss stays if others of their size replace them."""
    places = spread_out(chosen, model.start[leaf].shape)
    other = model.draw(leaf, spread=3.0)
    row = row_of(model, leaf, counts, chosen, "no effect")
    return _Finding(row, lambda old: {leaf: np.where(places, other, old[leaf])})


def confirm(model: _Model, seen: _Seen, found: Sequence[_Finding]) -> list[Group]:
    """The rows with the finite change of the loss; undetermined if that is more than rounding.

    Or more than ten times ⟨Tθ, g⟩, which an ε leaves. All exact symmetries are tried together, and
    so are those that an ε breaks: if the loss stays under all of them, it stays under each. Else
    each is tried alone.
    """
    sizes = [abs(one.loss) + reach for one, reach in zip(seen.points, seen.reach, strict=False)]
    rounding = model.exact * max(sizes, default=0.0)

    def change(some: Sequence[_Finding]) -> tuple[float, bool]:
        """The largest change over the points, NaN where the loss is; and whether the loss stays."""
        changes = []
        for point in seen.points:
            values = point.values
            for one in some:
                values = point._replace(values=values).changed(one.alter(values))
            loss, _ = model.measure(values, point.batch)
            changes.append(abs(loss - point.loss))
        largest = float(np.max(changes))
        return largest, bool(largest <= rounding + 10 * sum(one.first_order for one in some))

    rows = [one.row for one in found]
    for epsilon in (False, True):
        moving = (i for i, one in enumerate(found) if one.moves)
        places = [i for i in moving if bool(rows[i].broken_by) == epsilon]
        together = change([found[i] for i in places]) if places else (0.0, True)
        for i in places:
            largest, stays = together if together[1] else change([found[i]])
            rows[i] = row = rows[i]._replace(change=largest)
            if not stays:
                reason = "no gradient" if row.kind == "no effect" else f"κ says {row.kind}"
                note = f"{reason}, but the loss changes"
                rows[i] = row._replace(kind="undetermined", broken_by="", note=note)
    return rows


def excuse_epsilon(
    model: _Model, seen: _Seen, scales: Mapping[int, dict[Counts, _State]]
) -> dict[int, dict[Counts, _State]]:
    r"""The states of leaves, where parts pass whose κ is an ε's: it falls with their size squared.

    An ε in $\sqrt{\sigma^2 + \epsilon}$ leaves $\kappa \propto \epsilon / (c^2 \sigma^2)$ of
    weights c times as large, while ‖θ‖‖g‖ stays. Both are asked for at c = 10 and again at 100.
    All kernels grow together first, which changes nothing for those before a norm; then each of
    the others by itself.
    """
    nearly = {
        leaf: {counts: one.fails & (one.kappa <= NEARLY) for counts, one in own.items()}
        for leaf, own in scales.items()
    }
    some = [leaf for leaf, own in nearly.items() if any(parts.any() for parts in own.values())]
    kernels = {leaf: nearly[leaf] for leaf in some if model.described[leaf].kind == "kernel"}
    excused = by_an_epsilon(model, seen, kernels)
    for leaf in some:
        own, *_, whole = excused.get(leaf, {}), *nearly[leaf]
        # Also if some parts of a cut are excused and others are not.
        missed = (
            (parts & ~own[cut]).any()
            for cut, parts in nearly[leaf].items()
            if own and (cut == whole or own[cut].any())
        )
        if not own or any(missed):
            excused |= by_an_epsilon(model, seen, {leaf: nearly[leaf]})
    return {
        leaf: {
            counts: one._replace(
                passes=one.passes | parts[counts], fails=one.fails & ~parts[counts]
            )
            for counts, one in scales[leaf].items()
        }
        if (parts := excused.get(leaf))
        else own
        for leaf, own in scales.items()
    }


def by_an_epsilon(
    model: _Model, seen: _Seen, nearly: Mapping[int, dict[Counts, np.ndarray]]
) -> dict[int, dict[Counts, np.ndarray]]:
    """Which of some parts of leaves have the κ of an ε, when these leaves grow together."""
    left = {leaf: dict(own) for leaf, own in nearly.items()}
    for place, point in enumerate(seen.points):
        before = {leaf: {cut: seen.sums[leaf][cut][place] for cut in left[leaf]} for leaf in left}
        for growth in (GROWTH, GROWTH**2):
            if not any(parts.any() for own in left.values() for parts in own.values()):
                return left
            values = point.changed({leaf: growth * point.values[leaf] for leaf in left})
            _, gradient = model.measure(values, point.batch)
            for leaf, own in left.items():
                after = sums_of_parts(values[leaf], gradient[leaf])
                for counts in own:
                    own[counts] = own[counts] & falls(before[leaf][counts], after[counts], model)
                before[leaf] = after
    return left


def falls(before: np.ndarray, after: np.ndarray, model: _Model) -> np.ndarray:
    """Of parts, whether κ fell as an ε's does while ‖θ‖‖g‖ stayed; from their sums."""
    old_product, old_square, old_slope, _ = before
    product, square, slope, _ = after
    old, new = np.sqrt(old_square * old_slope), np.sqrt(square * slope)
    least = np.maximum(ratio(np.abs(old_product), old) / FALL, model.exact)
    grown = ratio(new, old)
    return np.asarray((grown > 1 / 3) & (grown < 3) & (ratio(np.abs(product), new) <= least))


class _Member(NamedTuple):
    """Parts of a leaf that a rescaling multiplies by e^(power · s), with an s for each index."""

    leaf: int
    counts: Counts
    power: int


def pairs(model: _Model, seen: _Seen, notes: list[str]) -> list[_Finding]:
    r"""The rows of rescalings of parts of several leaves that share an index i.

    $\sum_m c_m \langle\theta_{m,i}, g_{m,i}\rangle = 0$ for all i at all draws: c is in the null
    space of a matrix with a row for each i and draw, and a column for each leaf and cut.
    """
    columns: dict[int, list[tuple[int, Counts]]] = defaultdict(list)
    for leaf, sums in enumerate(seen.sums):
        shape = model.start[leaf].shape
        for counts, own in {} if seen.silent(leaf, model.zero).any() else sums.items():
            unblocked = all(count in (1, size) for count, size in zip(counts, shape, strict=True))
            moving = np.abs(own[:, 0]) > model.exact * np.sqrt(own[:, 1] * own[:, 2])
            if unblocked and math.prod(counts) > 1 and moving.any():
                columns[math.prod(counts)].append((leaf, counts))
    told: list[list[_Member]] = []
    found: list[_Finding] = []
    for length, members in sorted(columns.items(), reverse=True):
        enough = math.ceil(ROWS * len(members) / length)
        if len(members) > 1 and len(seen.reach) < enough:
            notes.append(f"rescalings along axes of length {length}: draws={enough} finds them")
        elif len(members) > 1:
            for generator in null_space(model, seen, members):
                one = of_pair(model, seen, generator)
                if one and not any(follows(generator, finer) for finer in told):
                    told.append(generator)
                    found.append(one)
    return found


def null_space(
    model: _Model, seen: _Seen, members: Sequence[tuple[int, Counts]]
) -> Iterator[list[_Member]]:
    """Rescalings with whole powers, by which the loss does not change at any draw."""
    own = [seen.sums[leaf][counts].reshape(len(seen.reach), 4, -1) for leaf, counts in members]
    weights = 1 / seen.reach[:, None]
    size = [np.linalg.norm(weights * np.sqrt(one[:, 1] * one[:, 2])) for one in own]
    matrix = np.stack([(weights * one[:, 0]).ravel() for one in own], axis=1) / size
    _, singular, basis = np.linalg.svd(matrix, full_matrices=False)
    for row in echelon(basis[singular <= model.exact * math.sqrt(len(own))]):
        row = np.where(np.abs(row) > math.sqrt(model.exact), row / size, 0.0)
        used = np.flatnonzero(row).tolist()
        scales = [place for place in used if model.described[members[place][0]].kind == "scale"]
        powers = row[used] / (np.abs(row[used]).min() * np.sign(row[[*scales, *used][0]]))
        if len(used) > 1 and np.abs(powers - np.rint(powers)).max() < 0.05:
            whole = np.rint(powers).astype(int).tolist()
            yield [_Member(*members[at], power) for at, power in zip(used, whole, strict=True)]


def echelon(basis: np.ndarray) -> np.ndarray:
    """Vectors of the same space with few entries: its reduced echelon form, with full pivoting.

    Example:
      >>> (echelon(np.array([[1.0, 1.0, 1.0], [1.0, 1.0, -1.0]])) + 0.0).tolist()
      [[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]]
    """
    rows = np.array(basis)
    for place in range(len(rows)):
        pivot, column = divmod(int(np.abs(rows[place:]).argmax()), rows.shape[1])
        rows[[place, place + pivot]] = rows[[place + pivot, place]]
        rows[place] /= rows[place, column]
        others = np.arange(len(rows)) != place
        rows[others] -= np.outer(rows[others, column], rows[place])
    return rows


def follows(generator: Sequence[_Member], finer: Sequence[_Member]) -> bool:
    """Whether a rescaling is one with a finer index, by equal steps."""
    return len(generator) == len(finer) and all(
        (one.leaf, one.power) == (other.leaf, other.power) and divides(one.counts, other.counts)
        for one, other in zip(generator, finer, strict=True)
    )


def of_pair(model: _Model, seen: _Seen, generator: Sequence[_Member]) -> _Finding | None:
    """The row of a rescaling; None if κ is not 0."""
    own = [seen.sums[m.leaf][m.counts].reshape(len(seen.reach), 4, -1) for m in generator]
    powers = np.array([m.power for m in generator])
    along = np.einsum("m,mdi->di", powers, [one[:, 0] for one in own])
    square = np.einsum("m,mdi->di", powers**2, [one[:, 1] for one in own])
    slope = np.sum([one[:, 2] for one in own], axis=0)
    silent = slope <= model.zero**2 * slope.sum(axis=1, keepdims=True)
    kappa = np.where(silent, 0.0, ratio(np.abs(along), np.sqrt(square * slope)))
    if (kappa > model.exact).any():
        return None
    passes = ~silent.any(axis=0)
    steps = model.steps(passes)

    def alter(old: list[np.ndarray]) -> dict[int, np.ndarray]:
        new = {m.leaf: old[m.leaf] for m in generator}
        for m in generator:
            factors = np.exp(m.power * steps).reshape(m.counts)
            new[m.leaf] = new[m.leaf] * spread_out(factors, new[m.leaf].shape)
        return new

    def side(sign: int) -> str:
        texts = []
        for m in generator:
            index = label(m.counts, model.start[m.leaf].shape, Parameter("other"))
            power = f" (power {abs(m.power)})" * (abs(m.power) > 1)
            texts += [f"{model.name(m.leaf)} {index}{power}"] * (m.power * sign > 0)
        return ", ".join(texts)

    name = " ↔ ".join(filter(None, (side(1), side(-1))))
    row = Group(name, "", int(passes.sum()), passes.size, "rescaling")
    return _Finding(row._replace(kappa=float(kappa.max())), alter)


def label(counts: Counts, shape: tuple[int, ...], parameter: Parameter) -> str:
    """The parts of a cut as an index, after their usual name.

    Example:
      >>> label((1, 1, 4), (3, 3, 4), Parameter("kernel", (2,)))
      'filters [:, :, k]'
      >>> label((1, 2), (3, 8), Parameter("kernel", (1,)))
      '[:, 4 at a time]'
    """
    axes = list(zip("ijklmnopqrstuvwxyz", counts, shape, strict=False))
    index = ", ".join(
        ":" if count == 1 else letter if count == size else f"{size // count} at a time"
        for letter, count, size in axes
    )
    cut = tuple(axis for axis, count in enumerate(counts) if count > 1)
    whole_axes = all(count in (1, size) for _, count, size in axes)
    names = {(*parameter.stacked_axes, *parameter.filter_axes): "filters "}
    if len(parameter.filter_axes) == 2:  # of attention: heads and channels
        names[(*parameter.stacked_axes, parameter.filter_axes[0])] = "heads "
    name = names.get(cut, "") if whole_axes and parameter.filter_axes else ""
    return f"{name}[{index}]" if cut else "whole"


def mark_missing_norms(rows: list[Group], shapes: Mapping[str, tuple[int, ...]]) -> list[Group]:
    """Rows of leaves that are not scale-invariant, while most of their twins are, say so.

    Twins have the same shape, and names that differ in numbers only.
    """

    def role(row: Group) -> tuple[str, tuple[int, ...]]:
        return re.sub(r"\d+", "#", row.parameter), shapes[row.parameter]

    kinds: dict[Any, dict[str, bool]] = defaultdict(dict)
    for row in rows:
        if row.kind in ("scale-invariant", "not scale-invariant"):
            kinds[role(row)][row.parameter] = row.kind == "scale-invariant"
    for place, row in enumerate(rows):
        if row.kind == "not scale-invariant" and not row.broken_by:
            twins = [normed for name, normed in kinds[role(row)].items() if name != row.parameter]
            if 2 * sum(twins) > len(twins):
                note = f"{sum(twins)} of {len(twins)} like it are scale-invariant"
                rows[place] = row._replace(broken_by="missing norm", note=note)
    return rows


COLUMNS = {"κ": "kappa", "change": "change", "‖w‖": "norm", "lr/‖w‖²": "effective_rate"}
COLUMNS |= {"angle": "angle"}


def table(found: Audit) -> str:
    """The audit as text; rows of blocks that differ in numbers alone are one, with the largest."""
    alike: dict[Any, list[Group]] = defaultdict(list)
    for row in found.groups:
        # Names of numbers alone, as of lists, say nothing about who is alike.
        name, note = (
            re.sub(r"\d+", "#", text) if re.search("[a-zA-Z]", text) else text
            for text in (row.parameter, row.note)
        )
        alike[name, note, row.parts, row.number, row.total, row.kind, row.broken_by].append(row)
    lines = [["parameter", "parts", "kind", "broken by", *COLUMNS]]
    for (name, *_), rows in alike.items():
        first = rows[0]
        sides = (name if len(rows) > 1 else first.parameter).split(" ↔ ")
        short = [re.sub(r"(?<=[])]), .*", " and others", side) for side in sides]
        name = " ↔ ".join(short) + f" × {len(rows)}" * (len(rows) > 1)
        numbers = []
        for field in COLUMNS.values():
            known = [value for row in rows if (value := getattr(row, field)) is not None]
            numbers.append(f"{max(known):.2g}" if known else "")
        lines.append(
            [
                name,
                f"{first.number} of {first.total} " * (first.total > 1) + first.parts,
                first.kind + f" ({first.note})" * bool(first.note),
                first.broken_by,
                *numbers,
            ]
        )
    columns = [column for column in zip(*lines, strict=True) if any(column[1:])]
    widths = [max(map(len, column)) for column in columns]
    text = ["  ".join(map(str.ljust, line, widths)).rstrip() for line in zip(*columns, strict=True)]
    text.append(
        f"{found.draws} draws, ε of the arithmetic {found.epsilon:.2g}: κ up to {found.exact:.2g} "
        f"is rounding, and so is a gradient up to {found.zero:.2g} of the largest"
    )
    return "\n".join([*text, *(f"not looked for: {note}" for note in found.notes)])
