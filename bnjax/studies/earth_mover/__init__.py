"""Internal covariate shift as an earth mover distance (Huang & Yu 2020).

    python experiments/earth_mover.py
    python experiments/earth_mover.py --norms none batch unitize layer
    python experiments/earth_mover.py --model dln                     # the deep linear network
    python experiments/earth_mover.py --preset paper --data-dir DIR   # CIFAR-10, VGG-16

At every probed step: the outputs of the shown layers on the batch of that step before and after the
optimiser's actual update, and the earth mover distance between the two: of each channel, of the
whole layer along random directions and in all its dimensions, with the bounds that moments set and
the bound that BatchNorm's γ and β set. You get a figure and a verdict for each claim. `quick` takes
about a minute on two CPU cores.
"""

import dataclasses

from bnjax.errors import require
from bnjax.frame import options
from bnjax.frame.study import Study

MAX_EXACT = 2048  # examples: an assignment of so many takes half a second


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(options.LearningRate, options.Training):
    """Options of the earth mover distance."""

    norms: tuple[str, ...] = ("none", "batch", "unitize")
    """The arms: one network for each normaliser, alike in all else."""
    layers: tuple[str, ...] = ("conv1", "conv3", "conv5", "conv8")
    """Layers whose outputs are compared, before the non-linearity. In another network than the
    default: others as deep."""
    slices: int = 64
    """Random directions of the sliced distance; the same in every arm."""
    pixels: int = 16
    """Random pixels of each example that serve as samples of a channel; all where there are
    fewer."""
    exact: bool = True
    """Solve also for the distance in all dimensions, by an assignment of the batch's examples."""

    def check(self) -> None:
        options.require_distinct("--layers", self.layers, "one or more different layers")
        options.require_range("--slices", self.slices, 2, 100_000)
        require("--pixels", self.pixels, self.pixels >= 1, "1 or more")
        legal = not self.exact or self.batch_size <= MAX_EXACT
        expected = f"at most {MAX_EXACT} with --exact, which takes time cubic in it; or --no-exact"
        require("--batch-size", self.batch_size, legal, expected)


STUDY = Study(
    __name__,
    question="How far does a step move the distribution of a layer, as an earth mover distance?",
    source="Huang & Yu 2020 (2001.02814)",
    options=Options,
    presets={
        "quick": {
            **options.QUICK,
            "lr": options.QUICK_RATE,
            "layers": ("conv1", "conv2", "conv4"),
            "steps": 90,
            "probe_every": 15,
        },
        "quick *": {"steps": 160, "probe_every": 20},
        "toy": {**options.TOY, "layers": ("dense1", "dense2"), "slices": 4},
        "paper": {
            **options.VGG,
            "layers": ("conv1", "conv3", "conv5", "conv9", "conv13"),
            "probe_every": 100,
        },
        **options.deep_linear_presets(
            lr=options.DEEP_LINEAR_RATE,
            layers=("dense1", "dense11", "dense24"),
            steps=2000,
            probe_every=50,
            paper_probe_every=200,
        ),
    },
    axis_labels={"shown_layer": "layer"},
)
