"""Optimisers, initialisers, dropout and augmentation, with and without BatchNorm.

    python experiments/optimizers.py
    python experiments/optimizers.py --multiples 0.01 0.1 1 10 100        # a wider search
    python experiments/optimizers.py --sweep full --optimizers sgd adam --initializers zeros
    python experiments/optimizers.py --preset paper --data-dir DIR        # CIFAR-10, AlexNet

The first value of each factor makes the base. By default one factor at a time leaves it (`--sweep
full`: all combinations), each setting at several multiples of its optimiser's usual learning rate
(SGD 0.1, with momentum, Nesterov and AdaGrad 0.01, RMSProp, Adam and AdamW 0.001). Out come
accuracy against learning rate for each optimiser, the initialisers with the symmetry of their
layers' units along training, the generalisation gap, test-time augmentation (the mean of the
probabilities of an image and its copies: moved by --shift pixels down, up, right and left, and
mirrored), and a verdict for each claim. `quick` (the default) takes under two minutes on two CPU
cores. There is no published setting: `paper` is what a text for teaching would take.
"""

from collections.abc import Mapping
from typing import Any

from bnjax.data.copies import AVERAGED
from bnjax.frame.arms import Arm
from bnjax.frame.experiment import Experiment
from bnjax.frame.variant_options import VariantConfig
from bnjax.studies.optimizers import claims, figure
from bnjax.studies.optimizers import measure_ending as ending
from bnjax.studies.optimizers import measure_symmetry as symmetry
from bnjax.train import Probe, every

PRESETS = {
    "quick": VariantConfig(steps=51, batch_size=32, probe_every=10, evaluate_every=51),
    "paper": VariantConfig(
        preset="paper",
        dataset="cifar10",
        model="alexnet",
        optimizers=("momentum", "sgd", "nesterov", "adagrad", "rmsprop", "adam", "adamw"),
        weight_decay=5e-4,
        multiples=(0.01, 0.1, 1.0, 10.0, 100.0),
        steps=15_001,
        probe_every=500,
        evaluate_every=500,
        window=101,
    ),
}


def last_probe(config: VariantConfig) -> int:
    """The last probed step."""
    return (config.steps - 1) // config.probe_every * config.probe_every


def probes(config: VariantConfig, arm: Arm) -> Mapping[str, Probe]:
    """Symmetry of the units along training, and at its end the test with copies."""
    # Claims on endings are about the usual learning rate: elsewhere there is nothing to pay for.
    step = last_probe(config) if arm.values["multiple"] == config.usual else ending.NEVER
    measure_ending = ending.make_ending(arm.model, arm.dataset, step, shift=config.shift)
    when = every(config.probe_every)
    return {
        "symmetry": Probe(when, symmetry.make_symmetry(arm.model)),
        "ending": Probe(when, measure_ending),
    }


def axes(config: VariantConfig) -> dict[str, Any]:
    """The layers' kernels, and what is averaged."""
    model = config.build_model("none", num_classes=10)
    return {"kernel": symmetry.kernel_names(model, (32, 32, 3)), "averaged": tuple(AVERAGED)}


EXPERIMENT = Experiment(
    name="optimizers",
    description=__doc__,
    presets=PRESETS,
    probes=probes,
    dims={"symmetry": symmetry.DIMS, "ending": ending.DIMS},
    axes=axes,
    claims=claims.claims,
    draw=figure.draw,
)
