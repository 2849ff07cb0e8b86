"""Normalisers against the batch size (Ba, Kiros & Hinton 2016; Wu & He 2018).

    python experiments/batch_size.py
    python experiments/batch_size.py --model resnet --depth 8 --norms batch instance rms
    python experiments/batch_size.py --preset paper --data-dir DIR    # CIFAR-10, 2 … 256

Every normaliser at every batch size. All arms see the same number of examples: at a smaller batch
they take more steps, each with a learning rate that is smaller in proportion (Wu & He 2018), or the
same with --scaling constant. You get the test accuracy and the landscape along the gradient
against the batch size, and a verdict for each claim. `quick` (the default) takes about a minute
on two CPU cores.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

from bnjax.errors import require
from bnjax.frame import options
from bnjax.frame.study import Study


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(
    options.LearningRate,
    options.Network,
    options.Regularisation,
    options.Initializer,
    options.Optimizer,
    options.Base,
):
    """Options of the batch size; steps are those of the largest batch."""

    batch_sizes: tuple[int, ...] = (2, 16, 64)
    """Examples a step, rising; the largest is a multiple of each. At size b an arm takes
    largest/b times --steps, and probes and evaluates after the same numbers of examples."""
    scaling: Literal["linear", "constant"] = "linear"
    """linear: learning rate --lr × b / --reference-batch; constant: --lr at each size."""
    reference_batch: int = 32
    """The batch size at which the learning rate is --lr."""
    multiples: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0)
    """Probed step sizes, in units of the arm's learning rate."""

    def check(self) -> None:
        sizes = self.batch_sizes
        shown = " ".join(map(str, sizes))
        legal = len(sizes) > 0 and list(sizes) == sorted(set(sizes)) and sizes[0] >= 1
        require("--batch-sizes", shown, legal, "one or more, rising, e.g. 2 16 64")
        legal = all(sizes[-1] % size == 0 for size in sizes)
        require("--batch-sizes", shown, legal, f"divisors of the largest, {sizes[-1]}")
        require("--reference-batch", self.reference_batch, self.reference_batch >= 1, "1 or more")
        options.require_multiples(self.multiples, least=2)
        for size in sizes:
            options.require_steps(self.settings({"batch_size": size})["lr"], self.multiples)
        most = self.steps * sizes[-1] // sizes[0]
        expected = f"at most {options.MOST} at the smallest batch, which takes {most}"
        require("--steps", self.steps, most <= options.MOST, expected)

    @property
    def factors(self) -> dict[str, tuple[Any, ...]]:
        return {"norm": self.norms, "batch_size": self.batch_sizes}

    def settings(self, values: Mapping[str, Any]) -> dict[str, Any]:
        size = values["batch_size"]
        more = self.batch_sizes[-1] // size
        return {
            **super().settings(values),
            "batch_size": size,
            "lr": self.lr * (size / self.reference_batch if self.scaling == "linear" else 1),
            "steps": more * self.steps,
            "probe_every": more * self.probe_every,
            "evaluate_every": more * self.evaluate_every,
            "watch": more * self.watch,
        }


STUDY = Study(
    __name__,
    question="How do normalisers depend on the batch size?",
    source="Ba, Kiros & Hinton 2016; Wu & He 2018",
    options=Options,
    presets={
        "quick": {
            "norms": ("none", "batch", "layer", "group"),
            "batch_sizes": (2, 8, 32),
            "model": "lenet",
            "width": 0.5,
            "dataset": "digits16",
            "steps": 90,
            "probe_every": 10,
            "evaluate_every": 45,
        },
        # 30 epochs of CIFAR-10 on a network that fits one accelerator: the batch of 2 takes 750,000
        # steps a normaliser. The publications trained on ImageNet (Wu & He) and MNIST (Ba et al.).
        "toy": {
            "model": "mlp",
            "width": 0.1,
            "steps": 4,
            "probe_every": 2,
            "evaluate_every": 2,
            "norms": ("none", "batch"),
            "batch_sizes": (4, 8),
        },
        "paper": {
            "norms": ("none", "batch", "layer", "group", "instance", "rms", "weight_standard"),
            "batch_sizes": (2, 4, 8, 16, 32, 64, 128, 256),
            "model": "resnet",
            "width": 1.0,
            "initializer": "he_normal",
            "optimizer": "momentum",
            "weight_decay": 1e-4,
            "augment": True,
            "dataset": "cifar10",
            "steps": 5860,
            "probe_every": 293,
            "evaluate_every": 586,
        },
    },
    axis_labels={"batch_size": "batch size", "step_size": "step size η / learning rate"},
)
