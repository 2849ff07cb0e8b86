"""Internal covariate shift of every layer: how an update of the layers below turns a gradient.

One forward pass through the updated network serves all layers: for layer i, only the equations that
depend on layer i and those above run again, forward and backward. The loss's own jaxpr tells which
these are, so any function of a mapping of layers will do.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeAlias

import jax
import jax.numpy as jnp

from bnjax.arithmetic import equations, trees
from bnjax.arithmetic.equations import Equations, Segment
from bnjax.errors import UsageError
from bnjax.fields import Field
from bnjax.probes.points import check_like, check_scalar
from bnjax.types import Array, Float, Loss, Params, PyTree, Scalar

Distances: TypeAlias = Annotated[Float[Array, " layer"], Field("‖G − G′‖₂ of the layers")]
RelativeDistances: TypeAlias = Annotated[
    Float[Array, " layer"], Field("‖G − G′‖₂/‖G‖₂ of the layers")
]
Cosines: TypeAlias = Annotated[
    Float[Array, " layer"], Field("Cosine of G and G′ of the layers", bounded=True)
]


@functools.partial(
    jax.tree_util.register_dataclass,
    data_fields=("distances", "relative_distances", "cosines"),
    meta_fields=("layers",),
)
@dataclasses.dataclass(frozen=True)
class Shift:
    """Gradients G of layers before and G′ after an update of the layers below, on the same batch.

    Layers are in the order in which the loss uses them. Distances are in units of the gradient;
    without shift distances are 0 and cosines 1.
    """

    layers: tuple[str, ...]
    distances: Distances
    relative_distances: RelativeDistances
    cosines: Cosines


def shift(
    loss: Loss,
    params: Params,
    next_params: Params,
    *,
    layers: Sequence[str] | None = None,
    gradient: Params | None = None,
    precision: str = "highest",
) -> Shift:
    r"""Gradient of each layer before and after the layers below it were updated.

    $G_i = \nabla_{W_i} L(W_1, …, W_k)$,
    $G'_i = \nabla_{W_i} L(W'_1, …, W'_{i-1}, W_i, …, W_k)$ on the same batch, with $W'$ the
    parameters after the actual optimiser step. A layer is an entry of `params`: a weight layer
    with its bias and its normalisation parameters. Layer i is below layer j if the loss combines it
    with its data first; casts, norms and penalties of weights alone do not count. Every array that
    the loss closes over counts as data. Works under `jit`, in float32 and float64.

    Args:
      loss: `loss(params) -> scalar`; the batch is inside it.
      params: mapping from a layer's name to a pytree of float32 or float64 arrays, before the step.
      next_params: the same after the step.
      layers: names of the layers to measure; by default all that the loss uses.
      gradient: the gradient of `loss` at `params` where it is known already, e.g. from training.
      precision: a value of `jax.default_matmul_precision` for the probe.

    Returns:
      A `Shift`, arrays `[layer]` in the dtype of the gradient. The first layer's distance is 0:
      nothing is below it.

    Raises:
      UsageError: `params` is no mapping of layers, the trees do not match, the loss returns no
        scalar, a parameter is not float32 or float64, or `layers` is a string, empty, or names a
        layer that the loss does not use.

    Source: Santurkar et al. 2018, Definition 2.1.

    Example:
      >>> import jax.numpy as jnp
      >>> chain = lambda params: params["a"] * params["b"]
      >>> before = {"a": jnp.array(2.0), "b": jnp.array(3.0)}
      >>> after = {"a": jnp.array(1.5), "b": jnp.array(0.0)}
      >>> result = shift(chain, before, after)
      >>> result.layers, result.distances.tolist()
      (('a', 'b'), [0.0, 0.5])
    """
    check_layers(params)
    params, next_params = dict(params), dict(next_params)  # other mappings flatten in other orders
    check_like(params, next_params, "next_params")
    with jax.default_matmul_precision(precision):
        program, owners = take_apart(loss, params)
        order = order_of_use(program, owners)
        if isinstance(layers, str):
            raise UsageError(f"layers={layers!r} must be a sequence of names: give [{layers!r}]")
        measured = order if layers is None else tuple(layers)
        if not measured:
            raise UsageError(f"no layer is to be measured: choose from {list(order)}")
        if unknown := [name for name in measured if name not in order]:
            raise UsageError(
                f"layers {unknown} are not used by the loss: choose from {list(order)}"
            )
        if gradient is None:
            gradient = jax.grad(loss)(params)
        parts = parts_of(program, owners, order)
        updated = equations.run(parts, values_of(program, next_params))

        def measure(position: int) -> tuple[Scalar, Scalar, Scalar]:
            name = order[position]
            below = {layer: next_params[layer] for layer in order[:position]}

            def tail(layer: PyTree) -> Scalar:
                known = updated | values_of(program, {**params, **below, name: layer})
                return equations.read(equations.run(parts[position + 1 :], known), program.result)

            before, after = gradient[name], jax.grad(tail)(params[name])
            distance = trees.norm(after, less=before)
            return distance, distance / trees.norm(before), trees.cosine(before, after)

        columns = zip(*(measure(order.index(name)) for name in measured), strict=True)
        return Shift(measured, *(jnp.stack(column) for column in columns))


def layer_order(loss: Loss, params: Mapping[str, PyTree]) -> tuple[str, ...]:
    """The layers of `params` in the order in which the loss uses them; nothing is computed.

    Args:
      loss: `loss(params) -> scalar`.
      params: mapping from a layer's name to a pytree of float32 or float64 arrays.

    Returns:
      Names of layers; one that the loss does not use is left out.

    Raises:
      UsageError: `params` is no mapping, or its only entry maps names to layers itself; the loss
        returns no scalar, a parameter is not float32 or float64, or there is none.

    Example:
      >>> import jax.numpy as jnp
      >>> loss = lambda params: params["b"] * jnp.sin(params["a"] * params["b"])
      >>> layer_order(loss, {"a": jnp.array(1.0), "b": jnp.array(2.0), "unused": jnp.array(3.0)})
      ('a', 'b')
    """
    check_layers(params)
    return order_of_use(*take_apart(loss, dict(params)))


def check_layers(params: Any) -> None:
    """Refuse params that do not map the names of layers to their parameters."""
    if not isinstance(params, Mapping):
        raise UsageError(
            f"params is a {type(params).__name__}; it must map the names of layers to their "
            "parameters: wrap it, e.g. {'conv1': …, 'output': …}"
        )
    if len(params) == 1:
        [(name, inner)] = params.items()
        if isinstance(inner, Mapping) and all(isinstance(one, Mapping) for one in inner.values()):
            raise UsageError(
                f"params has one entry, {name!r}, which maps names to layers itself and would "
                f"count as one layer: give params[{name!r}], and a loss of it"
            )


def take_apart(loss: Loss, params: dict[str, PyTree]) -> tuple[Equations, list[str]]:
    """The loss's equations, and for each of their inputs the layer that it belongs to."""
    check_scalar(loss, params)
    leaves, structure = jax.tree.flatten(params)
    program = equations.trace(lambda *flat: loss(jax.tree.unflatten(structure, flat)), leaves)
    return program, [name for name in sorted(params) for _ in jax.tree.leaves(params[name])]


