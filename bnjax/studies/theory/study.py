"""The theorems of Santurkar et al. 2018 (4.1, 4.2, 4.4) on real layers along training.

    python experiments/theory.py --layers conv2 conv8 --units 0 1 2 3
    python experiments/theory.py --model dln                     # the deep linear network
    python experiments/theory.py --preset paper --data-dir DIR   # CIFAR-10, VGG-16, 15,000 steps

At every probed step and for each layer: both sides of each theorem with the printed errors
corrected, the residual, how often the assumptions of Theorem 4.2 hold, and the Lipschitz and
curvature terms of the network with BatchNorm beside those of the network without. Out come
`theory_layers.csv` (a row for each layer and step), `theory_units.csv` (both sides for each chosen
unit), two figures and a verdict for each claim.

The equalities hold at ε = 0, so BatchNorm is trained with `--epsilon 0` here. With `--float64` (the
default) the probe alone computes in 64 bits; training stays in 32 bits and is the same, bit for
bit, with `--no-float64`. `quick` (the default) takes under two minutes on two CPU cores.
"""

import dataclasses
from collections.abc import Mapping

import jax
import jax.numpy as jnp

from bnjax import losses, models
from bnjax.errors import UsageError, require
from bnjax.frame import publications
from bnjax.frame.arms import Arm
from bnjax.frame.config import RunConfig
from bnjax.frame.experiment import Experiment
from bnjax.models.interception import units_of_norms
from bnjax.studies.theory import claims, figure
from bnjax.studies.theory import measure as theory
from bnjax.train import Probe, every


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(RunConfig):
    """Options of the theory experiment."""

    layers: tuple[str, ...] = ("conv5", "conv8")
    """Layers to probe."""
    units: tuple[int, ...] = (0, 1, 2, 3)
    """Units (channels) of each layer for which Hessian-vector products are taken."""
    epsilon: float = 0.0
    """Added to the variance by BatchNorm (units of its input squared)."""
    input_norm: float = 1.0
    """λ of Theorem 4.4: the bound on the spectral norm of a layer's input."""
    float64: bool = True
    """Compute the probe in 64 bits; training stays in 32."""

    def validate(self) -> None:
        """Refuse impossible values."""
        require("--epsilon", self.epsilon, 0 <= self.epsilon < 1, "from 0 to below 1, e.g. 1e-5")
        super().validate()  # it builds the models, for which ε must be legal
        legal = set(self.norms) <= {"none", "batch"}
        require("--norms", " ".join(self.norms), legal, "none, batch or both: the theorems' two")
        require("--input-norm", self.input_norm, 0 < self.input_norm < 1e6, "above 0, below 1e6")
        for option, values in (("--layers", self.layers), ("--units", self.units)):
            legal = len(set(values)) == len(values) > 0
            require(option, " ".join(map(str, values)), legal, "one or more, all different")
        shape = (2, 1, 1, 10) if self.model == "dln" else (2, 32, 32, 3)
        model = self.build_model("batch", num_classes=10)
        known = units_of_norms(model, jax.ShapeDtypeStruct(shape, jnp.float32))
        for layer in self.layers:
            if layer not in known:
                raise UsageError(
                    f"--layers {layer}: no such layer with a normaliser; choose from "
                    f"{' '.join(known)}"
                )
            for unit in self.units:
                expected = f"from 0 to {known[layer] - 1}, the units of {layer}"
                require("--units", unit, 0 <= unit < known[layer], expected)

    def build_model(self, norm: str, num_classes: int) -> models.Model:
        """The network of one arm; BatchNorm has this experiment's epsilon."""
        model = super().build_model(norm, num_classes)
        if norm != "batch":
            return model
        batch_norm = models.norms.batch_norm(epsilon=self.epsilon)
        return models.Model(model.module.clone(norm=batch_norm))


PRESETS = {
    "quick": Config(),
    "paper": Config(
        **publications.VGG,
        preset="paper",
        layers=("conv2", "conv9", "conv13"),
        probe_every=500,
    ),
    **publications.deep_linear_presets(
        Config,
        layers=("dense1", "dense11", "dense24"),
        steps=2000,
        probe_every=100,
        paper_probe_every=200,
    ),
}


def probes(config: Config, arm: Arm) -> Mapping[str, Probe]:
    """The theory probe of one arm."""
    measure = theory.make_theory(
        arm.model,
        config.layers,
        config.units,
        normalised=arm.values["norm"] == "batch",
        objective=losses.OBJECTIVES[config.objective],
        epsilon=config.epsilon,
        input_norm=config.input_norm,
        float64=config.float64,
    )
    return {"theory": Probe(every(config.probe_every), measure)}


EXPERIMENT = Experiment(
    name="theory",
    description=__doc__,
    presets=PRESETS,
    probes=probes,
    dims={"theory": theory.DIMS},
    axes=lambda config: {"probed_layer": config.layers, "unit": config.units},
    claims=claims.claims,
    draw=figure.draw,
)
