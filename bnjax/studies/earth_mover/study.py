"""Internal covariate shift as an earth mover distance (Huang & Yu 2020).

    python experiments/earth_mover.py
    python experiments/earth_mover.py --norms none batch unitize layer
    python experiments/earth_mover.py --model dln                     # the deep linear network
    python experiments/earth_mover.py --preset paper --data-dir DIR   # CIFAR-10, VGG-16

At every probed step: the outputs of the shown layers on the batch of that step before and after the
optimiser's actual update, and the earth mover distance between the two: of each unit, of the whole
layer along random directions and in all its dimensions, with the bounds that the moments set and
the one that BatchNorm's γ and β set. Out come a figure and a verdict for each claim. `quick` takes
under two minutes on two CPU cores.
"""

import dataclasses
from collections.abc import Mapping

from bnjax.errors import require
from bnjax.frame import publications
from bnjax.frame.arms import Arm, build
from bnjax.frame.config import RunConfig
from bnjax.frame.experiment import Experiment
from bnjax.frame.requirements import require_layers
from bnjax.frame.streams import stream_key
from bnjax.probes.activations import PERCENTILES
from bnjax.studies.earth_mover import claims, figure
from bnjax.studies.earth_mover import measure as earth_mover
from bnjax.train import Probe, every

MAX_EXACT = 2048  # examples: an assignment of so many takes half a second


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(RunConfig):
    """Options of the earth mover experiment."""

    norms: tuple[str, ...] = ("none", "batch", "unitize")
    """The arms: one network for each normaliser, alike in all else."""
    layers: tuple[str, ...] = ("conv1", "conv3", "conv5", "conv8")
    """Layers whose outputs are compared, before the non-linearity."""
    slices: int = 64
    """Random directions of the sliced distance; the same in every arm."""
    pixels: int = 16
    """Random pixels of each example that serve as samples of a unit; all where there are fewer."""
    exact: bool = True
    """Solve also for the distance in all dimensions, by an assignment of the batch's examples."""

    def validate(self) -> None:
        """Refuse impossible values."""
        super().validate()
        distinct = len(set(self.layers)) == len(self.layers) > 0
        require("--layers", " ".join(self.layers), distinct, "one or more different layers")
        require_layers("--layers", self.layers, self)
        require("--slices", self.slices, 2 <= self.slices <= 100_000, "from 2 to 100000")
        require("--pixels", self.pixels, self.pixels >= 1, "1 or more")
        legal = not self.exact or self.batch_size <= MAX_EXACT
        expected = f"at most {MAX_EXACT} with --exact, which takes time cubic in it; or --no-exact"
        require("--batch-size", self.batch_size, legal, expected)


PRESETS = {
    "quick": Config(steps=160),
    "paper": Config(
        **publications.VGG,
        preset="paper",
        layers=("conv1", "conv3", "conv5", "conv9", "conv13"),
        probe_every=100,
    ),
    **publications.deep_linear_presets(
        Config,
        layers=("dense1", "dense11", "dense24"),
        steps=2000,
        probe_every=50,
        paper_probe_every=200,
    ),
}


def probes(config: Config, arm: Arm) -> Mapping[str, Probe]:
    """The earth mover shift of the shown layers of one arm."""
    measure = earth_mover.make_earth_mover(
        arm.model,
        build(config, arm)[1],
        config.layers,
        stream_key(arm.seed, "probe"),
        directions=config.slices,
        pixels=config.pixels,
        exact=config.exact,
        batch_norm=arm.values["norm"] == "batch",
    )
    return {"earth_mover": Probe(every(config.probe_every), measure)}


EXPERIMENT = Experiment(
    name="earth_mover",
    description=__doc__,
    presets=PRESETS,
    probes=probes,
    dims={"earth_mover": earth_mover.DIMS},
    axes=lambda config: {"shown_layer": config.layers, "percentile": PERCENTILES},
    claims=claims.claims,
    draw=figure.draw,
)
