"""Gradient magnitudes along training: those of training's own gradient, at no further cost."""

from collections.abc import Callable, Mapping
from typing import Any

import jax

from bnjax.data import Batch
from bnjax.frame.arm import Arm, once
from bnjax.models import norms
from bnjax.models.norms import Norm
from bnjax.probes.magnitudes import KINDS, Magnitudes, kinds, magnitudes
from bnjax.train import Measurement, every
from bnjax.train.step import Gradient, TrainState


def probes(arm: Arm) -> Mapping[str, Measurement]:
    """The magnitudes of the gradient of one arm."""
    measure = once(make_magnitudes, norms.by_name(arm.values["norm"]))
    return {"magnitudes": Measurement(every(arm.options.probe_every), measure)}


def axes(options: Any) -> Mapping[str, Any]:
    """Kinds of parameters."""
    return {"kind": KINDS}


def make_magnitudes(norm: Norm) -> Callable[[TrainState, Batch, Gradient], Magnitudes]:
    """Compile the magnitudes of the gradient that a step takes, before the optimiser sees it.

    The gradient is that of the objective on the step's batch, without weight decay. The normaliser
    says of each layer whether it cancels the bias before it.
    """

    def cancels(layer: str) -> bool:
        return norm.for_layer(layer).cancels_bias

    @jax.jit
    def measure(state: TrainState, batch: Batch, computed: Gradient) -> Magnitudes:
        del batch  # its gradient is there already
        own = kinds(state.params, state.batch_stats, cancels=cancels)
        return magnitudes(computed.gradient, own)

    return measure
