"""Internal covariate shift of every layer (Santurkar et al. 2018, Definition 2.1 and Fig. 3).

    python experiments/shift.py
    python experiments/shift.py --model dln                      # the deep linear network
    python experiments/shift.py --preset paper --data-dir DIR    # CIFAR-10, VGG-16, lr 0.1 and 0.01

At every probed step: the gradient of each layer before and after the layers below it took the
optimiser's actual update, on the same batch; their distance, relative distance and cosine. Out come
a heat map layer × step for each arm, the curves of the highlighted layers, and a verdict for each
claim. `quick` takes under two minutes on two CPU cores.
"""

import dataclasses
import math
from collections.abc import Mapping

from bnjax import losses
from bnjax.frame import publications
from bnjax.frame.arms import Arm, build
from bnjax.frame.experiment import Experiment
from bnjax.frame.rate_options import RatesConfig
from bnjax.frame.requirements import require_layers
from bnjax.frame.training_options import Precision
from bnjax.studies.shift import claims, figure
from bnjax.studies.shift import measure as shift
from bnjax.train import Probe, every, probed_loss


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(RatesConfig):
    """Options of the shift experiment."""

    layers: tuple[str, ...] = ("conv5", "conv8")
    """Highlighted layers; all are measured."""
    probe_precision: Precision = "highest"
    """Matrix-product precision of the probe."""

    def validate(self) -> None:
        """Refuse impossible values."""
        super().validate()
        require_layers("--layers", self.layers, self)


PRESETS = {
    "quick": Config(steps=100, lrs=(0.1,)),
    "paper": Config(
        **publications.VGG,
        preset="paper",
        layers=("conv5", "conv10"),
        probe_every=100,
    ),
    **publications.deep_linear_presets(
        Config,
        lr=math.nan,
        lrs=(1e-6, 1e-7),
        layers=("dense9", "dense17"),
        steps=1000,
        probe_every=20,
        paper_probe_every=50,
    ),
}


def probes(config: Config, arm: Arm) -> Mapping[str, Probe]:
    """The shift probe of one arm."""
    loss = probed_loss.make_loss(
        arm.model, arm.pipeline, objective=losses.OBJECTIVES[config.objective]
    )
    _, optimizer = build(config, arm)
    measure = shift.make_shift(
        loss,
        optimizer,
        reuse_gradient=config.trains_in(config.probe_precision),
        precision=config.probe_precision,
    )
    return {"shift": Probe(every(config.probe_every), measure)}


EXPERIMENT = Experiment(
    name="shift",
    description=__doc__,
    presets=PRESETS,
    probes=probes,
    dims={"shift": shift.DIMS},
    axes=lambda config: {},
    shown=("shift.relative_distances", "shift.cosines"),
    claims=claims.claims,
    draw=figure.draw,
)
