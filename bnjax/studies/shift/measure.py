"""Internal covariate shift along training: the shift probe with the optimiser's actual update."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import optax

from bnjax import models
from bnjax import probes as library
from bnjax.arithmetic import trees
from bnjax.arithmetic.trees import EVERYTHING
from bnjax.data import Batch
from bnjax.frame.arm import Arm, matrix_precision, once, require_layers
from bnjax.models import Model
from bnjax.probes.shift import Cosines, Distances, RelativeDistances
from bnjax.train import Measurement, every
from bnjax.train.step import Gradient, MakeLoss, TrainState, apply_gradient


class ShiftRow(NamedTuple):
    """Of the gradient G of a layer's weights before a step, and G′ after the layers below moved.

    G′ is taken on the same batch; the layers below took the optimiser's actual update. Layers are
    in the order of their use.
    """

    distances: Distances
    relative_distances: RelativeDistances
    cosines: Cosines


def probes(arm: Arm) -> Mapping[str, Measurement]:
    """The shift probe of one arm."""
    options = arm.options
    measure = once(
        make_shift,
        arm.probed_loss(options.probe_precision),
        arm.optimizer,
        model=arm.model.initialised,
        layers=models.layer_names(arm.model, *arm.dataset.example),
        reuse_gradient=arm.trains_in(options.probe_precision),
        precision=matrix_precision(options.probe_precision),
    )
    return {"shift": Measurement(every(options.probe_every), measure)}


def check_options(options: Any) -> None:
    """Refuse highlighted layers that the network does not have."""
    require_layers("--layers", options.layers, options)


def make_shift(
    make_loss: MakeLoss,
    optimizer: optax.GradientTransformation,
    *,
    model: Model | None = None,
    layers: Sequence[str] | None = None,
    reuse_gradient: bool = False,
    precision: str = "highest",
) -> Callable[[TrainState, Batch, Gradient], ShiftRow]:
    """Compile the shift probe for the states of one training run.

    Args:
      make_loss: the probed loss, see `step.make_loss`.
      optimizer: the one that trains; its update from this very step moves the layers below.
      model: the trained model; needed if its parameters are stacked, see `Model.by_layer`.
      layers: names of the layers to measure, which may be paths into the parameters; by default
        the entries of the parameters.
      reuse_gradient: take training's own gradient for G; right only where the probed loss is
        training's, computed at the same precision.
      precision: matrix-product precision of the probe.

    Returns:
      `measure(state, batch, gradient) -> ShiftRow`, compiled; each `[num_layers]`.

    Source: Santurkar et al. 2018, Definition 2.1.

    Example:
      >>> import jax.numpy as jnp
      >>> loss = lambda state, batch: lambda p: (p["dense1"]["w"] * p["dense2"]["w"]).sum()
      >>> params = {"dense1": {"w": jnp.array([2.0])}, "dense2": {"w": jnp.array([4.0])}}
      >>> optimizer = optax.sgd(0.25)
      >>> state = TrainState(jnp.int32(0), params, {}, optimizer.init(params))
      >>> batch = Batch(jnp.zeros((1, 1, 1, 1)), jnp.zeros(1, jnp.int32))
      >>> slope = jax.grad(loss(state, batch))(params)
      >>> computed = Gradient(jnp.array(8.0), jnp.array(1.0), slope, {})
      >>> measure = make_shift(loss, optimizer)
      >>> measure(state, batch, computed).distances.tolist()  # dense1 moved below dense2
      [0.0, 1.0]
    """
    selection = EVERYTHING if model is None else model.by_layer
    if layers is not None:
        selection = trees.within(selection, trees.apart(layers))

    @jax.jit
    def measure(state: TrainState, batch: Batch, computed: Gradient) -> ShiftRow:
        after, _ = apply_gradient(optimizer, state, computed)
        loss = make_loss(state, batch)
        measured = library.shift(
            lambda own: loss(selection.merge(state.params, own)),
            selection.split(state.params),
            selection.split(after.params),
            layers=layers,
            gradient=selection.split(computed.gradient) if reuse_gradient else None,
            precision=precision,
        )
        return ShiftRow(measured.distances, measured.relative_distances, measured.cosines)

    return measure
