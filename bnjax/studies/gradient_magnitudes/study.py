"""Mean gradient magnitude per kind of parameter: kernels, biases, γ and β, over training.

    python experiments/gradient_magnitudes.py
    python experiments/gradient_magnitudes.py --model vgg38_residual --norms batch layer
    python experiments/gradient_magnitudes.py --preset paper --data-dir DIR     # CIFAR-100

At every probed step, from the gradient that training takes anyway: the mean of |∂L/∂θ| over all
parameters of a kind. Biases whose effect a normaliser cancels have no gradient: they are a kind of
their own and in no other mean. Out come a figure and a verdict for each claim. `quick` takes under
two minutes on two CPU cores; `paper` is a VGG-38 with residual connections, 100 epochs.
"""

import dataclasses
from collections.abc import Mapping

from bnjax.frame import publications
from bnjax.frame.arms import Arm
from bnjax.frame.config import RunConfig
from bnjax.frame.experiment import Experiment
from bnjax.models import norms
from bnjax.probes.magnitudes import KINDS
from bnjax.studies.gradient_magnitudes import claims, figure
from bnjax.studies.gradient_magnitudes import measure_magnitudes as magnitudes
from bnjax.train import Probe, every


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(RunConfig):
    """Options of the gradient magnitudes experiment."""

    probe_every: int = 2
    """Steps between probes."""


PRESETS = {
    "quick": Config(),
    "paper": Config(
        preset="paper",
        dataset="cifar100",
        model="vgg38_residual",
        width=1.0,
        steps=39_100,  # 100 epochs
        probe_every=50,
        evaluate_every=391,
    ),
    **publications.deep_linear_presets(Config, steps=2000, probe_every=20, paper_probe_every=50),
}


def probes(config: Config, arm: Arm) -> Mapping[str, Probe]:
    """The magnitudes of one arm's gradient."""
    measure = magnitudes.make_magnitudes(norms.by_name(arm.values["norm"]))
    return {"magnitudes": Probe(every(config.probe_every), measure)}


EXPERIMENT = Experiment(
    name="gradient_magnitudes",
    description=__doc__,
    presets=PRESETS,
    probes=probes,
    dims={"magnitudes": magnitudes.DIMS},
    axes=lambda config: {"kind": KINDS},
    claims=claims.claims,
    draw=figure.draw,
)
