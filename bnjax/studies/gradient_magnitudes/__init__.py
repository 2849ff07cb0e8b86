"""Mean gradient magnitude per kind of parameter: kernels, biases, γ and β, over training.

    python experiments/gradient_magnitudes.py
    python experiments/gradient_magnitudes.py --model vgg38_residual --norms batch layer
    python experiments/gradient_magnitudes.py --preset paper --data-dir DIR     # CIFAR-100

At every probed step, from the gradient that training takes anyway: the mean of |∂L/∂θ| over all
parameters of a kind. Biases whose effect a normaliser cancels have no gradient: they are a kind of
their own and in no other mean. You get a figure and a verdict for each claim. `quick` takes about
a minute on two CPU cores; `paper` is a VGG-38 with residual connections, 100 epochs.
"""

import dataclasses

from bnjax.frame import options
from bnjax.frame.study import Study


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(options.LearningRate, options.Training):
    """Options of the gradient magnitudes."""

    probe_every: int = 2
    """Steps between probes."""


STUDY = Study(
    __name__,
    question="How large are the gradients of each kind of parameter?",
    source="Frankle, Schwab & Morcos 2020, and its follow-up",
    options=Options,
    presets={
        "quick": {**options.QUICK, "lr": options.QUICK_RATE},
        "quick *": {},
        "toy": options.TOY,
        "paper": {
            "dataset": "cifar100",
            "model": "vgg38_residual",
            "width": 1.0,
            "steps": 39_100,  # 100 epochs
            "probe_every": 50,
            "evaluate_every": 391,
        },
        **options.deep_linear_presets(
            lr=options.DEEP_LINEAR_RATE, steps=2000, probe_every=20, paper_probe_every=50
        ),
    },
    axis_labels={"kind": "kind of parameter"},
)
