"""Small sigmoid networks on binary MNIST (Ioffe & Szegedy 2015, Fig. 1).

    python experiments/sigmoid_mnist.py
    python experiments/sigmoid_mnist.py --initial-deviation 0.01       # a long plateau without BN
    python experiments/sigmoid_mnist.py --preset paper --data-dir DIR  # binary MNIST, 50,000 steps

Three hidden layers of 100 sigmoids, with and without BatchNorm before each sigmoid. You get the
test accuracy against steps, the 15th, 50th and 85th percentile of what a typical sigmoid of the
last hidden layer gets, and a verdict for each claim; also whether an image that comes alone is
classified as it is among others. `quick` (the default) takes about a minute on two CPU cores.

The paper gives neither the learning rate nor the deviation of its "small random Gaussian values":
both are options.
"""

import dataclasses
import math
from typing import Any, Literal

from bnjax.errors import require
from bnjax.frame import options
from bnjax.frame.study import Study


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(options.LearningRate, options.Training):
    """Options of the sigmoid network."""

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

    def check(self) -> None:
        require("--model", self.model, self.model == "mlp", "mlp, the network of this study")
        deviation = self.initial_deviation
        legal = deviation is None or 0 < deviation < math.inf
        require("--initial-deviation", deviation, legal, "above 0 and finite, e.g. 0.1, or None")
        for name in ("inputs", "singles"):
            value = getattr(self, name)
            require(f"--{name}", value, 2 <= value <= 10_000, "from 2 to 10000 images")
        accuracy = self.target_accuracy
        require("--target-accuracy", accuracy, 0 < accuracy <= 1, "above 0 and at most 1, e.g. 0.9")


PERCEPTRON: dict[str, Any] = {"model": "mlp", "width": 1.0, "batch_size": 60}
STUDY = Study(
    __name__,
    question="Does BatchNorm keep the inputs of sigmoids in place?",
    source="Ioffe & Szegedy 2015, Fig. 1",
    options=Options,
    presets={
        "quick": {
            **PERCEPTRON,
            "dataset": "binary_digits",
            "steps": 8000,
            "probe_every": 100,
            "evaluate_every": 100,
        },
        "toy": {
            **PERCEPTRON,
            "width": 0.1,
            "dataset": "binary_digits",
            "steps": 20,
            "probe_every": 10,
            "evaluate_every": 10,
            "inputs": 50,
            "singles": 4,
        },
        "paper": {
            **PERCEPTRON,
            "dataset": "binary_mnist",
            "steps": 50_000,
            "probe_every": 250,
            "evaluate_every": 250,
            "target_accuracy": 0.95,
        },
    },
    axis_labels={"channel": "sigmoid", "percentile": "percentile", "statistics": "statistics"},
)
