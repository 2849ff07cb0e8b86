"""Distributions of activations over training (Santurkar et al. 2018, Fig. 1c, 6, 8 and 9).

    python experiments/distributions.py
    python experiments/distributions.py --norms none batch l1 l2 linf    # Fig. 6
    python experiments/distributions.py --model dln                      # the deep linear network
    python experiments/distributions.py --preset paper --data-dir DIR    # CIFAR-10, VGG-16

At every probed step, before the non-linearity of the shown layers: the histogram and percentiles of
all activations, the percentiles of one unit, and what one step changes in mean and variance. Out
come the histograms over training, the measures of their stability, and a verdict for each claim.
`quick` takes under two minutes on two CPU cores.
"""

import dataclasses
from collections.abc import Mapping

import numpy as np

from bnjax.errors import require
from bnjax.frame import publications
from bnjax.frame.arms import Arm, build
from bnjax.frame.experiment import Experiment
from bnjax.frame.shown_layers import ShownLayersConfig
from bnjax.studies.distributions import claims, figure
from bnjax.studies.distributions import measure_activations as activations
from bnjax.train import Probe, every


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(ShownLayersConfig):
    """Options of the distributions experiment."""

    bins: int = 400
    """Bins of the histograms."""
    range: tuple[float, float] = (-10.0, 10.0)
    """Edges of the histograms, in units of the activations; the outer bins hold all beyond."""

    def validate(self) -> None:
        """Refuse impossible values."""
        super().validate()
        require("--bins", self.bins, 3 <= self.bins <= 10_000, "from 3 to 10000")
        low, high = self.range
        rising = -np.inf < low < high < np.inf
        require("--range", f"{low:g} {high:g}", rising, "two finite numbers, rising, e.g. -10 10")

    @property
    def edges(self) -> np.ndarray:
        """Edges of the histograms, `[bins + 1]`."""
        return np.linspace(*self.range, self.bins + 1)


PRESETS = {
    "quick": Config(),
    "paper": Config(
        **publications.VGG,
        preset="paper",
        layers=("conv2", "conv3", "conv9", "conv11", "conv13"),
        probe_every=100,
    ),
    **publications.deep_linear_presets(
        Config,
        layers=("dense1", "dense11", "dense24"),
        steps=2000,
        probe_every=20,
        paper_probe_every=50,
    ),
}


def probes(config: Config, arm: Arm) -> Mapping[str, Probe]:
    """The distributions of the shown layers of one arm."""
    measure = activations.make_distributions(
        arm.model,
        build(config, arm)[1],
        config.layers,
        config.edges,
        percentiles=claims.LEVELS,
        unit=config.unit,
    )
    return {"distributions": Probe(every(config.probe_every), measure)}


EXPERIMENT = Experiment(
    name="distributions",
    description=__doc__,
    presets=PRESETS,
    probes=probes,
    dims={"distributions": activations.DIMS},
    axes=lambda config: {
        "shown_layer": config.layers,
        "bin": (config.edges[1:] + config.edges[:-1]) / 2,
        "percentile": claims.LEVELS,
    },
    claims=claims.claims,
    draw=figure.draw,
)
