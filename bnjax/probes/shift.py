"""Internal covariate shift of every layer: how an update of the layers below turns a gradient.

One forward pass through the updated network serves all layers: for layer i, only the equations that
depend on layer i and those above run again, forward and backward. The loss's own jaxpr tells which
these are, so any function of layers will do.
"""

import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, TypeAlias

import jax
import jax.numpy as jnp

from bnjax import fields
from bnjax.arithmetic import equations, trees
from bnjax.arithmetic.equations import Equations, Segment
from bnjax.arithmetic.layers import by_layer, describe, order_of_use
from bnjax.arithmetic.trees import Selection
from bnjax.errors import UsageError
from bnjax.fields import Field
from bnjax.probes.points import check_like, check_params, check_scalar, count_call
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
@dataclasses.dataclass(frozen=True, repr=False)
class Shift:
    """Gradients G of layers before and G′ after an update of the layers below, on the same batch.

    Layers are in the order in which the loss uses them. Distances are in units of the gradient;
    without shift distances are 0 and cosines 1.
    """

    layers: tuple[str, ...]
    distances: Distances
    relative_distances: RelativeDistances
    cosines: Cosines

    def plot(self, **options: Any) -> Any:
        """Draw it, see `bnjax.plot`."""
        return fields.plot(self, **options)

    def to_xarray(self) -> Any:
        """An `xarray.Dataset`, see `bnjax.to_xarray`."""
        return fields.to_xarray(self)

    def to_dataframe(self) -> Any:
        """A `pandas.DataFrame`, see `bnjax.to_dataframe`."""
        return fields.to_dataframe(self)

    def __repr__(self) -> str:
        return fields.summary(self)


