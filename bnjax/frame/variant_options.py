"""The options of a run over optimisers, initialisers, dropout and augmentation."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Literal

from bnjax.data.copies import LARGEST_SHIFT
from bnjax.errors import UsageError, require
from bnjax.frame.requirements import require_multiples
from bnjax.frame.target_options import TargetConfig
from bnjax.frame.variants import Variant, parse, variants
from bnjax.models.initializers import REGISTRY
from bnjax.train.optimizers import USUAL_RATES, OptimizerName

SINGLE = {"optimizer": "optimizers", "initializer": "initializers", "dropout": "dropouts"}
SINGLE |= {"augment": "augments", "lr": "multiples"}


@dataclasses.dataclass(frozen=True, kw_only=True)
class VariantConfig(TargetConfig):
    """Options of a run whose arms differ in how they are trained; each has a learning rate."""

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
    model: str = "lenet"
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
            given, default = getattr(self, single), getattr(VariantConfig, single)
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
            super(VariantConfig, self.for_arm(values)).validate()

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

    def for_arm(self, values: Mapping[str, Any]) -> "VariantConfig":
        """The configuration of one arm."""
        variant = parse(values["variant"])
        lr = values["multiple"] * USUAL_RATES[variant.optimizer]
        return dataclasses.replace(self, lr=lr, **variant._asdict())
