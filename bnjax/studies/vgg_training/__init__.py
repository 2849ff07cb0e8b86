"""Training with and without BatchNorm (Santurkar et al. 2018, Fig. 1a, b).

    python experiments/vgg_training.py --lr 0.1 0.5
    python experiments/vgg_training.py --preset paper --data-dir DIR            # CIFAR-10, VGG-16
    python experiments/vgg_training.py --preset paper --dataset cifar100 --data-dir DIR

Every normaliser at every learning rate, from the same initialisation on the same batches. You get
loss and accuracy on training minibatches and on the test set against steps, the steps to a target
and the generalisation gap of each arm, and a verdict for each claim: who ends better, who gets
there sooner, who trains at learning rates at which the other does not. `quick` (the default) takes
about a minute on two CPU cores.
"""

import dataclasses

from bnjax.errors import UsageError
from bnjax.frame import options
from bnjax.frame.study import Study


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(options.Target, options.LearningRates, options.Training):
    """Options of training with and without BatchNorm."""

    def check(self) -> None:
        if self.model == "dln":
            raise UsageError("--model dln is not for this study: see experiments/lp_norms.py")


STUDY = Study(
    __name__,
    question="Does BatchNorm train faster, and at higher learning rates?",
    source="Santurkar et al. 2018, Fig. 1a, b",
    options=Options,
    reproduced={"": {}},
    presets={
        # At 0.001 the network without normalisation hardly moves.
        "quick": {**options.QUICK, "lr": (0.05, 0.5), "probe_every": 40},
        "quick *": {"lr": (0.1, 0.5), "probe_every": 30, "evaluate_every": 30},
        "toy": {**options.TOY, "window": 3, "lr": (0.1, 0.5)},
        "paper": {**options.VGG, "lr": (0.1, 0.5), "window": 101, "probe_every": 500},
    },
)
