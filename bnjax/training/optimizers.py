"""The optimisers that experiments choose by name; the library takes any of optax's."""

from typing import Literal, TypeAlias

import optax

OptimizerName: TypeAlias = Literal[
    "sgd", "momentum", "nesterov", "adagrad", "rmsprop", "adam", "adamw"
]
MOMENTUM = 0.9


def by_name(
    name: OptimizerName, lr: float, weight_decay: float = 0.0
) -> optax.GradientTransformation:
    """An optimiser with optax's defaults, and momentum 0.9 where it has one.

    Args:
      name: one of `OptimizerName`.
      lr: learning rate, units of parameters over units of what the optimiser makes of gradients.
      weight_decay: L2 coefficient; added to the gradient before the optimiser sees it, but by
        `adamw` to its update, decoupled from the gradient (Loshchilov & Hutter 2019).

    Example:
      >>> import jax.numpy as jnp
      >>> optimizer, params = by_name("sgd", 0.1), jnp.array(1.0)
      >>> updates, _ = optimizer.update(jnp.array(2.0), optimizer.init(params), params)
      >>> round(float(updates), 3)
      -0.2
    """
    if name == "adamw":
        return optax.adamw(lr, weight_decay=weight_decay)
    chosen = {
        "sgd": optax.sgd(lr),
        "momentum": optax.sgd(lr, momentum=MOMENTUM),
        "nesterov": optax.sgd(lr, momentum=MOMENTUM, nesterov=True),
        "adagrad": optax.adagrad(lr),
        "rmsprop": optax.rmsprop(lr),
        "adam": optax.adam(lr),
    }[name]
    return optax.chain(optax.add_decayed_weights(weight_decay), chosen)
