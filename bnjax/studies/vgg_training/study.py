"""Training with and without BatchNorm (Santurkar et al. 2018, Fig. 1a, b).

    python experiments/vgg_training.py --lrs 0.1 0.5
    python experiments/vgg_training.py --preset paper --data-dir DIR            # CIFAR-10, VGG-16
    python experiments/vgg_training.py --preset paper --dataset cifar100 --data-dir DIR

Every normaliser at every learning rate, from the same initialisation on the same batches. Out come
loss and accuracy on training minibatches and on the test set against steps, the steps to a target
and the generalisation gap of each arm, and a verdict for each claim: who ends better, who gets
there sooner, who trains at learning rates at which the other does not. `quick` (the default) takes
under two minutes on two CPU cores.
"""

import dataclasses
from collections.abc import Mapping

from bnjax import data, train
from bnjax.errors import UsageError
from bnjax.frame import publications
from bnjax.frame.arms import Arm
from bnjax.frame.experiment import Experiment
from bnjax.frame.rate_options import RatesConfig
from bnjax.frame.target_options import TargetConfig
from bnjax.losses import OBJECTIVES
from bnjax.studies.vgg_training import claims, figure
from bnjax.train import Probe, every


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(RatesConfig, TargetConfig):
    """Options of the training experiment."""

    lrs: tuple[float, ...] = (0.1, 0.5)
    """Learning rates of plain SGD; each normaliser runs at each (0.001: none hardly moves)."""

    def validate(self) -> None:
        """Refuse impossible values."""
        if self.model == "dln":
            raise UsageError("--model dln is not for this experiment: see experiments/lp_norms.py")
        super().validate()


PRESETS = {
    "quick": Config(probe_every=30, evaluate_every=30),
    "paper": Config(
        **publications.VGG,
        preset="paper",
        window=101,
        probe_every=500,
    ),
}


def probes(config: Config, arm: Arm) -> Mapping[str, Probe]:
    """Loss and accuracy on as many training images as the test set has, as the test set is read."""
    evaluate = train.make_evaluate(arm.model, arm.dataset, objective=OBJECTIVES[config.objective])
    images, count = arm.dataset.train, len(arm.dataset.test.labels)
    fitted = data.Split(images.pixels[:count], images.labels[:count])

    def measure(
        state: train.TrainState, batch: data.Batch, gradient: train.Gradient
    ) -> train.Evaluation:
        del batch, gradient  # other images
        return evaluate(state.params, state.batch_stats, fitted)

    return {"fit": Probe(every(config.probe_every), measure)}


EXPERIMENT = Experiment(
    name="vgg_training",
    description=__doc__,
    presets=PRESETS,
    probes=probes,
    dims={},
    axes=lambda config: {},
    claims=claims.claims,
    draw=figure.draw,
)
