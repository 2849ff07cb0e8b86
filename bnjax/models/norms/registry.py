"""Normalisers by name, for configurations."""

import functools
import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from bnjax.errors import UsageError, require_new_name, told
from bnjax.models.norms.batch import batch_norm, lp_norm, unitize
from bnjax.models.norms.kernel import weight_norm, weight_standard
from bnjax.models.norms.noise import noisy
from bnjax.models.norms.norm import Norm, none
from bnjax.models.norms.sample import group_norm, instance_norm, layer_norm, rms_norm
from bnjax.types import Array, PRNGKey

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
      UsageError: an impossible name, one that is taken, or a module that cannot be called as
        `module(x, train=bool)` or keeps statistics of the batch without saying so.

    Example:
      >>> register("batch_slow", lambda: batch_norm(momentum=0.99)._replace(name="batch_slow"))
      >>> by_name("batch_slow").batch_statistics
      True
    """
    require_new_name("norm", name, REGISTRY)
    norm = make()
    if not isinstance(norm, Norm):
        raise UsageError(f"norm {name!r} is made as a {type(norm).__name__}: return a Norm")
    if norm.name != name:
        raise UsageError(f"norm {name!r} makes a Norm named {norm.name!r}: give both the same name")
    check_call(norm)
    REGISTRY[name] = make


def check_call(norm: Norm) -> None:
    """Refuse a normaliser that cannot be called, or does not say that it needs the batch."""
    if norm.build is None:
        return
    reasons = []
    for shape in ((4, 8, 8, 16), (4, 16)):  # images, or dense layers alone
        try:
            output, variables = try_call(norm.build(name=None), shape)
        except Exception as error:  # a user's code may raise anything
            reasons.append(f"{type(error).__name__}: {told(error)}")
            continue
        if getattr(output, "shape", None) != shape:
            raise UsageError(f"norm {norm.name!r} makes {output} of {shape}: return x's own shape")
        if "batch_stats" in variables and not norm.batch_statistics:
            raise UsageError(
                f"norm {norm.name!r} keeps batch_stats: give its Norm batch_statistics=True, by "
                "which batches of one and microbatches are refused"
            )
        return
    raise UsageError(
        f"norm {norm.name!r} cannot be built by build(name=…) and called as module(x, train=bool), "
        f"x [batch, …, channels]: {reasons[0]}"
    )


def try_call(module: nn.Module, shape: tuple[int, ...]) -> tuple[Any, Any]:
    """Shapes of a module's output and variables in training; testing mode is tried, too."""
    x = jax.ShapeDtypeStruct(shape, jnp.float32)

    def call(key: PRNGKey, x: Array, *, train: bool) -> Any:
        return module.init_with_output(key, x, train=train)

    for train in (False, True):
        found = jax.eval_shape(functools.partial(call, train=train), jax.random.key(0), x)
    return found


def by_name(name: str) -> Norm:
    """The normaliser of that name with its default options.

    Args:
      name: a key of `REGISTRY`.

    Returns:
      A `Norm` of that name, the same one at each call.

    Raises:
      UsageError: there is none of that name.
    """
    if name not in REGISTRY:
        raise UsageError(f"norm {name!r} is not known: choose from {', '.join(REGISTRY)}")
    return made(REGISTRY[name])


@functools.cache
def made(make: Callable[[], Norm]) -> Norm:
    """A constructor's result, made once: equal models share their compiled programs."""
    return make()
