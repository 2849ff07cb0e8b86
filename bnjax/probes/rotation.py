"""How far a step turns weights, and the angle at which decay and growth of their norm balance."""

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from bnjax.arithmetic import euclidean, trees
from bnjax.errors import UsageError, require
from bnjax.fields import Field
from bnjax.probes.points import check_like, check_params
from bnjax.types import Array, Params, Scalar

Groups: TypeAlias = Mapping[str, trees.Parameters] | Sequence[str]
ByGroup: TypeAlias = Float[Array, " group"]


class Rotation(NamedTuple):
    """By which angle each group of weights turned in a step."""

    angles: Annotated[ByGroup, Field("Rotation: angle from w to the next w", "rad")]
    ratios: Annotated[ByGroup, Field("Rotation over its equilibrium")]


def rotation(
    params: Params,
    next_params: Params,
    *,
    groups: Groups | None = None,
    equilibrium: float | Scalar = math.nan,
) -> Rotation:
    """The angle from each group of weights w to the same weights after a step.

    Scale-invariant weights that decay come to the angle `equilibrium_angle`: there the growth of
    their norm by the steps and its decay balance.

    Args:
      params: pytree of float32 or float64 arrays, before the step.
      next_params: the same after it.
      groups: patterns as `parameters=` of `line`, by name of the group, or a list of patterns;
        None: each leaf is a group.
      equilibrium: radians, see `equilibrium_angle`; NaN where there is none.

    Returns:
      `Rotation`, in the order of the groups; NaN of weights that are 0.

    Raises:
      UsageError: a leaf that is no float32 or float64 array, points that differ in their leaves, or
        a pattern that fits none.

    Source: Wan et al. 2021 (2006.08419); Kosson et al. 2024 (2305.17212).

    Example:
      >>> before, after = {"w": jnp.array([1.0, 0.0])}, {"w": jnp.array([2.0, 2.0])}
      >>> rotation(before, after, equilibrium=jnp.pi / 8).ratios.round(3).tolist()
      [2.0]
    """
    check_params(params)
    check_like(params, next_params, "next_params")
    here, there = ([*trees.named_leaves(tree).values()] for tree in (params, next_params))
    by_leaf = compare(here, here, here, there)
    names = trees.leaf_names(params)
    chosen = leaves_of_groups(params, groups).values()
    members = np.array([[name in own for name in names] for own in chosen])
    angles = jax.vmap(functools.partial(of_group, by_leaf))(jnp.asarray(members)).angle
    return Rotation(angles, angles / jnp.asarray(equilibrium, angles.dtype))


def equilibrium_angle(
    learning_rate: float, weight_decay: float, *, momentum: float = 0.0, b1: float | None = None
) -> float:
    r"""The angle by which a step turns scale-invariant weights once decay and growth balance.

    $\sqrt{2\,\mathrm{lr}\,\mathrm{wd}/(1+b)}$ for SGD with momentum b,
    $\sqrt{2\,\mathrm{lr}\,\mathrm{wd}\,(1-b_1)/(1+b_1)}$ for AdamW.

    Args:
      learning_rate: above 0.
      weight_decay: 0 or more; of SGD added to the gradient, of AdamW decoupled.
      momentum: b of SGD, 0 or more and below 1.
      b1: of AdamW; None for SGD.

    Returns:
      Radians.

    Raises:
      UsageError: a value outside of its range.

    Source: Wan et al. 2021 (2006.08419); Kosson et al. 2024 (2305.17212).

    Example:
      >>> round(equilibrium_angle(0.1, 5e-4, momentum=0.9), 5)
      0.00725
    """
    require("learning_rate", learning_rate, 0 < learning_rate < math.inf, "above 0, e.g. 0.1")
    require("weight_decay", weight_decay, 0 <= weight_decay < math.inf, "0 or more, e.g. 5e-4")
    require("momentum", momentum, 0 <= momentum < 1, "0 or more and below 1, e.g. 0.9")
    require("b1", b1, b1 is None or 0 <= b1 < 1, "0 or more and below 1, e.g. 0.9")
    factor = rest_factor(momentum if b1 is None else b1, b1 is not None)
    return math.sqrt(2 * learning_rate * weight_decay * factor)


