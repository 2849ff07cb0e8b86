"""Normalisers by name, for configurations."""

import functools
import math
from collections.abc import Callable

from bnjax.errors import UsageError
from bnjax.models.norms.combined import noisy
from bnjax.models.norms.constructors import (
    batch_norm,
    group_norm,
    instance_norm,
    layer_norm,
    lp_norm,
    none,
    rms_norm,
    unitize,
    weight_norm,
    weight_standard,
)
from bnjax.models.norms.norm import Norm

REGISTRY: dict[str, Callable[[], Norm]] = {
    "none": none,
    "batch": batch_norm,
    "layer": layer_norm,
    "group": group_norm,
    "instance": instance_norm,
    "rms": rms_norm,
    "unitize": unitize,
    "weight_standard": weight_standard,
    "weight_norm": weight_norm,
    "l1": functools.partial(lp_norm, 1.0),
    "l2": functools.partial(lp_norm, 2.0),
    "linf": functools.partial(lp_norm, math.inf),
    "noisy_batch": lambda: noisy(batch_norm()),
    "noise": lambda: noisy(none()),
}


def register(name: str, make: Callable[[], Norm]) -> None:
    """Make a normaliser known by name, to `by_name` and to the options of every experiment.

    Args:
      name: letters, digits and underscores; it becomes part of file names.
      make: returns the `Norm`, whose name must be the same.

    Raises:
      UsageError: an impossible name, or one that is taken.

    Example:
      >>> register("batch_slow", lambda: batch_norm(momentum=0.99)._replace(name="batch_slow"))
      >>> by_name("batch_slow").batch_statistics
      True
    """
    if not (name.isidentifier() and name.isascii()):
        raise UsageError(f"norm name {name!r} must be of letters, digits and underscores")
    if name in REGISTRY:
        raise UsageError(f"norm {name!r} is known already: choose another name")
    if (own := make().name) != name:
        raise UsageError(f"norm {name!r} makes a Norm named {own!r}: give both the same name")
    REGISTRY[name] = make


def by_name(name: str) -> Norm:
    """The normaliser of that name with its default options.

    Args:
      name: a key of `REGISTRY`.

    Returns:
      A `Norm` of that name, the same one at each call.

    Raises:
      UsageError: there is none of that name.

    Example:
      >>> by_name("layer").name
      'layer'
    """
    if name not in REGISTRY:
        raise UsageError(f"norm {name!r} is not known: choose from {', '.join(REGISTRY)}")
    return made(REGISTRY[name])


@functools.cache
def made(make: Callable[[], Norm]) -> Norm:
    """What a constructor makes, made once: equal models share their compiled programs."""
    return make()
