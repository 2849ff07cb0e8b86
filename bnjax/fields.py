"""Names, units and axes of measured fields, declared once, where they are measured.

A probe returns a NamedTuple. Each field is annotated with its axes (jaxtyping) and a `Field`:

    class Sharpness(NamedTuple):
        "Sharpness along the gradient, on the batch of the step."

        sharpness: Annotated[Float[Array, ""], Field("gᵀHg/‖g‖²")]
        by_layer: Annotated[Float[Array, " layer"], Field("gᵀHg/‖g‖² of each layer")]

Names and axes of the results, labels of charts and the API pages are read off these annotations;
so are the ways to look at what was measured: `to_xarray`, `to_dataframe`, `plot`, `summary`.
"""

import importlib
import textwrap
import typing
from collections.abc import Mapping
from typing import Annotated, Any, NamedTuple

import numpy as np

from bnjax.arithmetic import trees
from bnjax.errors import UsageError, needs

AXIS_LABELS = {
    "norm": "normaliser",
    "lr": "learning rate",
    "seed": "seed",
    "step": "training step",
    "test_step": "training step",
    "probe_step": "training step",
    "watch_step": "training step",
    "group": "group of weights",
    "layer": "layer",
    "step_size": "step size η",
}
MOST_SHOWN = 6  # numbers of an array in a summary; of a longer one its range
WIDTH = 100  # of a summary


class Field(NamedTuple):
    """How a person reads a measured field."""

    label: str
    unit: str = ""
    bounded: bool = False  # a share or a cosine: never drawn on a logarithmic scale


class Declared(NamedTuple):
    """A field of a probe's NamedTuple as its annotation declares it."""

    axes: tuple[str, ...] | None  # None: the annotation names no axes
    field: Field


def declared(kind: type) -> dict[str, Declared]:
    """The declared fields of a NamedTuple, in their order.

    A field without `Field` is labelled by its name, one without jaxtyping's axes has `axes=None`.

    Example:
      >>> from jaxtyping import Array, Float
      >>> class Found(NamedTuple):
      ...     by_layer: Annotated[Float[Array, "layer"], Field("‖g‖ of each layer")]
      ...     total_norm: Float[Array, ""]
      >>> declared(Found)["by_layer"]
      Declared(axes=('layer',), field=Field(label='‖g‖ of each layer', unit='', bounded=False))
      >>> declared(Found)["total_norm"].field.label
      'Total norm'
    """
    hints = typing.get_type_hints(kind, include_extras=True)
    return {name: read(name, hints.get(name, Any)) for name in names(kind)}


def names(kind: type) -> tuple[str, ...]:
    """The fields of a NamedTuple, or of a dataclass such as `Shift`; empty: not a measurement."""
    return getattr(kind, "_fields", None) or tuple(getattr(kind, "__dataclass_fields__", ()))


def read(name: str, hint: Any) -> Declared:
    found = Field(name.replace("_", " ").capitalize())
    if typing.get_origin(hint) is Annotated:
        hint, *extras = typing.get_args(hint)
        found = next((extra for extra in extras if isinstance(extra, Field)), found)
    kinds = typing.get_args(hint) or (hint,)  # Float[A | B, "layer"] is a union of two
    axes = next((kind.dim_str for kind in kinds if hasattr(kind, "dim_str")), None)
    return Declared(None if axes is None else tuple(axes.split()), found)


def attributes(kind: type, field: Field, probe: str) -> dict[str, Any]:
    """What a variable of an `xarray.Dataset` says of itself."""
    definition = (kind.__doc__ or "").strip().split("\n\n")[0]
    return {
        "long_name": field.label,
        "units": field.unit,
        "definition": " ".join(definition.split()),
        "probe": probe,
        "bounded": int(field.bounded),
    }


class Column(NamedTuple):
    """A field of one measurement, or of many along leading axes."""

    axes: tuple[str, ...] | None
    attributes: dict[str, Any]
    values: np.ndarray


