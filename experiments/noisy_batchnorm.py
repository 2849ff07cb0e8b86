"""BatchNorm with noise that shifts each distribution at each step (Santurkar et al. 2018, Fig. 2).

    python experiments/noisy_batchnorm.py
    python experiments/noisy_batchnorm.py --preset paper --data-dir DIR   # CIFAR-10, VGG-16

Four networks: standard, BatchNorm, BatchNorm with noise, and the standard one with the same noise.
Out come accuracy and loss over training, the distributions of the shown layers and their stability
(also its Fig. 8), and a verdict for each claim: with noise the distributions are less stable than
those of the standard network, and the network trains as well as BatchNorm. `quick` takes under two
minutes on two CPU cores.
"""

import dataclasses
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from bnjax.arithmetic.moments import moments
from bnjax.claims import distributions as claims
from bnjax.claims import noise
from bnjax.data import Batch
from bnjax.figures import distributions as figure
from bnjax.models import Model
from bnjax.runs.arms import Arm, build
from bnjax.runs.config import NormName, RunConfig, require, require_layers
from bnjax.runs.experiment import Experiment, main
from bnjax.training import Gradient, Probe, TrainState, activations, every
from bnjax.training.step import apply_gradient

EDGES = np.linspace(-10.0, 10.0, 401)  # of the histograms; the outer bins hold all beyond


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(RunConfig):
    """Options of the noisy BatchNorm experiment."""

    norms: tuple[NormName, ...] = ("none", "batch", "noisy_batch", "noise")
    """The arms."""
    layers: tuple[str, ...] = ("conv3", "conv7")
    """Layers whose activations are shown; the paper's: conv2 conv9 conv13."""
    unit: int = 0
    """Unit (channel) whose own percentiles are taken."""

    def validate(self) -> None:
        """Refuse impossible values."""
        super().validate()
        require("--model", self.model, self.model != "dln", "a VGG: a regression has no accuracy")
        require("--unit", self.unit, self.unit >= 0, "0 or more")
        distinct = len(set(self.layers)) == len(self.layers) > 0
        require("--layers", " ".join(self.layers), distinct, "one or more different layers")
        require_layers("--layers", self.layers, self)


PRESETS = {
    "quick": Config(),
    "paper": Config(
        preset="paper",
        dataset="cifar10",
        model="vgg16",
        width=1.0,
        layers=("conv2", "conv9", "conv13"),
        steps=15_000,
        probe_every=100,
        evaluate_every=500,
    ),
}


class Redrawn(NamedTuple):
    """What changes from a step to the next one, whose noise is another; each `[num_layers]`."""

    mean_change: Float[Array, " num_layers"]  # average over units of |μ'_j − μ_j|
    variance_change: Float[Array, " num_layers"]  # average over units of |σ'_j² − σ_j²|


def make_redrawn(
    model: Model, optimizer: optax.GradientTransformation, layers: Sequence[str]
) -> Callable[[TrainState, Batch, Gradient], Redrawn]:
    """Compile the change of moments by an update and by the noise drawn anew, on the same images.

    `activations.make_distributions` keeps the noise of the step, so that it sees the update alone.
    """

    @jax.jit
    def measure(state: TrainState, batch: Batch, computed: Gradient) -> Redrawn:
        after, _ = apply_gradient(optimizer, state, computed)
        redrawn = None if batch.key is None else jax.random.fold_in(batch.key, 1)
        here, there = (
            model.preactivations(params, state.batch_stats, batch.images, key=key)
            for params, key in ((state.params, batch.key), (after.params, redrawn))
        )

        def changes(layer: str) -> list[Array]:
            pairs = zip(
                *(moments(x[layer], range(x[layer].ndim - 1)) for x in (here, there)), strict=True
            )
            return [jnp.mean(jnp.abs(new - old)) for old, new in pairs]

        return Redrawn(*(jnp.stack(rows) for rows in zip(*map(changes, layers), strict=True)))

    return measure


def probes(config: Config, arm: Arm) -> Mapping[str, Probe]:
    """The distributions of the shown layers of one arm, with the step's noise and with the next."""
    optimizer = build(config, arm)[1]
    distributions = activations.make_distributions(
        arm.model, optimizer, config.layers, EDGES, percentiles=claims.LEVELS, unit=config.unit
    )
    when = every(config.probe_every)
    return {
        "distributions": Probe(when, distributions),
        "redrawn": Probe(when, make_redrawn(arm.model, optimizer, config.layers)),
    }


EXPERIMENT = Experiment(
    name="noisy_batchnorm",
    description=__doc__,
    presets=PRESETS,
    probes=probes,
    dims={
        "distributions": activations.DIMS,
        "redrawn": {field: ("shown_layer",) for field in Redrawn._fields},
    },
    axes=lambda config: {
        "shown_layer": config.layers,
        "bin": (EDGES[1:] + EDGES[:-1]) / 2,
        "percentile": claims.LEVELS,
    },
    claims=noise.noise_claims,
    draw=figure.draw_noise,
)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT))
