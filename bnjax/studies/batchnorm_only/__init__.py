"""Training γ and β of BatchNorm and nothing else (Frankle, Schwab & Morcos 2020), with follow-ups.

    python experiments/batchnorm_only.py
    python experiments/batchnorm_only.py --preset paper --data-dir DIR        # CIFAR-10, 160 epochs
    python experiments/batchnorm_only.py --preset paper --data-dir DIR --depths 14 32 56 110 218
    python experiments/batchnorm_only.py --trained all bn --norm-every 1 2 5    # follow-ups
    python experiments/batchnorm_only.py --trained bn --scale-init uniform half one sign

A CIFAR ResNet at its random start, of which only a part is trained: everything, γ and β, as many
random other parameters, the output layer. You get test accuracy and generalisation gap of each
arm, the distribution of γ, the share of features switched off, the accuracy with small γ clamped to
zero, the sparsity of activations, and a verdict for each claim. Each trained network is kept as its
seed and what was trained (`bnjax.studies.batchnorm_only.trained_network.rebuild`). `quick` (the
default) takes about a minute on two CPU cores.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

from bnjax.errors import UsageError, require
from bnjax.frame import options
from bnjax.frame.study import Study

SWITCHED_OFF = 0.01  # |γ| below which Frankle et al. 2020 count a feature as switched off
FACTORS = {  # with the option that has their values
    "trained": "trained",
    "depth": "depths",
    "norm_every": "norm_every",
    "scale_init": "scale_init",
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(
    options.LearningRate,
    options.Regularisation,
    options.Initializer,
    options.Optimizer,
    options.BatchSize,
    options.Base,
):
    """Options of training a part of a ResNet; every combination of the first four runs."""

    trained: tuple[
        Literal["all", "bn", "bn+output", "random", "random_anywhere", "output"], ...
    ] = ("all", "bn", "random", "output")
    """What is trained: all; bn (γ and β); bn+output (the last layer too); random (of each channel's
    kernel as many random elements as the channel has of γ and β); random_anywhere (as many in all,
    drawn from everything but γ and β); output (the last layer)."""
    depths: tuple[int, ...] = (14,)
    """Depths of the ResNet, 6·D + 2 weight layers: 14, 32, 56, 110, 218, 434, 866, ...."""
    norm_every: tuple[int, ...] = (1,)
    """BatchNorm after every n-th 3×3 convolution only (1×1 shortcuts keep theirs)."""
    scale_init: tuple[Literal["uniform", "half", "one", "sign"], ...] = ("uniform",)
    """γ at the start: uniform in [0, 1), half (0.5), one, or sign (±1)."""
    no_scale: tuple[str, ...] = ()
    """Layers whose BatchNorm has no γ, e.g. conv3 shortcut3."""
    no_shift: tuple[str, ...] = ()
    """Layers whose BatchNorm has no β."""
    decay_norm: bool = True
    """Apply --weight-decay to γ and β too."""

    def check(self) -> None:
        require("--norms", " ".join(self.norms), self.norms == ("batch",), "batch")
        require("--model", self.model, self.model == "resnet", "resnet")
        for name in FACTORS.values():
            values = getattr(self, name)
            options.require_distinct(options.option_name(name), values, "given, and all different")
        for name in ("no_scale", "no_shift"):
            values = getattr(self, name)
            legal = len(set(values)) == len(values)
            require(options.option_name(name), " ".join(values), legal, "all different")
        for depth in self.depths:
            if depth < 8 or (depth - 2) % 6:
                raise UsageError(f"--depths {depth}: must be 6·D + 2, e.g. 8 14 20 32 56 110")
            for every in self.norm_every:
                expected = f"from 1 to {depth - 1}, the convolutions of a ResNet-{depth}"
                require("--norm-every", every, 1 <= every < depth, expected)

    @property
    def factors(self) -> dict[str, tuple[Any, ...]]:
        return {factor: getattr(self, option) for factor, option in FACTORS.items()}

    def settings(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return dict(values)


STUDY = Study(
    __name__,
    question="How far does a network get that trains γ and β alone?",
    source="Frankle, Schwab & Morcos 2020 (2003.00152)",
    options=Options,
    presets={
        "quick": {
            **options.RESNET,
            "dataset": "digits16",
            "width": 0.5,
            "augment": False,
            "batch_size": 64,
            "steps": 150,
            "probe_every": 50,
            "evaluate_every": 30,
        },
        "toy": {
            **options.RESNET,
            "depths": (8,),
            "width": 0.25,
            "steps": 4,
            "probe_every": 2,
            "evaluate_every": 2,
            "batch_size": 8,
            "trained": ("bn", "random"),
        },
        "paper": {
            **options.RESNET,
            "dataset": "cifar10",
            "steps": options.RESNET_STEPS,
            "probe_every": 500,
            "evaluate_every": 1000,
        },
    },
    axis_labels={
        "trained": "what is trained",
        "depth": "depth",
        "norm_every": "BatchNorm every",
        "scale_init": "γ at the start",
        "end": "before or after training",
        "bin": "γ",
        "threshold": "γ below",
    },
)