def columns(measured: Any, probe: str) -> dict[str, Column]:
    """The fields of a measurement; a field with fields or with leaves is replaced by these."""
    found: dict[str, Column] = {}
    for name, (axes, field) in declared(type(measured)).items():
        value, attrs = getattr(measured, name), attributes(type(measured), field, probe)
        if isinstance(value, tuple) and names(type(value)):
            inner = columns(value, probe)
            found |= {f"{name}_{own}": column for own, column in inner.items()}
        elif axes is None and is_tree(value):
            found |= {
                f"{name}/{own}" if own else name: Column(None, attrs, np.asarray(leaf))
                for own, leaf in trees.named_leaves(value).items()
            }
        else:
            found[name] = Column(axes, attrs, np.asarray(value))
    return found


def is_tree(value: Any) -> bool:
    """Whether it is a pytree of arrays, such as the parameters, and not one array or some names."""
    leaves = trees.named_leaves(value)
    return list(leaves) != [""] and all(hasattr(leaf, "__array__") for leaf in leaves.values())


def gather(measured: Any) -> tuple[dict[str, Column], dict[str, list[Any]]]:
    """The fields of all measurements, stacked, and their leading axes with the values of these."""
    if names(type(measured)):
        return columns(measured, type(measured).__name__.lower()), {}
    if not (isinstance(measured, Mapping | list | tuple) and measured):
        raise UsageError(
            f"a {type(measured).__name__} holds nothing measured: give what a probe returned, a "
            "dict of these by training step or by name, or a list"
        )
    keys = list(measured) if isinstance(measured, Mapping) else [*range(len(measured))]
    parts = [gather(measured[key]) for key in keys]
    axis = "norm" if all(isinstance(key, str) for key in keys) else "step"
    first, lead = parts[0]
    for key, (other, own) in zip(keys, parts, strict=True):
        same = own == lead and other.keys() == first.keys()
        if not same or any(other[n].values.shape != first[n].values.shape for n in first):
            raise UsageError(
                f"what was measured at {axis} {key!r} has other fields, shapes or steps than at "
                f"{keys[0]!r}: collect each kind by itself, at the same steps"
            )
    if axis in lead:
        raise UsageError(f"there are two axes {axis}: give a dict by name of dicts by step")
    stacked = {
        name: column._replace(values=np.stack([found[name].values for found, _ in parts]))
        for name, column in first.items()
    }
    return stacked, {axis: keys, **lead}


