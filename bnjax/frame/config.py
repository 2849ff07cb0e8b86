"""The options that every experiment which trains a network shares, and their checks."""

import dataclasses
import math
from collections.abc import Iterable, Mapping
from typing import Any

import jax

from bnjax import models
from bnjax.arithmetic.selection import EVERYTHING, Selection
from bnjax.arithmetic.trees import Predicate
from bnjax.data.sources import EMBEDDED
from bnjax.errors import UsageError, require
from bnjax.frame.conduct import ConductOptions
from bnjax.frame.training_options import Precision, TrainingOptions
from bnjax.train import optimizers
from bnjax.types import Params

MOST = 10**8  # steps
MOST_SEEDS = 10_000
LINEAR_DATASETS = ("gaussian", "gaussian_positive")


@dataclasses.dataclass(frozen=True, kw_only=True)
class RunConfig(ConductOptions, TrainingOptions):
    """All options of a run; each experiment adds its own."""

    def validate(self) -> None:
        """Refuse impossible values before anything is read or written.

        Raises:
          UsageError: naming the option, its value and what is legal.
        """
        for field in dataclasses.fields(self):
            value, option = getattr(self, field.name), f"--{field.name.replace('_', '-')}"
            whole = value if isinstance(value, tuple) else (value,)
            legal = all(not isinstance(number, int) or abs(number) < 2**31 for number in whole)
            require(option, value, legal, "below 2147483648")
        require("--lr", self.lr, 0 < self.lr < math.inf, "above 0 and finite, e.g. 0.1")
        require("--width", self.width, 0 < self.width <= 16, "above 0 and at most 16, e.g. 0.25")
        require("--weight-decay", self.weight_decay, 0 <= self.weight_decay < math.inf, "0 or more")
        most = {"steps": MOST, "seeds": MOST_SEEDS, "probe_every": MOST, "evaluate_every": MOST}
        for name, limit in most.items():
            value = getattr(self, name)
            require(f"--{name.replace('_', '-')}", value, 1 <= value <= limit, f"from 1 to {limit}")
        self.validate_conduct()
        require("--batch-size", self.batch_size, self.batch_size >= 1, "1 or more")
        require("--seed", self.seed, 0 <= self.seed < 2**31, "from 0 to 2147483647")
        for drop in self.lr_drops:
            require("--lr-drops", drop, math.isfinite(drop), "finite")
        drops = [optimizers.drop_step(drop, self.steps) for drop in self.lr_drops]
        legal = all(0 < drop < self.steps for drop in drops) and drops == sorted(set(drops))
        shown = " ".join(f"{drop:g}" for drop in self.lr_drops)
        expected = f"rising shares of the run between 0 and 1, or steps below {self.steps}"
        require("--lr-drops", shown, legal, expected)
        require_known("--model", self.model, models.FAMILIES)
        distinct = len(set(self.norms)) == len(self.norms) > 0
        require("--norms", " ".join(self.norms), distinct, "one or more different normalisers")
        for norm in self.norms:
            require_known("--norms", norm, models.norms.registry.REGISTRY)
            self.build_model(norm, num_classes=10)
            self.validate_batch(models.norms.by_name(norm))
        if self.data_dir is not None:
            try:
                is_folder = self.data_dir.expanduser().is_dir()
            except (OSError, RuntimeError):  # a name that is too long, the home of nobody
                is_folder = False
            require("--data-dir", self.data_dir, is_folder, "a folder of prepared data sets")
        if self.dataset in (*EMBEDDED, *LINEAR_DATASETS) and self.data_dir is not None:
            raise UsageError(f"--data-dir has no use with --dataset {self.dataset}: leave it out")
        if (self.model == "dln") != (self.dataset in LINEAR_DATASETS):
            raise UsageError(
                f"--model {self.model} does not go with --dataset {self.dataset}: the deep linear "
                "network and the Gaussian data need each other; in experiments that have presets "
                "of it, --model dln alone chooses both"
            )
        require(
            "--objective",
            self.objective,
            self.dataset not in LINEAR_DATASETS or self.objective != "cross_entropy",
            "a squared error with --dataset gaussian…, which has no classes",
        )

    def validate_conduct(self) -> None:
        """Refuse impossible values of options that do not change results."""
        super().validate_conduct()
        part = self.batch_size // max(1, self.microbatches)
        expected = f"a divisor of the {part} examples that are computed at a time"
        require("--data-devices", self.data_devices, part % self.data_devices == 0, expected)

    def validate_batch(self, norm: models.Norm) -> None:
        """Refuse batches that a normaliser cannot work with."""
        size, parts = self.batch_size, self.microbatches
        legal = parts >= 1 and size % parts == 0
        require("--microbatches", parts, legal, f"1 or more and divide --batch-size {size}")
        if not norm.batch_statistics:
            return
        if size == 1:
            raise UsageError(
                f"--batch-size 1: the norm {norm.name} takes statistics over the batch, and those "
                "of one example make every unit of a dense layer 0 whatever it was: give 2 or "
                "more, or a norm of single samples such as layer or group"
            )
        if parts > 1:
            raise UsageError(
                f"--microbatches {parts}: the norm {norm.name} takes statistics over the batch, so "
                "gradients of its parts do not add up to its gradient: give 1, or a norm of single "
                "samples such as layer or group"
            )

    @property
    def arm_axes(self) -> dict[str, tuple[Any, ...]]:
        """The factors of the experiment, in the order of the axes of its results."""
        return {"norm": self.norms}

    def for_arm(self, values: Mapping[str, Any]) -> "RunConfig":
        """The configuration of one arm: `values` of the `arm_axes`, put where they belong.

        Args:
          values: of each factor the arm's, e.g. `{"norm": "batch", "lr": 0.1}`.

        Returns:
          These options, with those that are factors as the arm has them.
        """
        names = {field.name for field in dataclasses.fields(self)}
        return dataclasses.replace(self, **{k: v for k, v in values.items() if k in names})

    @property
    def decays(self) -> Predicate | None:
        """Which parameters --weight-decay applies to, by their names; None for all."""
        return None

    @property
    def optimizer_rule(self) -> optimizers.Rule:
        """The optimiser of one arm, without its learning rate."""
        drops = tuple(optimizers.drop_step(drop, self.steps) for drop in self.lr_drops)
        return optimizers.Rule(self.optimizer, self.weight_decay, drops, self.decays)

    def trains_in(self, precision: Precision) -> bool:
        """Whether matrix products of training have this precision; on a CPU there is but one."""
        return jax.default_backend() == "cpu" or self.precision == precision

    def with_fewer_points(self) -> Any:
        """The same measurements with half as many points at a time; None where that is no way."""
        return None

    def select(self, shapes: Params, seed: int) -> Selection:
        """Which parameters are trained; all, unless an experiment says otherwise.

        Args:
          shapes: pytree of `jax.ShapeDtypeStruct`, as the parameters.
          seed: of the arm, where the choice is random.

        Returns:
          A `Selection`, see `training.parts.select`.
        """
        del shapes, seed
        return EVERYTHING

    def build_model(self, norm: str, num_classes: int) -> models.Model:
        """The network of one arm.

        Args:
          norm: name of the normaliser.
          num_classes: of the data set; of a regression the number of outputs.

        Returns:
          A `Model`.

        Raises:
          UsageError: options that the network does not have, or impossible values of them.
        """
        return models.by_name(
            self.model,
            norm=models.norms.by_name(norm),
            num_classes=num_classes,
            initializer=self.initializer,
            width=self.width,
            depth=self.depth,
            dropout=self.dropout,
        )


def require_known(option: str, name: str, known: Iterable[str]) -> None:
    """Refuse a name that nobody has registered."""
    names = tuple(known)
    expected = f"of {' '.join(names)}, or one that a file given as --plugins registers"
    require(option, name, name in names, expected)
