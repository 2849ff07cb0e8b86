"""The optimisers that experiments choose by name; the library takes any of optax's."""

import functools
from collections.abc import Callable, Mapping
from typing import NamedTuple, get_args

import jax
import optax
from jaxtyping import Array

from bnjax.arithmetic import trees
from bnjax.arithmetic.layers import describe
from bnjax.choices import OptimizerName
from bnjax.errors import UsageError
from bnjax.train.parts import of_output
from bnjax.types import Params, PyTree

MOMENTUM = 0.9
ADAMS_SIZE = 0.2  # root mean square of a typical update of Adam over its learning rate
PLAIN: Mapping[str, Callable[[float | Array], optax.GradientTransformation]] = {
    "sgd": optax.sgd,
    "momentum": lambda lr: optax.sgd(lr, momentum=MOMENTUM),
    "nesterov": lambda lr: optax.sgd(lr, momentum=MOMENTUM, nesterov=True),
    "adagrad": optax.adagrad,
    "rmsprop": optax.rmsprop,
    "adam": optax.adam,
}


class Rule(NamedTuple):
    """An optimiser without its learning rate; hashable, so that programs are found by it."""

    name: OptimizerName
    weight_decay: float = 0.0  # L2 coefficient
    drops: tuple[int, ...] = ()  # steps, counted from 0, at which the rate falls to a tenth
    decays: trees.Predicate | None = None  # by a parameter's name; None: all decay


def drop_step(drop: float, steps: int) -> int:
    """The first step of a lower learning rate, given as a share of the run or as a step.

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
      name: one of `OptimizerName`.
      lr: learning rate.
      weight_decay: L2 coefficient.

    Returns:
      An optax optimiser whose learning rate is part of its state.

    Raises:
      UsageError: unknown name.

    Source: optax; momentum 0.9, Sutskever et al. 2013, §3.
    """
    return build(Rule(name, weight_decay), lr)


@functools.lru_cache(maxsize=64)
def build(rule: Rule, lr: float) -> optax.GradientTransformation:
    """The optimiser of a rule at a learning rate.

    The learning rate is part of its state (`opt_state.hyperparams`), so one compiled program works
    at any rate.

    Args:
      rule: its weight decay is added to the gradient before the optimiser sees it; `adamw` and
        `muon` add it to the update, decoupled from the gradient. `muon` orthogonalises the
        momentum of kernels but the output's, with updates of Adam's size; all else, embeddings too,
        is Adam's with Nesterov momentum, as in optax.
      lr: learning rate.

    Returns:
      An optax optimiser.

    Raises:
      UsageError: unknown name.

    Source: Loshchilov & Hutter 2019 for the decoupled decay; Liu et al. 2025 (2502.16982), §2.2,
      for the size of Muon's updates.

    Example:
      >>> import jax.numpy as jnp
      >>> optimizer = build(Rule("sgd", weight_decay=0.5), 0.1)
      >>> params = jnp.array(2.0)
      >>> update, _ = optimizer.update(jnp.array(1.0), optimizer.init(params), params)
      >>> round(float(update), 3)  # −0.1 · (1 + 0.5 · 2)
      -0.2
    """
    if rule.name not in (known := get_args(OptimizerName)):
        expected = f"choose from {', '.join(known)}"
        raise UsageError(f"optimizer {rule.name!r} is not known: {expected}")

    def mask(params: PyTree) -> PyTree:
        return jax.tree_util.tree_map_with_path(
            lambda path, _: rule.decays is None or rule.decays(trees.path_name(path)), params
        )

    def make(lr: float | Array) -> optax.GradientTransformation:
        if rule.name == "adamw":
            chosen = optax.adamw(lr, weight_decay=rule.weight_decay, mask=mask)
        elif rule.name == "muon":
            # Of its own two decays optax masks one.
            decay = optax.add_decayed_weights(-lr * rule.weight_decay, mask=mask)
            chosen = optax.chain(muon(lr), decay)
        else:
            decay = optax.add_decayed_weights(rule.weight_decay, mask=mask)
            chosen = optax.chain(decay, PLAIN[rule.name](lr))
        if not rule.drops:
            return chosen
        # All these optimisers multiply by the rate last, so this is a schedule of the rate.
        schedule = optax.piecewise_constant_schedule(1.0, dict.fromkeys(rule.drops, 0.1))
        return optax.chain(chosen, optax.scale_by_schedule(schedule))

    return optax.inject_hyperparams(make)(lr=lr)


def muon(lr: float | Array) -> optax.GradientTransformation:
    """Muon of the kernels of hidden layers, Nesterov's Adam of all else; without decay."""

    def of(tree: PyTree) -> optax.GradientTransformation:
        # Told of the whole tree: optax hands on parts, in which a kernel has lost its bias.
        axes = matrices(tree)
        return optax.contrib.muon(lr, muon_weight_dimension_numbers=axes, consistent_rms=ADAMS_SIZE)

    return optax.GradientTransformation(
        lambda params: of(params).init(params),
        lambda updates, state, params=None: of(updates).update(updates, state, params),
    )


def matrices(params: Params) -> PyTree:
    """Which axes of each kernel are a matrix's rows and columns; None of all that is no kernel.

    A convolution has a column for each output channel. Of the output, `output`, it is None, too:
    Muon is for hidden layers.

    Source: Jordan et al. 2024 (kellerjordan.github.io/posts/muon).
    """
    known = describe(params)

    def of(path: tuple, leaf: Array) -> optax.contrib.MuonDimensionNumbers | None:
        name = trees.path_name(path)
        one = known[name]
        if one.kind != "kernel" or not one.filter_axes or of_output(name):
            return None
        return optax.contrib.MuonDimensionNumbers(one.within_filter(leaf.ndim), one.filter_axes)

    return jax.tree_util.tree_map_with_path(of, params)
