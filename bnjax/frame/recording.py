"""The flight recorder in the training loop of studies: one more probe, which `--watch N` adds.

Training's own programs are the same with it and without. Groups are the kernels of weight layers:
those that any arm has, so that the arrays of all arms have one shape.
"""

from typing import Any

import jax
import jax.numpy as jnp
import optax

from bnjax.arithmetic import trees
from bnjax.arithmetic.layers import describe
from bnjax.arithmetic.trees import Selection
from bnjax.data import Batch
from bnjax.frame.arm import Arm, matrix_precision, once, optimizer_rule
from bnjax.recorder import Optimization, Recording, record
from bnjax.train import Measurement, TrainState, every, optimizers
from bnjax.train.step import Gradient, MakeLoss
from bnjax.types import Params, Scalar

NAME, AXIS = "recording", "watch_step"
ADAM_B1 = 0.9  # of optax, which `optimizers.build` takes


def recording(arm: Arm) -> Measurement:
    """What `bnjax.watch` records, of one arm, at every step that is due; with the critical step."""
    measure = once(
        make_measure,
        optimizer_rule(arm.options),
        arm.probed_loss(arm.options.precision),
        kernels(arm),
        arm.selection,
        matrix_precision(arm.options.precision),
    )
    return Measurement(every(arm.options.watch), measure, axis=AXIS)


def kernels(arm: Arm) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """The kernels of each weight layer, by its name; all its leaves where none is a kernel.

    None of a layer that other arms have.
    """
    described = describe(arm.model.shapes(*arm.dataset.example)["params"])
    found = []
    for layer in arm.watched:
        own = [name for name in described if name.startswith(f"{layer}/")]
        chosen = [name for name in own if described[name].kind == "kernel"]
        found.append((layer, tuple(chosen or own)))
    return tuple(found)


def make_measure(
    rule: optimizers.Rule,
    make_loss: MakeLoss,
    groups: tuple[tuple[str, tuple[str, ...]], ...],
    selection: Selection,
    precision: str,
) -> Any:
    """`measure(state, batch, gradient) -> Recording`, the same for all rates and seeds."""
    optimizer = optimizers.build(rule, 0.0)  # the rate is part of its state

    @jax.jit
    def measure(state: TrainState, batch: Batch, computed: Gradient) -> Recording:
        trained = selection.split(state.params)
        with jax.default_matmul_precision(precision):
            updates, _ = optimizer.update(computed.gradient, state.opt_state, trained)

            def loss(trained: Params) -> Scalar:
                return make_loss(state, batch)(selection.merge(state.params, trained))

            decays = {n for n in trees.leaf_names(trained) if rule.decays is None or rule.decays(n)}
            return record(
                computed.gradient,
                trained,
                updates,
                optimization(rule, state),
                groups=dict(groups),
                decays=decays,
                loss=loss,
            )

    return measure


def optimization(rule: optimizers.Rule, state: TrainState) -> Optimization:
    """Learning rate, decay and momentum at a step.

    Momentum is NaN where no formula of an equilibrium or an edge is known: for Nesterov's, and
    where decay is part of a gradient that an optimiser divides by its size.
    """
    rate = state.opt_state.hyperparams["lr"]
    if rule.drops:
        schedule = optax.piecewise_constant_schedule(1.0, dict.fromkeys(rule.drops, 0.1))
        rate = rate * schedule(state.step)
    formulas = {"sgd": 0.0, "momentum": optimizers.MOMENTUM, "adamw": ADAM_B1}
    if not rule.weight_decay:
        formulas |= {"adam": ADAM_B1, "rmsprop": 0.0, "adagrad": 0.0}
    momentum = formulas.get(rule.name, jnp.nan)
    decay, own = (jnp.asarray(value, rate.dtype) for value in (rule.weight_decay, momentum))
    return Optimization(rate, decay, own, averaged=rule.name in ("adam", "adamw"))
