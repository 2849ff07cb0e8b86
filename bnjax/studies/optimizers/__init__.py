"""Optimisers, initialisers, dropout and augmentation, with and without BatchNorm.

    python experiments/optimizers.py
    python experiments/optimizers.py --multiples 0.01 0.1 1 10 100        # a wider search
    python experiments/optimizers.py --sweep full --optimizers sgd adam --initializers zeros
    python experiments/optimizers.py --preset paper --data-dir DIR        # CIFAR-10, AlexNet

The first value of each factor makes the base. By default one factor at a time leaves it (`--sweep
full`: all combinations), each setting at several multiples of its optimiser's usual learning rate
(SGD 0.1, with momentum, Nesterov and AdaGrad 0.01, RMSProp, Adam and AdamW 0.001). You get
accuracy against learning rate for each optimiser, the initialisers with the symmetry of their
layers' units along training, the generalisation gap, test-time augmentation (the mean of the
probabilities of an image and its copies: moved by --shift pixels down, up, right and left, and
mirrored), and a verdict for each claim. `quick` (the default) takes about a minute on two CPU
cores. There is no published setting: `paper` is what a text for teaching would take.
"""

import dataclasses
import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, NamedTuple

from bnjax.choices import InitializerName, OptimizerName
from bnjax.errors import require
from bnjax.frame import options
from bnjax.frame.study import Study

LARGEST_SHIFT = 8  # pixels, of a copy of an image
# Where a search over learning rates begins: a convention, no optimum (Adam: Kingma & Ba 2015).
USUAL_RATES: Mapping[str, float] = {
    "sgd": 0.1,
    **dict.fromkeys(("momentum", "nesterov", "adagrad"), 0.01),
    **dict.fromkeys(("rmsprop", "adam", "adamw"), 0.001),
}


class Setting(NamedTuple):
    """What training is done with, beside normaliser and learning rate."""

    optimizer: OptimizerName
    initializer: InitializerName
    dropout: float
    augment: bool

    @property
    def name(self) -> str:
        """One word that `parse` reads: `adam+he_normal+0.5+augmented`."""
        augment = "augmented" if self.augment else "plain"
        dropout = repr(float(self.dropout)).removesuffix(".0")  # as short as it is exact
        return f"{self.optimizer}+{self.initializer}+{dropout}+{augment}"

    def options(self, multiple: float) -> dict[str, Any]:
        """The options of a network at a multiple of the optimiser's usual learning rate."""
        return {**self._asdict(), "lr": multiple * USUAL_RATES[self.optimizer]}


def parse(name: str) -> Setting:
    """The setting of a name.

    Example:
      >>> parse("adam+he_normal+0.5+augmented")
      Setting(optimizer='adam', initializer='he_normal', dropout=0.5, augment=True)
    """
    optimizer, initializer, dropout, augment = name.split("+")
    return Setting(optimizer, initializer, float(dropout), augment == "augmented")  # type: ignore[arg-type]


def settings_of(factors: Sequence[Sequence], *, full: bool) -> tuple[Setting, ...]:
    """The first value of each factor, and every other value with all else at its first.

    Args:
      factors: the values of optimiser, initialiser, dropout and augmentation, in this order.
      full: all combinations instead.

    Raises:
      UsageError: a factor without values, or with equal ones.

    Example:
      >>> factors = ("sgd", "adam"), ("zeros",), (0.0, 0.5), (False,)
      >>> [setting.name for setting in settings_of(factors, full=False)]
      ['sgd+zeros+0+plain', 'adam+zeros+0+plain', 'sgd+zeros+0.5+plain']
    """
    swept = dict(zip(Setting._fields, factors, strict=True))
    for name, values in swept.items():
        options.require_distinct(name, values, "one or more different values")
    if full:
        return tuple(Setting(*values) for values in itertools.product(*factors))
    base = Setting(*(values[0] for values in factors))
    others = [
        base._replace(**{name: value}) for name, values in swept.items() for value in values[1:]
    ]
    return (base, *others)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(options.Target, options.Network, options.BatchSize, options.Base):
    """Options of a sweep over how networks are trained; each setting has learning rates."""

    optimizers: tuple[OptimizerName, ...] = ("sgd", "momentum", "adagrad", "rmsprop", "adam")
    """Optimisers; the first is the base's. adamw without --weight-decay is adam."""
    initializers: tuple[InitializerName, ...] = (
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
    model: str = "lenet"
    """Network."""
    width: float = 1.0
    """Factor on the network's channels; 1 is the full network."""
    target_loss: float | None = 1.0
    """Training loss to which steps are counted [nat]."""

    def check(self) -> None:
        options.require_multiples(self.multiples)
        alike = "adamw" in self.optimizers and not self.weight_decay
        require("--optimizers", "adamw", not alike, "given a --weight-decay: without, it is adam")
        shift = f"from 1 to {LARGEST_SHIFT} pixels"
        require("--shift", self.shift, 1 <= self.shift <= LARGEST_SHIFT, shift)
        require("--model", self.model, self.model != "dln", "a classifier: dln has no accuracy")
        _ = self.factors

    @property
    def factors(self) -> dict[str, tuple[Any, ...]]:
        swept = (self.optimizers, self.initializers, self.dropouts, self.augments)
        names = tuple(setting.name for setting in settings_of(swept, full=self.sweep == "full"))
        return {"norm": self.norms, "variant": names, "multiple": self.multiples}

    def settings(self, values: Mapping[str, Any]) -> dict[str, Any]:
        return parse(values["variant"]).options(values["multiple"])


def usual_multiple(multiples: Sequence[float]) -> float:
    """The multiple that is nearest to 1."""
    return min(multiples, key=lambda multiple: abs(math.log(multiple)))


STUDY = Study(
    __name__,
    question="How do optimisers, learning rates, initialisers and regularisers end?",
    source="",
    options=Options,
    presets={
        "quick": {
            "dataset": "digits16",
            "optimizers": ("sgd", "momentum", "rmsprop", "adam"),
            "initializers": ("he_normal", "small_normal", "constant", "zeros"),
            "steps": 51,
            "batch_size": 32,
            "probe_every": 10,
            "evaluate_every": 51,
        },
        "toy": {
            **options.TOY,
            "window": 3,
            "optimizers": ("sgd", "adam"),
            "initializers": ("he_normal", "zeros"),
            "dropouts": (0.0,),
            "multiples": (0.1, 1.0),
        },
        "paper": {
            "dataset": "cifar10",
            "model": "alexnet",
            "optimizers": ("momentum", "sgd", "nesterov", "adagrad", "rmsprop", "adam", "adamw"),
            "weight_decay": 5e-4,
            "multiples": (0.01, 0.1, 1.0, 10.0, 100.0),
            "steps": 15_001,
            "probe_every": 500,
            "evaluate_every": 500,
            "window": 101,
        },
    },
    axis_labels={
        "variant": "setting",
        "multiple": "times the usual learning rate",
        "kernel": "kernel",
        "averaged": "averaged over",
    },
)
