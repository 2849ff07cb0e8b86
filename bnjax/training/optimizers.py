"""The optimisers that experiments choose by name; the library takes any of optax's."""

from collections.abc import Callable, Mapping
from typing import Literal, TypeAlias

import optax
from jaxtyping import Array

OptimizerName: TypeAlias = Literal[
    "sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw"
]
MOMENTUM = 0.9
# Where a search over learning rates begins: a convention, no optimum (Adam: Kingma & Ba 2015).
USUAL_RATES: Mapping[str, float] = {
    "sgd": 0.1,
    "momentum": 0.01,
    "nesterov": 0.01,
    "adagrad": 0.01,
    "rmsprop": 0.001,
    "adam": 0.001,
    "adamw": 0.001,
}
PLAIN: Mapping[str, Callable[[float | Array], optax.GradientTransformation]] = {
    "sgd": optax.sgd,
    "momentum": lambda lr: optax.sgd(lr, momentum=MOMENTUM),
    "nesterov": lambda lr: optax.sgd(lr, momentum=MOMENTUM, nesterov=True),
    "adagrad": optax.adagrad,
    "rmsprop": optax.rmsprop,
    "adam": optax.adam,
}


def by_name(
    name: OptimizerName, lr: float, weight_decay: float = 0.0
) -> optax.GradientTransformation:
    """An optimiser with optax's defaults, and momentum 0.9 where it has one.

    The learning rate is part of its state (`opt_state.hyperparams`), so a program that was compiled
    for one works at any other.

    Args:
      name: one of `OptimizerName`.
      lr: learning rate, units of parameters over units of what the optimiser makes of gradients.
      weight_decay: L2 coefficient; added to the gradient before the optimiser sees it, but by
        `adamw` to its update, decoupled from the gradient (Loshchilov & Hutter 2019).

    Example:
      >>> import jax.numpy as jnp
      >>> optimizer, params = by_name("sgd", 0.1), jnp.array(1.0)
      >>> state = optimizer.init(params)
      >>> round(float(optimizer.update(jnp.array(2.0), state, params)[0]), 3)
      -0.2
      >>> state = by_name("sgd", 0.5).init(params)  # another rate, the same update function
      >>> round(float(optimizer.update(jnp.array(2.0), state, params)[0]), 3)
      -1.0
    """

    def make(lr: float | Array) -> optax.GradientTransformation:
        if name == "adamw":
            return optax.adamw(lr, weight_decay=weight_decay)
        return optax.chain(optax.add_decayed_weights(weight_decay), PLAIN[name](lr))

    return optax.inject_hyperparams(make)(lr=lr)
