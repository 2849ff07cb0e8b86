"""Distributions of activations over training (Santurkar et al. 2018, Fig. 1c, 6, 8 and 9).

    python experiments/distributions.py
    python experiments/distributions.py --norms none batch l1 l2 linf    # Fig. 6
    python experiments/distributions.py --model dln                      # the deep linear network
    python experiments/distributions.py --preset paper --data-dir DIR    # CIFAR-10, VGG-16

At every probed step, before the non-linearity of the shown layers: the histogram and percentiles of
all activations, the percentiles of one channel, and how much one step changes mean and variance.
You get the histograms over training, measures of their stability, and a verdict for each claim.
`quick` takes about a minute on two CPU cores.
"""

import dataclasses
import math
from typing import Annotated

import tyro

from bnjax.errors import require
from bnjax.frame import options
from bnjax.frame.study import Study


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShownLayers:
    """Layers whose activations are shown, and a channel of them."""

    layers: tuple[str, ...] = ("conv3", "conv7")
    """Layers whose activations are shown. In another network than the default: others as deep."""
    channel: Annotated[int, tyro.conf.arg(aliases=["--unit"])] = 0
    """Channel whose own percentiles are taken."""

    def check(self) -> None:
        require("--channel", self.channel, self.channel >= 0, "0 or more")
        options.require_distinct("--layers", self.layers, "one or more different layers")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(ShownLayers, options.LearningRate, options.Training):
    """Options of the distributions."""

    bins: int = 400
    """Bins of the histograms."""
    range: tuple[float, float] = (-10.0, 10.0)
    """Edges of the histograms, in units of the activations; the outer bins hold all beyond."""

    def check(self) -> None:
        require("--bins", self.bins, 3 <= self.bins <= 10_000, "from 3 to 10000")
        low, high = self.range
        rising = -math.inf < low < high < math.inf
        require("--range", f"{low:g} {high:g}", rising, "two finite numbers, rising, e.g. -10 10")


STUDY = Study(
    __name__,
    question="Does BatchNorm make the distributions of activations more stable?",
    source="Santurkar et al. 2018, Fig. 1c, 6, 8 and 9",
    options=Options,
    reproduced={"": {}, "dln": {}},
    presets={
        "quick": {**options.QUICK, "lr": options.QUICK_RATE, "layers": options.QUICK_LAYERS},
        "quick *": {},
        "toy": {**options.TOY, "layers": ("dense1", "dense2"), "bins": 20},
        "paper": {
            **options.VGG,
            "layers": ("conv2", "conv3", "conv9", "conv11", "conv13"),
            "probe_every": 100,
        },
        **options.deep_linear_presets(
            lr=options.DEEP_LINEAR_RATE,
            layers=("dense1", "dense11", "dense24"),
            steps=2000,
            probe_every=20,
            paper_probe_every=50,
        ),
    },
    axis_labels={"shown_layer": "layer", "bin": "activation", "percentile": "percentile"},
)
