"""Earth mover shift of layers along training, with the optimiser's actual update."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import optax

from bnjax.arithmetic import trees
from bnjax.data import Batch
from bnjax.frame.arm import Arm, require_layers
from bnjax.models import Model
from bnjax.probes.activations import PERCENTILES
from bnjax.probes.earth_mover import Affine, EarthMover, earth_mover
from bnjax.train import Probe, every
from bnjax.train.outputs import before_and_after
from bnjax.train.step import Gradient, TrainState, apply_gradient
from bnjax.types import Params, PRNGKey


def probes(arm: Arm) -> Mapping[str, Probe]:
    """The earth mover distances of the shown layers of one arm."""
    options = arm.options
    measure = make_earth_mover(
        arm.model,
        arm.optimizer,
        options.layers,
        arm.key("probe"),
        directions=options.slices,
        pixels=options.pixels,
        exact=options.exact,
        batch_norm=arm.values["norm"] == "batch",
    )
    return {"earth_mover": Probe(every(options.probe_every), measure, ("shown_layer",))}


def axes(options: Any) -> Mapping[str, Any]:
    """Shown layers and levels of percentiles."""
    return {"shown_layer": options.layers, "percentile": PERCENTILES}


def check_options(options: Any) -> None:
    """Refuse layers that the network does not have."""
    require_layers("--layers", options.layers, options)


def make_earth_mover(
    model: Model,
    optimizer: optax.GradientTransformation,
    layers: Sequence[str],
    key: PRNGKey,
    *,
    directions: int = 64,
    pixels: int = 16,
    percentiles: Sequence[float] = PERCENTILES,
    exact: bool = True,
    batch_norm: bool = False,
) -> Callable[[TrainState, Batch, Gradient], EarthMover]:
    """Compile the earth mover shift of some layers for the states of one training run.

    Args:
      model: the model that is trained.
      optimizer: the one that trains; its update from this very step moves all layers.
      layers: names, e.g. `("conv1", "conv8")`; what each hands to its non-linearity is compared.
      key: typed PRNG key; directions and pixels of step t depend on it and on t alone, so that
        arms of one seed are measured along the same ones.
      directions: of the sliced distance.
      pixels: random pixels of each example that are the samples of a channel.
      percentiles: over channels, in [0, 100].
      exact: whether to solve for the distance in all dimensions, too.
      batch_norm: whether the model's normaliser is BatchNorm, whose γ and β bound the distance in
        the layers that it stands in.

    Returns:
      `measure(state, batch, gradient) -> EarthMover`, compiled, with a leading axis
      `[num_layers]`; training mode, with the statistics of the step's batch before and after.

    Raises:
      UsageError: at the first call, a layer that the model does not have.

    Source: Huang & Yu 2020 (2001.02814).
    """

    @jax.jit
    def measure(state: TrainState, batch: Batch, computed: Gradient) -> EarthMover:
        after, _ = apply_gradient(optimizer, state, computed)
        with jax.default_matmul_precision("highest"):
            outputs = before_and_after(model, state, after.params, batch, layers)
        rows = [
            earth_mover(
                jax.random.fold_in(jax.random.fold_in(key, state.step), index),
                *pair,
                directions=directions,
                pixels=pixels,
                percentiles=percentiles,
                exact=exact,
                affine=affine_of(state.params, after.params, name) if batch_norm else None,
            )
            for index, (name, pair) in enumerate(zip(layers, outputs, strict=True))
        ]
        return trees.stack(rows)

    return measure


def affine_of(params: Params, next_params: Params, layer: str) -> Affine | None:
    """γ and β of a layer before and after a step; None where it has not both."""
    before, after = (point[layer].get("norm", {}) for point in (params, next_params))
    if not {"scale", "bias"} <= set(before):
        return None
    return Affine(before["scale"], before["bias"], after["scale"], after["bias"])
