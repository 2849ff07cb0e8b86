"""Small sigmoid networks on binary MNIST (Ioffe & Szegedy 2015, Fig. 1).

    python experiments/sigmoid_mnist.py
    python experiments/sigmoid_mnist.py --initial-deviation 0.01       # a long plateau without BN
    python experiments/sigmoid_mnist.py --preset paper --data-dir DIR  # binary MNIST, 50,000 steps

Three hidden layers of 100 sigmoids, with and without BatchNorm before each sigmoid. Out come the
test accuracy against steps, the 15th, 50th and 85th percentile of what a typical sigmoid of the
last hidden layer gets, and a verdict for each claim; also whether an image that comes alone is
classified as it is among others. `quick` (the default) takes under two minutes on two CPU cores.

The paper gives neither the learning rate nor the deviation of its "small random Gaussian values":
both are options.
"""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Literal

import jax

from bnjax import models
from bnjax.errors import require
from bnjax.frame.arms import Arm
from bnjax.frame.config import RunConfig
from bnjax.frame.experiment import Experiment
from bnjax.probes.activations import PERCENTILES
from bnjax.studies.sigmoid_mnist import claims, figure
from bnjax.studies.sigmoid_mnist import (
    measure_single_images as single_images,
)
from bnjax.studies.sigmoid_mnist import (
    measure_unit_percentiles as unit_percentiles,
)
from bnjax.train import Probe, every


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(RunConfig):
    """Options of the sigmoid network's experiment."""

    initial_deviation: float | None = 0.1
    """Deviation of the Gaussian initial kernels; None leaves them to --initializer."""
    inputs: int = 1000
    """The first so many training images give the percentiles; the same at each probe."""
    statistics: Literal["batch", "running"] = "batch"
    """What BatchNorm normalises with there: statistics of these images, or running averages."""
    singles: int = 100
    """The first so many test images are also classified one at a time."""
    target_accuracy: float = 0.9
    """Test accuracy, above 0 and at most 1, to which steps are counted."""

    def validate(self) -> None:
        """Refuse impossible values."""
        super().validate()
        require("--model", self.model, self.model == "mlp", "mlp, the network of this experiment")
        deviation = self.initial_deviation
        legal = deviation is None or 0 < deviation < math.inf
        require("--initial-deviation", deviation, legal, "above 0 and finite, e.g. 0.1, or None")
        for name in ("inputs", "singles"):
            value = getattr(self, name)
            require(f"--{name}", value, 2 <= value <= 10_000, "from 2 to 10000 images")
        accuracy = self.target_accuracy
        require("--target-accuracy", accuracy, 0 < accuracy <= 1, "above 0 and at most 1, e.g. 0.9")

    def build_model(self, norm: str, num_classes: int) -> models.Model:
        """The network of one arm, with this experiment's initial kernels."""
        model = super().build_model(norm, num_classes)
        if self.initial_deviation is None:
            return model
        init = jax.nn.initializers.normal(self.initial_deviation)
        return models.Model(model.module.clone(kernel_init=init))

    @property
    def layer(self) -> str:
        """The last hidden layer."""
        *_, last, _ = models.layer_names(self.build_model("none", num_classes=10), (8, 8, 1))
        return last


PERCEPTRON: dict[str, Any] = {"model": "mlp", "width": 1.0, "batch_size": 60}
PRESETS = {
    "quick": Config(
        **PERCEPTRON,
        dataset="binary_digits",
        steps=8000,
        probe_every=100,
        evaluate_every=100,
    ),
    "paper": Config(
        **PERCEPTRON,
        preset="paper",
        dataset="binary_mnist",
        steps=50_000,
        probe_every=250,
        evaluate_every=250,
        target_accuracy=0.95,
    ),
}


def probes(config: Config, arm: Arm) -> Mapping[str, Probe]:
    """The percentiles of every unit, and images that come alone."""
    train, test = (
        arm.pipeline.standardise(split.pixels[:count])
        for split, count in ((arm.dataset.train, config.inputs), (arm.dataset.test, config.singles))
    )
    labels = arm.dataset.test.labels[: config.singles]
    when = every(config.probe_every)
    measure = unit_percentiles.make_unit_percentiles(
        arm.model, config.layer, train, statistics=config.statistics
    )
    single = single_images.make_single_images(arm.model, test, labels)
    return {"inputs": Probe(when, measure), "single": Probe(when, single)}


EXPERIMENT = Experiment(
    name="sigmoid_mnist",
    description=__doc__,
    presets=PRESETS,
    probes=probes,
    dims={"inputs": unit_percentiles.DIMS, "single": single_images.DIMS},
    axes=lambda config: {
        "unit": range(max(1, round(100 * config.width))),
        "percentile": PERCENTILES,
        "statistics": single_images.STATISTICS,
    },
    claims=claims.claims,
    draw=figure.draw,
)
