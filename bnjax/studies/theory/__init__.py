"""The theorems of Santurkar et al. 2018 (4.1, 4.2, 4.4) on real layers along training.

    python experiments/theory.py --layers conv2 conv4 --channels 0 1 2 3
    python experiments/theory.py --model dln                     # the deep linear network
    python experiments/theory.py --preset paper --data-dir DIR   # CIFAR-10, VGG-16, 15,000 steps

At every probed step and for each layer: both sides of each theorem with the printed errors
corrected, the residual, how often the assumptions of Theorem 4.2 hold, and the Lipschitz and
curvature terms of the network with BatchNorm beside those of the network without. You get
`theory_layers.csv` (a row for each layer and step), `theory_channels.csv` (both sides for each
chosen channel), two figures and a verdict for each claim.

The equalities hold at ε = 0, so BatchNorm is trained with `--epsilon 0` here. With `--float64` (the
default) the probe alone computes in 64 bits; training stays in 32 bits and is the same, bit for
bit, with `--no-float64`. `quick` (the default) takes about a minute on two CPU cores.
"""

import dataclasses
from typing import Annotated

import tyro

from bnjax.errors import require
from bnjax.frame import options
from bnjax.frame.study import Study


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(options.LearningRate, options.Training):
    """Options of the theory."""

    layers: tuple[str, ...] = ("conv5", "conv8")
    """Layers to probe. In another network than the default: others as deep."""
    channels: Annotated[tuple[int, ...], tyro.conf.arg(aliases=["--units"])] = (0, 1, 2, 3)
    """Channels of each layer for which Hessian-vector products are taken."""
    epsilon: float = 0.0
    """Added to the variance by BatchNorm (units of its input squared)."""
    input_norm: float = 1.0
    """λ of Theorem 4.4: the bound on the spectral norm of a layer's input."""
    float64: bool = True
    """Compute the probe in 64 bits; training stays in 32."""

    def check(self) -> None:
        require("--epsilon", self.epsilon, 0 <= self.epsilon < 1, "from 0 to below 1, e.g. 1e-5")
        legal = set(self.norms) <= {"none", "batch"}
        require("--norms", " ".join(self.norms), legal, "none, batch or both: the theorems' two")
        require("--input-norm", self.input_norm, 0 < self.input_norm < 1e6, "above 0, below 1e6")
        for option, values in (("--layers", self.layers), ("--channels", self.channels)):
            options.require_distinct(option, values, "one or more, all different")


STUDY = Study(
    __name__,
    question="Do the theorems on BatchNorm hold, and how often are their assumptions met?",
    source="Santurkar et al. 2018, Section 4",
    options=Options,
    reproduced={"": {}},
    presets={
        "quick": {
            **options.QUICK,
            "lr": options.QUICK_RATE,
            "layers": options.QUICK_LAYERS,
            "probe_every": 10,
        },
        "quick *": {},
        "toy": {**options.TOY, "layers": ("dense1", "dense3"), "channels": (0, 1)},
        "paper": {
            **options.VGG,
            "layers": ("conv2", "conv9", "conv13"),
            "probe_every": 500,
        },
        **options.deep_linear_presets(
            lr=options.DEEP_LINEAR_RATE,
            layers=("dense1", "dense11", "dense24"),
            steps=2000,
            probe_every=100,
            paper_probe_every=200,
        ),
    },
    axis_labels={"probed_layer": "layer"},
)
