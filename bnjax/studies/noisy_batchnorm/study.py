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
from collections.abc import Mapping

from bnjax.errors import require
from bnjax.frame import publications
from bnjax.frame.arms import Arm, build
from bnjax.frame.experiment import Experiment
from bnjax.frame.shown_layers import ShownLayersConfig
from bnjax.studies.distributions import claims
from bnjax.studies.distributions import measure_activations as activations
from bnjax.studies.noisy_batchnorm import claims as noisy_batchnorm
from bnjax.studies.noisy_batchnorm import figure
from bnjax.train import Probe, every


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(ShownLayersConfig):
    """Options of the noisy BatchNorm experiment."""

    norms: tuple[str, ...] = ("none", "batch", "noisy_batch", "noise")
    """The arms."""

    def validate(self) -> None:
        """Refuse impossible values."""
        super().validate()
        require("--model", self.model, self.model != "dln", "a VGG: a regression has no accuracy")


PRESETS = {
    "quick": Config(steps=160, batch_size=64, evaluate_every=40),
    "paper": Config(
        **publications.VGG,
        preset="paper",
        layers=("conv2", "conv9", "conv13"),
        probe_every=100,
    ),
}


def probes(config: Config, arm: Arm) -> Mapping[str, Probe]:
    """The distributions of the shown layers of one arm, and their change with the noise redrawn."""
    measure = activations.make_distributions(
        arm.model,
        build(config, arm)[1],
        config.layers,
        activations.EDGES,
        percentiles=claims.LEVELS,
        unit=config.unit,
        redraw=True,
    )
    return {"distributions": Probe(every(config.probe_every), measure)}


EXPERIMENT = Experiment(
    name="noisy_batchnorm",
    description=__doc__,
    presets=PRESETS,
    probes=probes,
    dims={"distributions": activations.DIMS},
    axes=lambda config: {
        "shown_layer": config.layers,
        "bin": (activations.EDGES[1:] + activations.EDGES[:-1]) / 2,
        "percentile": claims.LEVELS,
    },
    claims=noisy_batchnorm.noise_claims,
    draw=figure.draw,
)
