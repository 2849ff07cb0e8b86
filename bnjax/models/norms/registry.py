"""Normalisers by name, for configurations."""

import functools
import math
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from bnjax.choices import did_you_mean
from bnjax.errors import UsageError, require_new_name, told
from bnjax.models.norms.batch import batch_norm, lp_norm, unitize
from bnjax.models.norms.kernel import weight_norm, weight_standard
from bnjax.models.norms.noise import noisy
from bnjax.models.norms.norm import Norm, check_made, none
from bnjax.models.norms.pointwise import derf, dyt, skip_init
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
    "dyt": dyt,
    "derf": derf,
    "skipinit": skip_init,
}


def register(name: str, make: Callable[[], Norm]) -> None:
    """Make a normaliser known by name, to `by_name` and to the options of every experiment.

    Args:
      name: letters, digits and underscores; it becomes part of file names.
      make: returns the `Norm`, whose name must be the same.

    Raises:
      UsageError: an impossible name, one that is taken, or a module that cannot be called as
        `module(x, train=bool)`, returns another shape or dtype than that of x, or keeps statistics
        of the batch without saying so.

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


# What is tried of a norm: the shapes of its input, and how it is called.
TRIALS: dict[str, tuple[tuple[tuple[int, ...], ...], tuple[dict[str, bool], ...]]] = {
    "build": (((4, 8, 8, 16), (4, 16)), ({"train": False}, {"train": True})),  # or dense alone
    "reparametrise": (((3, 3, 8, 16), (8, 16)), ({},)),  # kernels
}


def check_call(norm: Norm) -> None:
    """Refuse a normaliser that cannot be called, returns another array, or hides statistics."""
    for field, (shapes, calls) in TRIALS.items():
        build = getattr(norm, field)
        reasons = []
        for shape in shapes if build else ():
            x = jax.ShapeDtypeStruct(shape, jnp.float32)
            try:
                found = [try_call(build(name=None), x, **options) for options in calls]
            except Exception as error:  # a user's code may raise anything
                reasons.append(f"{type(error).__name__}: {told(error)}")
                continue
            for output, variables in found:
                check_made(norm.name, output, x)
                if "batch_stats" in variables and not norm.batch_statistics:
                    raise UsageError(
                        f"norm {norm.name!r} keeps batch_stats: give its Norm "
                        "batch_statistics=True, by which batches of one and microbatches are "
                        "refused"
                    )
        if len(reasons) == len(shapes):
            call = "module(x, train=bool), x [batch, …, channels]"
            call = call if field == "build" else "module(kernel), kernel […, channels]"
            raise UsageError(
                f"norm {norm.name!r} cannot be built by {field}(name=…) and called as {call}: "
                f"{reasons[0]}"
            )


def try_call(module: nn.Module, x: jax.ShapeDtypeStruct, **options: Any) -> tuple[Any, Any]:
    """Shapes of a module's output and of its variables."""

    def call(key: PRNGKey, x: Array) -> Any:
        return module.init_with_output(key, x, **options)

    return jax.eval_shape(call, jax.random.key(0), x)


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
        near = did_you_mean(name, REGISTRY)
        raise UsageError(f"norm {name!r} is not known: choose from {', '.join(REGISTRY)}{near}")
    return made(REGISTRY[name])


@functools.cache
def made(make: Callable[[], Norm]) -> Norm:
    """A constructor's result, made once: equal models share their compiled programs."""
    return make()
