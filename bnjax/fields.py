"""Names, units and axes of measured fields, declared once, where they are measured.

A probe returns a NamedTuple. Each field is annotated with its axes (jaxtyping) and a `Field`:

    class Sharpness(NamedTuple):
        "Sharpness along the gradient, on the batch of the step."

        sharpness: Annotated[Float[Array, ""], Field("gᵀHg/‖g‖²")]
        by_layer: Annotated[Float[Array, " layer"], Field("gᵀHg/‖g‖² of each layer")]

Names and axes of the results, labels of charts and the API pages are read off these annotations.
"""

import typing
from typing import Annotated, Any, NamedTuple


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
    return {name: read(name, hints.get(name, Any)) for name in getattr(kind, "_fields", ())}


def read(name: str, hint: Any) -> Declared:
    found = Field(name.replace("_", " ").capitalize())
    if typing.get_origin(hint) is Annotated:
        hint, *extras = typing.get_args(hint)
        found = next((extra for extra in extras if isinstance(extra, Field)), found)
    kinds = typing.get_args(hint) or (hint,)  # Float[A | B, "layer"] is a union of two
    axes = next((kind.dim_str for kind in kinds if hasattr(kind, "dim_str")), None)
    return Declared(None if axes is None else tuple(axes.split()), found)