def order_of_use(program: Equations, owners: Sequence[str]) -> tuple[str, ...]:
    """The layers in the order in which the program brings them together with its data.

    Computations on weights alone (casts, norms, penalties) do not count. A layer that never meets
    data counts from its first use.
    """
    layer_of = dict(zip(program.inputs, owners, strict=True))
    origins = {variable: frozenset([name]) for variable, name in layer_of.items()}
    of_data = set(program.constants)
    read: dict[str, tuple[int, int]] = {}  # place in the program, and in the equation
    used: dict[str, tuple[int, int]] = {}
    for place, equation in enumerate(program.body):
        variables = list(equations.variables(equation))
        meets_data = not of_data.isdisjoint(variables)
        for position, variable in enumerate(variables):
            for name in origins.get(variable, ()):
                read.setdefault(name, (place, position))
                if meets_data and variable not in of_data:
                    used.setdefault(name, (place, position))
        if meets_data:
            of_data.update(equation.outvars)
        made_of = frozenset().union(*(origins.get(variable, ()) for variable in variables))
        origins |= dict.fromkeys(equation.outvars, made_of)
    return tuple(sorted(read, key=lambda name: used.get(name, read[name])))


def parts_of(
    program: Equations, owners: Sequence[str], order: Sequence[str]
) -> tuple[Segment, ...]:
    """The program cut into what depends on no layer, and for each layer on it and none above."""
    depths: dict[Any, int] = dict.fromkeys(program.constants, -1)
    depths |= {
        variable: order.index(name) if name in order else -1
        for variable, name in zip(program.inputs, owners, strict=True)
    }
    bodies: list[list[Any]] = [[] for _ in range(len(order) + 1)]
    readers: dict[Any, set[int]] = {program.result: {len(order)}}
    for equation in program.body:
        read = list(equations.variables(equation))
        depth = max((depths[variable] for variable in read), default=-1)
        depths |= dict.fromkeys(equation.outvars, depth)
        bodies[depth + 1].append(equation)
        for variable in read:
            readers.setdefault(variable, set()).add(depth)
    parts = []
    for depth, body in enumerate(bodies, start=-1):
        needed = {variable for variable, depths_read in readers.items() if depths_read != {depth}}
        parts.append(equations.segment(body, needed))
    return tuple(parts)


def values_of(program: Equations, params: Mapping[str, PyTree]) -> dict[Any, Array]:
    """The values of the program's constants and inputs."""
    return program.constants | dict(zip(program.inputs, jax.tree.leaves(params), strict=True))
