"""BatchNorm with noise that shifts each distribution at each step (Santurkar et al. 2018, Fig. 2).

    python experiments/noisy_batchnorm.py
    python experiments/noisy_batchnorm.py --preset paper --data-dir DIR   # CIFAR-10, VGG-16

Four networks: standard, BatchNorm, BatchNorm with noise, and the standard one with the same noise.
You get accuracy and loss over training, the distributions of the shown layers and their stability
(also its Fig. 8), and a verdict for each claim: with noise the distributions are less stable than
those of the standard network, and the network trains as well as BatchNorm. `quick` takes about a
minute on two CPU cores.
"""

import dataclasses

from bnjax.errors import require
from bnjax.frame import options
from bnjax.frame.study import Study
from bnjax.studies.distributions import ShownLayers


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(ShownLayers, options.LearningRate, options.Training):
    """Options of BatchNorm with noise."""

    norms: tuple[str, ...] = ("none", "batch", "noisy_batch", "noise")
    """The arms."""

    def check(self) -> None:
        require("--model", self.model, self.model != "dln", "a VGG: a regression has no accuracy")


STUDY = Study(
    __name__,
    question="Does BatchNorm still help when noise makes its distributions less stable?",
    source="Santurkar et al. 2018, Fig. 2 and 8, Algorithm 1",
    options=Options,
    reproduced={"": {}},
    presets={
        "quick": {
            **options.QUICK,
            "lr": options.QUICK_RATE,
            "layers": options.QUICK_LAYERS,
            "batch_size": 64,
            "steps": 120,
            "probe_every": 12,
            "evaluate_every": 60,
        },
        "quick *": {"steps": 160, "batch_size": 64, "evaluate_every": 40},
        "toy": {**options.TOY, "layers": ("dense1", "dense2")},
        "paper": {
            **options.VGG,
            "layers": ("conv2", "conv9", "conv13"),
            "probe_every": 100,
        },
    },
    axis_labels={"shown_layer": "layer", "bin": "activation"},
)
