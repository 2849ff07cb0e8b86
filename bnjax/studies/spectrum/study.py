"""The spectrum of the Hessian along training, with and without BatchNorm (Ghorbani et al. 2019).

    python experiments/spectrum.py --norms none batch
    python experiments/spectrum.py --images 512 --lanczos-steps 60 --vectors 3
    python experiments/spectrum.py --preset paper --data-dir DIR     # CIFAR-10, the full network

At every probed step, on a fixed part of the training set (the first --images of it, in pieces of
--chunk): the largest and smallest eigenvalues, the trace with its standard error, the spectral
density by Lanczos quadrature, and the share of the gradient in the space of the largest
eigenvalues. Each under several statistics: `batch` (each piece is normalised by itself), `running`
(by training's running statistics) and, if wished, `recalibrated` (by those of all the probed
images at this very point). Out come two figures and a verdict for each claim. `quick` (the
default) takes under two minutes on two CPU cores.
"""

import dataclasses
from collections.abc import Mapping
from typing import Literal

from bnjax import losses
from bnjax.errors import require
from bnjax.frame import publications
from bnjax.frame.arms import Arm
from bnjax.frame.config import RunConfig
from bnjax.frame.experiment import Experiment
from bnjax.frame.streams import stream_key
from bnjax.frame.training_options import Precision
from bnjax.studies.spectrum import claims, figure
from bnjax.studies.spectrum import measure as spectrum
from bnjax.train import Probe, every


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(RunConfig):
    """Options of the spectrum experiment."""

    lanczos_steps: int = 24
    """Lanczos steps from each random vector; memory for as many copies of the parameters."""
    vectors: int = 1
    """Random vectors that Lanczos starts from; the density is their mean."""
    trace_vectors: int = 6
    """Random vectors of the trace."""
    top: int = 10
    """Eigenvalues at each end; the gradient's share is taken in the space of the largest."""
    images: int = 128
    """Training images in the probed loss, the first ones of the training set."""
    chunk: int = 128
    """Images at a time; under `batch` statistics each chunk is normalised by itself."""
    statistics: tuple[Literal["batch", "running", "recalibrated"], ...] = ("batch", "running")
    """What BatchNorm normalises with in the probed loss."""
    probe_precision: Precision = "highest"
    """Matrix-product precision of the probe."""

    def validate(self) -> None:
        """Refuse impossible values."""
        super().validate()
        require("--lanczos-steps", self.lanczos_steps, self.lanczos_steps >= 2, "2 or more")
        require("--vectors", self.vectors, self.vectors >= 1, "1 or more")
        legal = self.trace_vectors >= 2
        require("--trace-vectors", self.trace_vectors, legal, "2 or more: one has no error")
        legal = 2 <= self.top <= self.lanczos_steps
        expected = f"from 2 to --lanczos-steps {self.lanczos_steps}"
        require("--top", self.top, legal, expected)
        require("--images", self.images, self.images >= 2, "2 or more")
        legal = self.chunk >= 2 and self.images % self.chunk == 0
        require("--chunk", self.chunk, legal, f"2 or more, and divide --images {self.images}")
        legal = len(set(self.statistics)) == len(self.statistics) > 0
        require("--statistics", " ".join(self.statistics), legal, "one or more, all different")


PRESETS = {
    "quick": Config(model="lenet", width=1.0, steps=181, probe_every=20),
    # Network and data of the publication; learning rate, length and probed part are choices.
    "paper": Config(
        preset="paper",
        dataset="cifar10",
        model="resnet",
        depth=32,
        width=1.0,
        steps=15_001,
        evaluate_every=500,
        lanczos_steps=80,
        vectors=10,
        trace_vectors=20,
        images=12_800,
        probe_every=1_000,
    ),
    **publications.deep_linear_presets(
        Config,
        images=1000,
        chunk=1000,
        steps=2001,
        probe_every=200,
        paper_probe_every=500,
    ),
}


def probes(config: Config, arm: Arm) -> Mapping[str, Probe]:
    """The spectrum probe of one arm."""
    key = stream_key(arm.seed, "probe")
    measure = spectrum.make_spectrum(
        arm.model,
        spectrum.probed_part(arm.dataset, arm.pipeline, config.images, config.chunk, key),
        key,
        statistics=config.statistics,
        objective=losses.OBJECTIVES[config.objective],
        lanczos_steps=config.lanczos_steps,
        num_vectors=config.vectors,
        num_trace_vectors=config.trace_vectors,
        top=config.top,
        precision=config.probe_precision,
    )
    return {"spectrum": Probe(every(config.probe_every), measure)}


EXPERIMENT = Experiment(
    name="spectrum",
    description=__doc__,
    presets=PRESETS,
    probes=probes,
    dims={"spectrum": spectrum.DIMS},
    axes=lambda config: {
        "statistics": config.statistics,
        "vector": range(config.vectors),
        "node": range(config.lanczos_steps),
        "rank": range(1, config.top + 1),
    },
    claims=claims.claims,
    draw=figure.draw,
)