def rest_factor(momentum: Any, averaged: bool) -> Any:
    """The square of the angle at equilibrium over 2·lr·wd; `averaged`: Adam's b₁ in place of b."""
    return (1 - momentum if averaged else 1) / (1 + momentum)


class Lengths(NamedTuple):
    """Norms of parts of vectors g, w, u, and of the change d = w′ − w along and across w."""

    gradient: Array
    weight: Array
    update: Array
    along: Array  # ⟨w, d⟩/‖w‖, with its sign
    across: Array

    @property
    def angle(self) -> Array:
        """From w to w′ in radians; NaN where w is 0.

        An arccosine would lose angles below 3e-4 in float32.
        """
        angle = jnp.arctan2(self.across, self.weight + self.along)
        return jnp.where(self.weight > 0, angle, jnp.nan)


def compare(*leaves: Sequence[Array]) -> Lengths:
    """The lengths of each leaf, `[leaf]`, from leaves of g, w, u and w′.

    Leaves of one shape are measured together, else the compiler takes seconds for a transformer.
    """
    shapes: dict[tuple[int, ...], list[int]] = {}
    for place, leaf in enumerate(leaves[1]):
        shapes.setdefault(leaf.shape, []).append(place)

    def of_shape(places: Sequence[int]) -> Lengths:
        g, w, u, turned = (jnp.stack([tree[place] for place in places]) for tree in leaves)
        axes = range(1, w.ndim)
        length = euclidean.norm(w, axes)
        ahead = w / jnp.expand_dims(jnp.where(length > 0, length, 1), axes)
        change = turned - w
        along = jnp.sum(ahead * change, axes)
        across = euclidean.norm(change - jnp.expand_dims(along, axes) * ahead, axes)
        return Lengths(euclidean.norm(g, axes), length, euclidean.norm(u, axes), along, across)

    order = np.argsort([place for places in shapes.values() for place in places])
    found = [of_shape(places) for places in shapes.values()]
    return Lengths(*(jnp.concatenate(parts)[order] for parts in zip(*found, strict=True)))


def of_group(leaves: Lengths, members: Array) -> Lengths:
    """The lengths of a group from those of its leaves; NaN where it has none.

    A leaf's change along the group is its share of the group's direction; what its own direction
    has beyond that is across the group.
    """
    norms = [
        euclidean.norm(jnp.where(members, lengths, 0))
        for lengths in (leaves.gradient, leaves.weight, leaves.update)
    ]
    share = leaves.weight / jnp.where(norms[1] > 0, norms[1], 1)
    along = jnp.sum(jnp.where(members, leaves.along * share, 0))
    beyond = jnp.stack([leaves.across, leaves.along - along * share])
    across = euclidean.norm(jnp.where(members, beyond, 0))
    lengths = (*norms, along, across)
    return Lengths(*(jnp.where(members.any(), length, jnp.nan) for length in lengths))


def leaves_of_groups(params: Params, groups: Groups | None) -> dict[str, list[str]]:
    """Names of leaves by group."""
    known = floating(trees.named_leaves(params))
    if groups is None:
        return {name: [name] for name in known}
    chosen = groups if isinstance(groups, Mapping) else {pattern: pattern for pattern in groups}
    found = {
        name: [leaf for leaf in trees.selected_names(params, patterns) if leaf in known]
        for name, patterns in chosen.items()
    }
    for name in ["groups"] if not found else [name for name, leaves in found.items() if not leaves]:
        raise UsageError(f"{name} has no leaf of floating-point numbers: give another pattern")
    return found


def floating(named: Mapping[str, Any]) -> dict[str, Any]:
    """The leaves of floating-point numbers: whole numbers are not trained."""
    return {
        name: leaf
        for name, leaf in named.items()
        if jnp.issubdtype(jnp.result_type(leaf), jnp.floating)
    }