def to_xarray(measured: Any) -> Any:
    """What was measured as an `xarray.Dataset`, with the labels, units and axes of its fields.

    Args:
      measured: what a probe returned, or another NamedTuple with declared fields; many of one kind
        as a dict by training step, as a list, or stacked as `jax.lax.scan` stacks them; or a dict
        of these by the name of a network.

    Returns:
      A `Dataset` with a variable for each field. Numbers as keys are the axis `step`, names `norm`,
      as in the results of studies. Step sizes η, names of layers and ranks are coordinates.

    Raises:
      UsageError: nothing was measured, or measurements differ in kind, shapes or steps.
      MissingPackage: xarray is not installed.

    Example:
      >>> import jax.numpy as jnp
      >>> from bnjax import probes
      >>> probe = probes.Probe(lambda w, x: 0.5 * jnp.sum(x * w**2), jnp.array([0.1, 0.2]))
      >>> batches = {0: jnp.array([1.0, 3.0]), 10: jnp.array([1.0, 5.0])}
      >>> lines = {step: probe(jnp.array([0.0, 1.0]), batch) for step, batch in batches.items()}
      >>> to_xarray(lines)["smoothness"].max("step_size").round(3).to_series().to_dict()
      {0: 3.0, 10: 5.0}
    """
    with needs("plot"):
        import xarray  # takes a second to import, and probes need none

    if isinstance(measured, xarray.Dataset):
        return measured
    found, known = gather(measured)
    axes: dict[str, Any] = dict(known)
    variables: dict[str, tuple[tuple[str, ...], np.ndarray, dict[str, Any]]] = {}
    lead = tuple(axes)
    for name, (own, attrs, values) in found.items():
        more = values.ndim - len(lead) - len(own or ())
        if own is None:
            own = tuple(f"{name}_{place}" for place in range(more))
        elif more == 1 and "step" not in lead:
            own = ("step", *own)
        elif more:
            raise UsageError(
                f"{name} has shape {values.shape}, {more} axes more than {(*lead, *own)}: give a "
                "dict by name of dicts by step"
            )
        variables[name] = ((*lead, *own), values, attrs)
    for name, (own, _, values) in found.items():
        axis = name.removesuffix("s")  # `step_sizes` are the places along `step_size`
        is_axis = own == (axis,) or values.dtype.kind == "U"
        if is_axis and (values == values.reshape(-1, values.shape[-1])[0]).all():
            axes[axis] = values.reshape(-1, values.shape[-1])[0]
            del variables[name]
    data = xarray.Dataset(variables, axes)
    for counted, first in (("step", 0), ("rank", 1)):
        if counted in data.dims and counted not in axes:
            data = data.assign_coords({counted: np.arange(data.sizes[counted]) + first})
    for name in map(str, data.coords):
        data[name].attrs["long_name"] = AXIS_LABELS.get(name, name.replace("_", " "))
    return data


def to_dataframe(measured: Any) -> Any:
    """What was measured as a `pandas.DataFrame`: a row for each place along all of its axes.

    Args:
      measured: as for `to_xarray`.

    Returns:
      `to_xarray(measured).to_dataframe()`: axes are the index, fields the columns; a field without
      an axis is repeated along it.

    Raises:
      UsageError: as `to_xarray`.
    """
    return to_xarray(measured).to_dataframe()


def plot(measured: Any, **options: Any) -> Any:
    """`bnjax.plot`, found by its name: what draws is above what measures, and loads matplotlib."""
    return importlib.import_module("bnjax.draw.measured").plot(measured, **options)


def summary(measured: Any) -> str:
    """Every field of a measurement in about ten lines: short arrays whole, of long ones the range.

    Example:
      >>> class Found(NamedTuple):
      ...     by_layer: np.ndarray
      ...     everywhere: np.ndarray
      ...     total_norm: float
      >>> print(summary(Found(np.array([0.5, 2.0]), np.arange(100.0), 1 / 3)))
      Found
        by_layer    0.5  2
        everywhere  (100,) from 0 to 99
        total_norm=0.3333
    """
    values = {name: getattr(measured, name) for name in names(type(measured))}
    wide = [name for name, value in values.items() if np.ndim(value)]
    width = max(map(len, wide), default=0)
    lines = [f"  {name:{width}}  {shown(values[name])}" for name in wide]
    scalars = "  ".join(f"{name}={shown(values[name])}" for name in values if name not in wide)
    indent: Any = dict.fromkeys(("initial_indent", "subsequent_indent"), "  ")
    lines += textwrap.wrap(scalars, WIDTH, break_on_hyphens=False, **indent)
    return "\n".join([type(measured).__name__, *lines])


def shown(value: Any) -> str:
    try:
        array = np.asarray(value)
    except Exception:  # traced, or partly on another host
        return " ".join(repr(value).split())
    if array.dtype.kind not in "fiub":
        return textwrap.shorten(" ".join(map(str, array.flat)), WIDTH - 30, placeholder=" …")
    if array.size <= MOST_SHOWN:
        return "  ".join(f"{one:.4g}" for one in array.flat)
    finite = array[np.isfinite(array)]
    ends = f" from {finite.min():.4g} to {finite.max():.4g}" if finite.size else ""
    gone = array.size - finite.size
    return f"{array.shape}{ends}" + f", {gone} not finite" * bool(gone)
