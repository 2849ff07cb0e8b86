"""The optimisers that experiments choose by name; the library takes any of optax's."""

from collections.abc import Callable, Mapping
from typing import Literal, NamedTuple, TypeAlias

import jax
import optax
from jaxtyping import Array

from bnjax.arithmetic import trees
from bnjax.errors import UsageError
from bnjax.types import PyTree

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
DROP = 0.1


class Rule(NamedTuple):
    """An optimiser without its learning rate; hashable, so that programs are found by it."""

    name: OptimizerName
    weight_decay: float = 0.0  # L2 coefficient
    drops: tuple[
        int, ...
    ] = ()  # steps, counted from 0, from which on the rate is a tenth of before
    decays: trees.Predicate | None = None  # by a parameter's name; None: all decay


def drop_step(drop: float, steps: int) -> int:
    """The first step of a lower learning rate, given as a share of the run or as a step.

    Args:
      drop: a share if below 1, else a step, counted from 0.
      steps: of the whole run.

    Example:
      >>> drop_step(0.5, 80), drop_step(60.0, 80)
      (40, 60)
    """
    return round(drop * steps) if drop < 1 else int(drop)


def by_name(
    name: OptimizerName, lr: float, weight_decay: float = 0.0
) -> optax.GradientTransformation:
    """An optimiser with optax's defaults, and momentum 0.9 where it has one; see `build`.

    Args:
      name: a key of `USUAL_RATES`.
      lr: learning rate.
      weight_decay: L2 coefficient.

    Returns:
      An optax optimiser whose learning rate is part of its state.

    Raises:
      UsageError: unknown name.

    Source: optax; momentum 0.9, Sutskever et al. 2013, §3.

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
    return build(Rule(name, weight_decay), lr)


def build(rule: Rule, lr: float) -> optax.GradientTransformation:
    """The optimiser of a rule at a learning rate.

    The learning rate is part of its state (`opt_state.hyperparams`), so a program that was compiled
    for one works at any other.

    Args:
      rule: the weight decay is added to the gradient before the optimiser sees it, but by `adamw`
        to its update, decoupled from the gradient (Loshchilov & Hutter 2019).
      lr: learning rate, units of parameters over units of what the optimiser makes of gradients.

    Returns:
      An optax optimiser.

    Raises:
      UsageError: unknown name.

    Source: optax; Loshchilov & Hutter 2019 for the decoupled decay.

    Example:
      >>> import jax.numpy as jnp
      >>> optimizer = build(Rule("sgd", weight_decay=0.5), 0.1)
      >>> params = jnp.array(2.0)
      >>> update, _ = optimizer.update(jnp.array(1.0), optimizer.init(params), params)
      >>> round(float(update), 3)  # −0.1 · (1 + 0.5 · 2)
      -0.2
    """
    if rule.name not in USUAL_RATES:
        known = ", ".join(USUAL_RATES)
        raise UsageError(f"optimizer {rule.name!r} is not known: choose from {known}")

    def mask(params: PyTree) -> PyTree:
        return jax.tree_util.tree_map_with_path(
            lambda path, _: rule.decays is None or rule.decays(trees.path_name(path)), params
        )

    def make(lr: float | Array) -> optax.GradientTransformation:
        if rule.name == "adamw":
            chosen = optax.adamw(lr, weight_decay=rule.weight_decay, mask=mask)
        else:
            decay = optax.add_decayed_weights(rule.weight_decay, mask=mask)
            chosen = optax.chain(decay, PLAIN[rule.name](lr))
        if not rule.drops:
            return chosen
        # All these optimisers multiply by the rate last, so this is a schedule of the rate.
        schedule = optax.piecewise_constant_schedule(1.0, dict.fromkeys(rule.drops, DROP))
        return optax.chain(chosen, optax.scale_by_schedule(schedule))

    return optax.inject_hyperparams(make)(lr=lr)
