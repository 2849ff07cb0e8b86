"""Earth mover shift of layers along training, with the optimiser's actual update."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import optax

from bnjax.arithmetic import trees
from bnjax.data import Batch
from bnjax.frame.arm import Arm, once, require_layers
from bnjax.models import Model
from bnjax.probes.activations import PERCENTILES
from bnjax.probes.earth_mover import Affine, EarthMover, earth_mover
from bnjax.train import Measurement, every
from bnjax.train.outputs import before_and_after
from bnjax.train.step import Gradient, TrainState, apply_gradient
from bnjax.types import Params, PRNGKey


def probes(arm: Arm) -> Mapping[str, Measurement]:
    """The earth mover distances of the shown layers of one arm.

    In training mode, with the statistics of the step's batch before and after the optimiser's
    update from this very step. Directions and pixels of a step depend on the seed and on the step
    alone, so that the arms of a seed are measured along the same ones.

    Source: Huang & Yu 2020 (2001.02814).
    """
    options = arm.options
    compiled = once(
        make_earth_mover,
        arm.model.initialised,
        arm.optimizer,
        options.layers,
        bounded=arm.values["norm"] == "batch",
        directions=options.slices,
        pixels=options.pixels,
        exact=options.exact,
    )
    measure = functools.partial(compiled, arm.key("probe"))
    return {"earth_mover": Measurement(every(options.probe_every), measure, ("shown_layer",))}


def make_earth_mover(
    model: Model,
    optimizer: optax.GradientTransformation,
    layers: Sequence[str],
    *,
    bounded: bool,
    **numbers: Any,
) -> Callable[[PRNGKey, TrainState, Batch, Gradient], EarthMover]:
    """Compile the earth mover distances of some layers; `numbers` are those of the probe.

    `bounded` says that the layers' normaliser has the bound that γ and β set.
    """

    @jax.jit
    def measure(key: PRNGKey, state: TrainState, batch: Batch, computed: Gradient) -> EarthMover:
        after, _ = apply_gradient(optimizer, state, computed)
        with jax.default_matmul_precision("highest"):
            outputs = before_and_after(model, state, after.params, batch, layers)
        own, later = map(model.by_layer.split, (state.params, after.params))
        rows = [
            earth_mover(
                jax.random.fold_in(jax.random.fold_in(key, state.step), index),
                *pair,
                affine=affine_of(own, later, name) if bounded else None,
                **numbers,
            )
            for index, (name, pair) in enumerate(zip(layers, outputs, strict=True))
        ]
        return trees.stack(rows)

    return measure


def axes(options: Any) -> Mapping[str, Any]:
    """Shown layers and levels of percentiles."""
    return {"shown_layer": options.layers, "percentile": PERCENTILES}


def check_options(options: Any) -> None:
    """Refuse layers that the network does not have."""
    require_layers("--layers", options.layers, options)


def affine_of(params: Params, next_params: Params, layer: str) -> Affine | None:
    """γ and β of a layer before and after a step; None where it has not both."""
    before, after = (trees.at(point, layer).get("norm", {}) for point in (params, next_params))
    if not {"scale", "bias"} <= set(before):
        return None
    return Affine(before["scale"], before["bias"], after["scale"], after["bias"])
