"""Distributions of activations along training, before each layer's non-linearity."""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax

from bnjax.arithmetic import trees
from bnjax.data import Batch
from bnjax.frame.arm import Arm, once, require_layers
from bnjax.models import Model
from bnjax.probes.activations import Distribution, distribution
from bnjax.train import Measurement, every
from bnjax.train.outputs import before_and_after
from bnjax.train.step import Gradient, TrainState, apply_gradient

LEVELS = tuple(float(level) for level in range(5, 100, 5))  # percentiles a drift is taken over
EDGES = np.linspace(-10.0, 10.0, 401)  # of histograms; the outer bins hold all beyond


def probes(
    arm: Arm, given: np.ndarray | None = None, *, redraw: bool = False
) -> Mapping[str, Measurement]:
    """The distributions of the shown layers of one arm.

    Args:
      arm: whose options hold `layers`, `channel` and, without `given`, `range` and `bins`.
      given: edges of the histograms.
      redraw: see `make_distributions`.
    """
    options, layers = arm.options, arm.options.layers
    edges = tuple(edges_of(options, given).tolist())
    measure = once(
        make_distributions,
        arm.model.initialised,
        arm.optimizer,
        layers,
        edges,
        channel=options.channel,
        redraw=redraw,
    )
    return {"distributions": Measurement(every(options.probe_every), measure, ("shown_layer",))}


def axes(options: Any, edges: np.ndarray | None = None) -> Mapping[str, Any]:
    """Shown layers, centres of the bins, and levels of percentiles."""
    edges = edges_of(options, edges)
    centres = (edges[1:] + edges[:-1]) / 2
    return {"shown_layer": options.layers, "bin": centres, "percentile": LEVELS}


def edges_of(options: Any, given: np.ndarray | None) -> np.ndarray:
    """Edges of the histograms, `[bins + 1]`, given or those of the options."""
    if given is not None:  # options of another study may have no range
        return given
    low, high = options.range
    return np.linspace(low, high, options.bins + 1)


def check_options(options: Any) -> None:
    """Refuse layers that the network does not have."""
    require_layers("--layers", options.layers, options)


def make_distributions(
    model: Model,
    optimizer: optax.GradientTransformation,
    layers: Sequence[str],
    edges: Sequence[float] | np.ndarray,
    *,
    channel: int = 0,
    redraw: bool = False,
) -> Callable[[TrainState, Batch, Gradient], Distribution]:
    """Compile the distributions of some layers for the states of one training run.

    Args:
      model: the model that is trained.
      optimizer: the one that trains; its update from this step gives the change per step.
      layers: names, e.g. `("conv3", "conv11")`.
      edges: of the histograms, ascending, `[num_edges]`.
      channel: the one whose own percentiles are taken.
      redraw: draw a model's noise anew for the activations after the update, as the next step will;
        else both share the step's noise, and only the update moves them.

    Returns:
      `measure(state, batch, gradient) -> Distribution`, compiled, with a leading axis
      `[num_layers]`; training mode, on the batch of the step.

    Raises:
      UsageError: at the first call, a layer that the model does not have.

    Source: Santurkar et al. 2018, Fig. 1c and 8; Ioffe & Szegedy 2015, Fig. 1.
    """

    @jax.jit
    def measure(state: TrainState, batch: Batch, computed: Gradient) -> Distribution:
        after, _ = apply_gradient(optimizer, state, computed)
        keys = batch.key
        if keys is not None:
            keys = jnp.stack([keys, jax.random.fold_in(keys, 1) if redraw else keys])
        outputs = before_and_after(model, state, after.params, batch, layers, keys=keys)
        bins = jnp.asarray(edges, outputs[0].dtype)
        of = functools.partial(distribution, edges=bins, percentiles=LEVELS, channel=channel)
        return trees.stack([of(here, there) for here, there in outputs])

    return measure
