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

import dataclasses
import math
import sys
from collections.abc import Mapping
from typing import Any, Literal

from bnjax.claims import optimizers as claims
from bnjax.commands.command_line import main
from bnjax.data.copies import AVERAGED, LARGEST_SHIFT
from bnjax.errors import UsageError, require
from bnjax.figures import optimizers as figure
from bnjax.models.initializers import REGISTRY
from bnjax.models.registry import ModelName
from bnjax.runs.arms import Arm
from bnjax.runs.config import require_multiples
from bnjax.runs.experiment import Experiment
from bnjax.runs.targets import TargetConfig
from bnjax.runs.variants import Variant, parse, variants
from bnjax.training import Probe, ending, every, symmetry
from bnjax.training.optimizers import USUAL_RATES, OptimizerName

SINGLE = {"optimizer": "optimizers", "initializer": "initializers", "dropout": "dropouts"}
SINGLE |= {"augment": "augments", "lr": "multiples"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(TargetConfig):
    """Options of the optimiser experiment."""

    optimizers: tuple[OptimizerName, ...] = ("sgd", "momentum", "adagrad", "rmsprop", "adam")
    """Optimisers; the first is the base's. adamw without --weight-decay is adam."""
    initializers: tuple[str, ...] = (
        "he_normal",
        "glorot_normal",
        "two_over_root_n",
        "small_normal",
        "constant",
        "zeros",
    )
    """Initialisers of kernels; the first is the base's."""
    dropouts: tuple[float, ...] = (0.0, 0.5)
    """Shares of dropout before dense layers; the first is the base's."""
    augments: tuple[bool, ...] = (False, True)
    """Random flips and translations by up to 4 pixels in training; the first is the base's."""
    multiples: tuple[float, ...] = (0.1, 1.0, 10.0)
    """Learning rates, in units of the optimiser's usual one."""
    sweep: Literal["around", "full"] = "around"
    """One factor at a time around the base, or all combinations."""
    shift: int = 2
    """Pixels by which copies of a test image are moved."""
    lr: float = math.nan
    """Not for this experiment: give --multiples."""
    model: ModelName = "lenet"
    """Network."""
    width: float = 1.0
    """Factor on the network's channels; 1 is the full network."""
    initializer: str = "he_normal"  # type: ignore[assignment]
    """Not for this experiment: give --initializers."""
    target_loss: float | None = 1.0
    """Training loss to which steps are counted [nat]."""

    def validate(self) -> None:
        """Refuse impossible values."""
        for single, several in SINGLE.items():
            given, default = getattr(self, single), getattr(Config, single)
            if given != default and not (given != given and default != default):
                raise UsageError(f"--{single} {given} is not for this experiment: give --{several}")
        require_multiples(self.multiples)
        for name in self.initializers:
            require("--initializers", name, name in REGISTRY, f"among {', '.join(REGISTRY)}")
        alike = "adamw" in self.optimizers and not self.weight_decay
        require("--optimizers", "adamw", not alike, "given a --weight-decay: without, it is adam")
        shift = f"from 1 to {LARGEST_SHIFT} pixels"
        require("--shift", self.shift, 1 <= self.shift <= LARGEST_SHIFT, shift)
        require("--model", self.model, self.model != "dln", "a classifier: dln has no accuracy")
        for variant in self.variants:
            values = {"variant": variant.name, "multiple": 1.0}
            super(Config, self.for_arm(values)).validate()

    @property
    def variants(self) -> tuple[Variant, ...]:
        """The settings that are swept."""
        factors = (self.optimizers, self.initializers, self.dropouts, self.augments)
        return variants(factors, full=self.sweep == "full")

    @property
    def usual(self) -> float:
        """The multiple that is nearest to 1."""
        return min(self.multiples, key=lambda multiple: abs(math.log(multiple)))

    @property
    def arm_axes(self) -> dict[str, tuple[Any, ...]]:
        """Every normaliser in every setting at every learning rate."""
        names = tuple(variant.name for variant in self.variants)
        return {"norm": self.norms, "variant": names, "multiple": self.multiples}

    def for_arm(self, values: Mapping[str, Any]) -> "Config":
        """The configuration of one arm."""
        variant = parse(values["variant"])
        lr = values["multiple"] * USUAL_RATES[variant.optimizer]
        return dataclasses.replace(self, lr=lr, **variant._asdict())


PRESETS = {
    "quick": Config(steps=51, batch_size=32, probe_every=10, evaluate_every=51),
    "paper": Config(
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


def last_probe(config: Config) -> int:
    """The last probed step."""
    return (config.steps - 1) // config.probe_every * config.probe_every


def probes(config: Config, arm: Arm) -> Mapping[str, Probe]:
    """Symmetry of the units along training, and at its end the test with copies."""
    # Claims on endings are about the usual learning rate: elsewhere there is nothing to pay for.
    step = last_probe(config) if arm.values["multiple"] == config.usual else ending.NEVER
    measure_ending = ending.make_ending(arm.model, arm.dataset, step, shift=config.shift)
    when = every(config.probe_every)
    return {
        "symmetry": Probe(when, symmetry.make_symmetry(arm.model)),
        "ending": Probe(when, measure_ending),
    }


def axes(config: Config) -> dict[str, Any]:
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

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT))
