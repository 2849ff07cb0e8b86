"""Normalisers: constructors that are handed to a model.

A `Norm` builds a fresh linen module for each layer by `build(name="norm")`; the module's call is
`module(x, train=bool)` with the channels last. One's own normaliser needs nothing else.
"""

import functools
import math
from collections.abc import Callable

from bnjax.arithmetic.noise import NoiseScale
from bnjax.errors import UsageError
from bnjax.models.batch_norm import BatchNorm
from bnjax.models.lp_norm import LpNorm
from bnjax.models.noisy import Noisy
from bnjax.models.norm import Norm


def batch_norm(momentum: float = 0.9, epsilon: float = 1e-5) -> Norm:
    """Batch normalisation.

    Args:
      momentum: weight of the old running statistics at each step, in [0, 1).
      epsilon: added to the variance.

    Returns:
      A `Norm` named `batch`.

    Raises:
      UsageError: momentum outside [0, 1) or epsilon below 0.
    """
    check_running(momentum, epsilon)
    return Norm("batch", functools.partial(BatchNorm, momentum=momentum, epsilon=epsilon))


def none() -> Norm:
    """No normalisation: the "standard" network of Santurkar et al. 2018."""
    return Norm("none", None)


def lp_norm(power: float, momentum: float = 0.9, epsilon: float = 1e-5) -> Norm:
    """Mean of the batch, average ℓp norm of the batch; see `LpNorm`.

    Args:
      power: p, 1 or more; `math.inf` for the maximum.
      momentum: weight of the old running statistics at each step, in [0, 1).
      epsilon: added to the norm.

    Returns:
      A `Norm` named `l1`, `l2`, `linf`, ….

    Raises:
      UsageError: a power below 1, momentum outside [0, 1) or epsilon below 0.
    """
    if not power >= 1:
        raise UsageError(f"power={power} must be 1 or more: give 1, 2 or math.inf")
    check_running(momentum, epsilon)
    name = "linf" if math.isinf(power) else f"l{power:g}"
    build = functools.partial(LpNorm, power=power, momentum=momentum, epsilon=epsilon)
    return Norm(name, build)


def noisy(inner: Norm, strength: NoiseScale | None = None) -> Norm:
    """A normaliser with the noise of Santurkar et al. 2018, Algorithm 1, behind it.

    Args:
      inner: the normaliser, or `none()` for noise alone.
      strength: constants of the noise; by default the paper's.

    Returns:
      A `Norm` named `noisy_<inner>`, or `noise`.
    """
    name = "noise" if inner.build is None else f"noisy_{inner.name}"
    return Norm(name, functools.partial(Noisy, inner=inner, strength=strength or NoiseScale()))


def check_running(momentum: float, epsilon: float) -> None:
    """Refuse impossible options of running statistics."""
    if not 0 <= momentum < 1:
        raise UsageError(f"momentum={momentum} must be in [0, 1): give e.g. 0.9")
    if not epsilon >= 0:
        raise UsageError(f"epsilon={epsilon} must be 0 or more: give e.g. 1e-5")


REGISTRY: dict[str, Callable[[], Norm]] = {
    "none": none,
    "batch": batch_norm,
    "l1": functools.partial(lp_norm, 1.0),
    "l2": functools.partial(lp_norm, 2.0),
    "linf": functools.partial(lp_norm, math.inf),
    "noisy_batch": lambda: noisy(batch_norm()),
    "noise": lambda: noisy(none()),
}


def by_name(name: str) -> Norm:
    """The normaliser of that name with its default options.

    Args:
      name: a key of `REGISTRY`.

    Raises:
      UsageError: there is none of that name.
    """
    if name not in REGISTRY:
        raise UsageError(f"norm {name!r} is not known: choose from {', '.join(REGISTRY)}")
    return REGISTRY[name]()
