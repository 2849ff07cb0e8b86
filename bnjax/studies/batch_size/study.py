"""Normalisers against the batch size (Ba, Kiros & Hinton 2016; Wu & He 2018).

    python experiments/batch_size.py
    python experiments/batch_size.py --model resnet --depth 8 --norms batch instance rms
    python experiments/batch_size.py --preset paper --data-dir DIR    # CIFAR-10, 2 … 256

Every normaliser at every batch size. All arms see the same number of examples: at a smaller batch
they take more steps, each with a learning rate that is smaller in proportion (Wu & He 2018), or the
same with --scaling constant. Out come the test accuracy and the landscape along the gradient
against the batch size, and a verdict for each claim. `quick` (the default) takes under two minutes
on two CPU cores.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np

from bnjax import losses
from bnjax.errors import UsageError, require
from bnjax.frame.arms import Arm
from bnjax.frame.config import RunConfig
from bnjax.frame.experiment import Experiment
from bnjax.frame.requirements import require_multiples
from bnjax.frame.streams import stream_key
from bnjax.studies.batch_size import claims, figure
from bnjax.studies.landscape import measure as landscape
from bnjax.train import Probe, every, probed_loss


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(RunConfig):
    """Options of the batch size experiment; steps are those of the largest batch."""

    batch_sizes: tuple[int, ...] = (2, 16, 64)
    """Examples a step, rising; the largest is a multiple of each. At size b an arm takes
    largest/b times --steps, and probes and evaluates after the same numbers of examples."""
    batch_size: int = 0
    """Not for this experiment: give --batch-sizes."""
    scaling: Literal["linear", "constant"] = "linear"
    """linear: learning rate --lr × b / --reference-batch; constant: --lr at each size."""
    reference_batch: int = 32
    """The batch size at which the learning rate is --lr."""
    multiples: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0)
    """Probed step sizes, in units of the arm's learning rate."""

    def validate(self) -> None:
        """Refuse impossible values."""
        sizes = self.batch_sizes
        shown = " ".join(map(str, sizes))
        if self.batch_size:
            given = self.batch_size
            raise UsageError(f"--batch-size {given}: give --batch-sizes {given}, one or several")
        legal = len(sizes) > 0 and list(sizes) == sorted(set(sizes)) and sizes[0] >= 1
        require("--batch-sizes", shown, legal, "one or more, rising, e.g. 2 16 64")
        legal = all(sizes[-1] % size == 0 for size in sizes)
        require("--batch-sizes", shown, legal, f"divisors of the largest, {sizes[-1]}")
        require("--reference-batch", self.reference_batch, self.reference_batch >= 1, "1 or more")
        require_multiples(self.multiples, least=2)
        for size in sizes:
            super(Config, self.for_arm({"batch_size": size})).validate()
        for norm in self.norms:  # one of single samples may not fit the network's narrow layers
            self.build_model(norm, 10).shapes((32, 32, 3))

    @property
    def arm_axes(self) -> dict[str, tuple[Any, ...]]:
        """Every normaliser at every batch size."""
        return {"norm": self.norms, "batch_size": self.batch_sizes}

    def for_arm(self, values: Mapping[str, Any]) -> "Config":
        """Steps and learning rate of one batch size."""
        size = values["batch_size"]
        more = self.batch_sizes[-1] // size
        return dataclasses.replace(
            self,
            batch_size=size,
            lr=self.lr * (size / self.reference_batch if self.scaling == "linear" else 1),
            steps=more * self.steps,
            probe_every=more * self.probe_every,
            evaluate_every=more * self.evaluate_every,
        )


PRESETS = {
    "quick": Config(
        norms=("none", "batch", "layer", "group"),
        batch_sizes=(2, 8, 32),
        model="lenet",
        width=0.5,
        steps=180,
        probe_every=20,
        evaluate_every=60,
    ),
    # 30 epochs of CIFAR-10 on a network that fits one accelerator: the batch of 2 takes 750,000
    # steps a normaliser. The publications trained on ImageNet (Wu & He) and MNIST (Ba et al.).
    "paper": Config(
        preset="paper",
        norms=("none", "batch", "layer", "group", "instance", "rms", "weight_standard"),
        batch_sizes=(2, 4, 8, 16, 32, 64, 128, 256),
        model="resnet",
        width=1.0,
        initializer="he_normal",
        optimizer="momentum",
        weight_decay=1e-4,
        augment=True,
        dataset="cifar10",
        steps=5860,
        probe_every=293,
        evaluate_every=586,
    ),
}


def probes(config: Config, arm: Arm) -> Mapping[str, Probe]:
    """The line probe of one arm, on the batch of the step."""
    loss = probed_loss.make_loss(
        arm.model, arm.pipeline, objective=losses.OBJECTIVES[config.objective]
    )
    line = landscape.make_line(
        loss,
        (config.lr * np.asarray(config.multiples)).astype(np.float32),
        stream_key(arm.seed, "probe"),
        reuse_gradient=config.trains_in("highest"),
    )
    return {"line": Probe(every(config.probe_every), line)}


EXPERIMENT = Experiment(
    name="batch_size",
    description=__doc__,
    presets=PRESETS,
    probes=probes,
    dims={"line": landscape.DIMS},
    axes=lambda config: {
        "direction": ("gradient",),
        "step_size": config.multiples,  # in units of each arm's learning rate
    },
    claims=claims.claims,
    draw=figure.draw,
)
