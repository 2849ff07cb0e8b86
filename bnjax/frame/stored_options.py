"""A frozen dataclass of options from what a JSON file says of it, each value checked."""

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar, Union

Config = TypeVar("Config")
NUMBERS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}
LARGEST_INTEGER = 2**63
LONGEST_TEXT = 4096


def build(kind: type[Config], stored: Mapping[str, Any]) -> Config:
    """The options that `files.plain` made into plain values, or a `ValueError` that names one.

    A whole number stays an `int`, also where the field is a `float`: so it was stored.

    Example:
      >>> @dataclasses.dataclass(frozen=True)
      ... class Options:
      ...     rates: tuple[float, ...]
      ...     name: Literal["a", "b"] | None
      >>> build(Options, {"rates": [0.1, "NaN"], "name": None})
      Options(rates=(0.1, nan), name=None)
    """
    hints = typing.get_type_hints(kind)
    names = [field.name for field in dataclasses.fields(kind)]  # type: ignore[arg-type]
    if different := sorted(set(stored) ^ set(names)):
        raise ValueError(f"it lacks, or has too many of, the options {' '.join(different)}")
    return kind(**{name: convert(name, stored[name], hints[name]) for name in names})


def convert(name: str, value: Any, hint: Any) -> Any:
    """A plain value as what an annotation asks for."""
    origin, inner = typing.get_origin(hint), typing.get_args(hint)
    if origin in (Union, types.UnionType):
        for one in inner:
            try:
                return convert(name, value, one)
            except ValueError:
                continue
    elif origin is Literal:
        if any(type(value) is type(one) and value == one for one in inner):
            return value
    elif origin is tuple and isinstance(value, list):
        kinds = [inner[0]] * len(value) if inner[-1] is Ellipsis else list(inner)
        if len(kinds) == len(value):
            return tuple(convert(name, one, kind) for one, kind in zip(value, kinds, strict=True))
    elif fits(value, hint):
        return Path(value) if hint is Path else value
    elif hint is float and isinstance(value, str) and value in NUMBERS:
        return NUMBERS[value]
    raise ValueError(f"its option {name} is {str(value)[:100]!r}, which is not of its type")


def fits(value: Any, hint: Any) -> bool:
    if hint is float:
        return type(value) is float or fits(value, int)
    if hint is int:
        return type(value) is int and abs(value) < LARGEST_INTEGER
    if hint in (str, Path):
        return isinstance(value, str) and len(value) <= LONGEST_TEXT and "\0" not in value
    return hint in (bool, type(None)) and type(value) is hint
