"""Kernel initialisers by name, for configurations; JAX has them all."""

from collections.abc import Callable

from jax.nn import initializers
from jaxtyping import Array

from bnjax.errors import UsageError

REGISTRY: dict[str, Callable[..., Array]] = {
    "glorot_uniform": initializers.glorot_uniform(),
    "glorot_normal": initializers.glorot_normal(),
    "he_uniform": initializers.he_uniform(),
    "he_normal": initializers.he_normal(),
    "lecun_normal": initializers.lecun_normal(),
    "orthogonal": initializers.orthogonal(),
    "two_over_root_n": initializers.variance_scaling(4.0, "fan_in", "normal"),
    "small_normal": initializers.normal(0.01),
    "constant": initializers.constant(0.01),
    "zeros": initializers.zeros,
}


def by_name(name: str) -> Callable[..., Array]:
    """The initialiser `(key, shape, dtype) -> kernel` of that name.

    Args:
      name: a key of `REGISTRY`; `glorot_uniform` is that of Santurkar et al. 2018;
        `two_over_root_n` is Gaussian of deviation 2/√n for n inputs, `small_normal` of deviation
        0.01; with `constant` (0.01) and `zeros` all channels of a layer stay equal.

    Returns:
      The initialiser; kernels have their output channels last.

    Raises:
      UsageError: there is none of that name.

    Source: Glorot & Bengio 2010, He et al. 2015 (1502.01852), LeCun et al. 1998, Saxe et al. 2014.
    """
    if name not in REGISTRY:
        raise UsageError(f"initializer {name!r} is not known: choose from {', '.join(REGISTRY)}")
    return REGISTRY[name]
