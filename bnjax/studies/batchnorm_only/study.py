"""Training γ and β of BatchNorm and nothing else (Frankle, Schwab & Morcos 2020), with follow-ups.

    python experiments/batchnorm_only.py
    python experiments/batchnorm_only.py --preset paper --data-dir DIR        # CIFAR-10, 160 epochs
    python experiments/batchnorm_only.py --preset paper --data-dir DIR --depths 14 32 56 110 218
    python experiments/batchnorm_only.py --trained all bn --norm-every 1 2 5    # follow-ups
    python experiments/batchnorm_only.py --trained bn --scale-init uniform half one sign

A CIFAR ResNet at its random start, of which only a part is trained: everything, γ and β, as many
random other parameters, the output layer. Out come test accuracy and generalisation gap of each
arm, the distribution of γ, the share of features switched off, the accuracy with small γ clamped to
zero, the sparsity of activations, and a verdict for each claim. Each trained network is kept as its
seed and what was trained (`bnjax.frame.seeded.rebuild`). `quick` (the default) takes under two
minutes on two CPU cores.
"""

from collections.abc import Mapping

from bnjax.frame import publications, seeded
from bnjax.frame.arms import Arm
from bnjax.frame.experiment import Experiment
from bnjax.frame.partial_options import PartialConfig
from bnjax.frame.streams import stream_key
from bnjax.losses import OBJECTIVES
from bnjax.studies.batchnorm_only import claims, figure
from bnjax.studies.batchnorm_only import measure_features as features
from bnjax.train import Sweep

PRESETS = {
    "quick": PartialConfig(
        **{**publications.RESNET, "width": 0.5, "augment": False},
        batch_size=64,
        steps=150,
        probe_every=50,
        evaluate_every=30,
    ),
    "paper": PartialConfig(
        **publications.RESNET,
        preset="paper",
        dataset="cifar10",
        steps=publications.RESNET_STEPS,
        probe_every=500,
        evaluate_every=1000,
    ),
}


def after(config: PartialConfig, arm: Arm) -> Mapping[str, Sweep]:
    """γ, sparsity and accuracies before and after training."""
    objective = OBJECTIVES[config.objective]
    start = stream_key(arm.seed, "init")
    return {"ends": features.make_features_sweep(arm.model, arm.dataset, objective, start)}


EXPERIMENT = Experiment(
    name="batchnorm_only",
    description=__doc__,
    presets=PRESETS,
    probes=lambda config, arm: {},
    dims={"ends": features.DIMS},
    axes=lambda config: {
        "end": ("before", "after"),
        "bin": features.CENTRES,
        "threshold": features.THRESHOLDS,
    },
    claims=claims.claims,
    draw=figure.draw,
    after=after,
    rows={"ends": "end"},
    keep=seeded.pack,
)