def shift(
    loss: Loss,
    params: Params,
    next_params: Params,
    *,
    layers: Sequence[str] | None = None,
    order: Sequence[str] | None = None,
    parameters: trees.Parameters | None = None,
    gradient: Params | None = None,
    precision: str = "highest",
) -> Shift:
    r"""Gradient of each layer before and after the layers below it were updated.

    $G_i = \nabla_{W_i} L(W_1, …, W_k)$,
    $G'_i = \nabla_{W_i} L(W'_1, …, W'_{i-1}, W_i, …, W_k)$ on the same batch, with $W'$ the
    parameters after the actual optimiser step. A layer is an entry of `params`: a weight layer
    with its bias and its normalisation parameters. So is each element of a list or tuple of blocks
    (`blocks/3`), and each row of a stack of layers over which the loss scans (`stage/3`).

    Layer i is below layer j if the loss brings it together with its data first. Weights may be
    cast, normed, penalised, masked, scaled and added to constants before: that is no use of them.
    Data begin where a product, a convolution, a look-up or a broadcast over examples joins weights
    with arrays that the loss closes over; a product of a weight with constants of its own is taken
    for data, so give `order` there. Works under `jit`, in float32 and float64.

    Args:
      loss: `loss(params) -> scalar`; the batch is inside it.
      params: layers by name, or a list, tuple or module of layers, of float32 or float64 arrays,
        before the step.
      next_params: the same after the step.
      layers: names of the layers to measure; by default all that the loss uses.
      order: names of all layers from the input to the output; by default the loss tells it, see
        `layer_order`.
      parameters: keeps only the selected leaves of each gradient, as for `line`, with rows of a
        stack by their numbers (`"stage/3/kernel"`); layers of which none is selected are not
        measured. All that is below a layer is updated all the same.
      gradient: the gradient of `loss` at `params` where it is known already, e.g. from training.
      precision: a value of `jax.default_matmul_precision` for the probe.

    Returns:
      A `Shift`, arrays `[layer]` in the dtype of the gradient. The first layer's distance is 0, to
      rounding: nothing is below it.

    Raises:
      UsageError: `params` holds no layers, the trees do not match, the loss returns no scalar, a
        parameter is not float32 or float64, `layers` is a string, empty, or names a layer that the
        loss does not use, `order` has other layers than the loss, or `parameters` select nothing.

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
    layers_of(params)  # refuses what has none
    check_like(params, next_params, "next_params")
    if gradient is not None:
        check_like(params, gradient, "gradient")
    with jax.default_matmul_precision(precision):
        program, owners, selection = take_apart(loss, params)
        count_call("shift", loss, params)
        order = ordered(program, owners, order)
        if isinstance(layers, str):
            raise UsageError(f"layers={layers!r} must be a sequence of names: give [{layers!r}]")
        kept = selection.split(params)
        if parameters is not None:
            kept, _ = trees.partition(kept, parameters)
        usable = tuple(name for name in order if jax.tree.leaves(kept[name]))
        measured = usable if layers is None else tuple(layers)
        if not measured:
            raise UsageError(f"no layer is to be measured: choose from {list(order)}")
        if unknown := [name for name in measured if name not in usable]:
            by_both = "" if parameters is None else ", or none of their parameters is selected"
            raise UsageError(
                f"layers {unknown} are not used by the loss{by_both}: choose from {list(usable)}"
            )
        if gradient is None:
            gradient = jax.grad(loss)(params)
        now, then, slopes = map(selection.split, (params, next_params, gradient))
        parts = parts_of(program, owners, order)
        updated = equations.run(parts, values_of(program, then))

        def measure(position: int) -> tuple[Scalar, Scalar, Scalar]:
            name = order[position]
            below = {layer: then[layer] for layer in order[:position]}

            def tail(layer: PyTree) -> Scalar:
                known = updated | values_of(program, {**now, **below, name: layer})
                return equations.read(equations.run(parts[position + 1 :], known), program.result)

            both = slopes[name], jax.grad(tail)(now[name])
            before, after = (trees.like(kept[name], gradient) for gradient in both)
            distance = trees.norm(after, less=before)
            return distance, distance / trees.norm(before), trees.cosine(before, after)

        columns = zip(*(measure(order.index(name)) for name in measured), strict=True)
        return Shift(measured, *(jnp.stack(column) for column in columns))


def layer_order(loss: Loss, params: Params) -> tuple[str, ...]:
    """The layers of `params` in the order in which the loss uses them; nothing is computed.

    Args:
      loss: `loss(params) -> scalar`.
      params: layers by name, or a list, tuple or module of layers, of float32 or float64 arrays.

    Returns:
      Names of layers, as `shift` has them; one that the loss does not use is left out.

    Raises:
      UsageError: `params` is an array, or its only entry maps names to layers itself; the loss
        returns no scalar, a parameter is not float32 or float64, or there is none.

    Example:
      >>> import jax.numpy as jnp
      >>> loss = lambda params: params["b"] * jnp.sin(params["a"] * params["b"])
      >>> layer_order(loss, {"a": jnp.array(1.0), "b": jnp.array(2.0), "unused": jnp.array(3.0)})
      ('a', 'b')
    """
    program, owners, _ = take_apart(loss, params)
    return order_of_use(program, owners)


def ordered(
    program: Equations, owners: Sequence[str], given: Sequence[str] | None
) -> tuple[str, ...]:
    """The order of use, or the given one of the same layers."""
    found = order_of_use(program, owners)
    if given is not None and sorted(given) != sorted(found):
        raise UsageError(f"order={given!r} must have each layer of the loss once: {list(found)}")
    return found if given is None else tuple(given)


def layers_of(params: Params) -> Selection:
    """How params fall into layers by themselves; what has none is refused."""
    check_params(params)
    selection = by_layer(params)
    names = list(selection.split(params))
    if names == [""]:
        raise UsageError(
            f"params is a {type(params).__name__}; it must map the names of layers to their "
            "parameters: wrap it, e.g. {'conv1': …, 'output': …}"
        )
    stacked = any(found.stacked_axes for found in describe(params).values())
    if isinstance(params, Mapping) and len(names) == len(params) == 1 and not stacked:
        [(name, inner)] = params.items()
        if isinstance(inner, Mapping) and all(isinstance(one, Mapping) for one in inner.values()):
            raise UsageError(
                f"params has one entry, {name!r}, which maps names to layers itself and would "
                f"count as one layer: give params[{name!r}], and a loss of it"
            )
    return selection


def take_apart(loss: Loss, params: Params) -> tuple[Equations, list[str], Selection]:
    """The loss's equations, the layer of each of their inputs, and how params fall into layers.

    Rows over which the loss scans are layers; within a row others may be found.
    """
    selection = layers_of(params)
    check_scalar(loss, params)
    while True:
        parts = selection.split(params)
        leaves, structure = jax.tree.flatten(parts)

        def flat_loss(*flat: Array, selection: Any = selection, structure: Any = structure) -> Any:
            return loss(selection.merge(params, jax.tree.unflatten(structure, flat)))

        program = equations.trace(flat_loss, leaves)
        scanned = equations.scanned(program)
        names = zip(program.inputs, trees.leaf_names(parts), strict=True)
        inner = by_layer(parts, {name: scanned[one] for one, name in names if one in scanned})
        if inner.split(parts).keys() == parts.keys():
            owners = [name for name in sorted(parts) for _ in jax.tree.leaves(parts[name])]
            return program, owners, selection
        selection = trees.within(selection, inner)


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


def values_of(program: Equations, params: Mapping[str, PyTree]) -> dict[Any, Any]:
    """The values of the program's constants and inputs."""
    return program.constants | dict(zip(program.inputs, jax.tree.leaves(params), strict=True))
