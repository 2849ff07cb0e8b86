"""Batch, critical and spherical sharpness along training, beside the edge of stability 2/lr.

    python experiments/sharpness.py
    python experiments/sharpness.py --norms none batch group --model vgg5 --dataset digits16
    python experiments/sharpness.py --preset paper --data-dir DIR      # CIFAR-10, VGG-11

At every probed step: gᵀHg/‖g‖² on several batches and its mean with an interval; the critical step
along the optimiser's own direction; ‖w‖² λ_max of the layers behind which a normaliser stands, and
by which angle a step turns each; loss and gradient along the gradient at lr · {½, 1, 2, 4}; and, of
a network with running statistics, the loss of the test set under four kinds of them. You get a
figure and a verdict for each claim: does every normaliser sit at 2/lr, only at another time?
`quick` (the default) is a small perceptron with ReLUs under squared loss, at a rate at which it
comes to the edge: under cross-entropy digits never show one.
"""

import dataclasses

from bnjax.errors import require
from bnjax.frame import options
from bnjax.frame.study import Study


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(options.ProbePrecision, options.LearningRate, options.Training):
    """Options of the sharpness."""

    batches: int = 8
    """Batches over which step sharpness is averaged, of the size of training's."""
    lanczos_steps: int = 12
    """Lanczos steps to the largest eigenvalue of the normalised layers."""
    calibration_images: int = 1024
    """Training images whose statistics are the recalibrated ones, a whole number of batches."""

    def check(self) -> None:
        expected = "2 or more: one has no interval"
        require("--batches", self.batches, self.batches >= 2, expected)
        require("--lanczos-steps", self.lanczos_steps, self.lanczos_steps >= 1, "1 or more")
        images, size = self.calibration_images, self.batch_size
        legal = images >= size and images % size == 0
        require("--calibration-images", images, legal, f"a multiple of --batch-size {size}")


STUDY = Study(
    __name__,
    question="Does every normaliser sit at the edge of stability, only at another time?",
    source="Andreyev & Beneventano 2024 (2412.20553); Lyu, Li & Arora 2022 (2206.07085)",
    options=Options,
    presets={
        # Chosen by the network without normalisation alone, so that it sits at 2/lr: at lower rates
        # and in smaller batches it stays at half of that, with tanh it diverges.
        "quick": {
            "model": "mlp",
            "width": 0.3,
            "dataset": "binary_digits",
            "objective": "squared_error",
            "norms": ("none", "batch", "layer", "rms"),
            "batch_size": 256,
            "lr": 0.8,
            "weight_decay": 2e-3,
            "steps": 1000,
            "seeds": 3,
            "probe_every": 25,
            "evaluate_every": 250,
        },
        "quick *": {"objective": "squared_error", "batch_size": 64},
        "toy": {
            **options.TOY,
            "objective": "squared_error",
            "weight_decay": 0.01,
            "batches": 2,
            "lanczos_steps": 3,
            "calibration_images": 64,
        },
        # Loss, optimiser and data of the publication; network, batch and length are choices.
        "paper": {
            "dataset": "cifar10",
            "model": "vgg11",
            "width": 1.0,
            "objective": "squared_error",
            "norms": ("none", "batch", "layer", "group"),
            "batch_size": 64,
            "lr": 0.02,
            "weight_decay": 5e-4,
            "steps": 20_000,
            "probe_every": 200,
            "evaluate_every": 1000,
            "lanczos_steps": 20,
        },
    },
    axis_labels={"batch": "batch", "statistics": "statistics", "hidden_layer": "layer"},
)
