"""The spectrum of the Hessian along training, with and without BatchNorm (Ghorbani et al. 2019).

    python experiments/spectrum.py --norms none batch
    python experiments/spectrum.py --images 512 --lanczos-steps 60 --vectors 3
    python experiments/spectrum.py --model gpt
    python experiments/spectrum.py --preset paper --data-dir DIR     # CIFAR-10, the full network

At every probed step, on a fixed part of the training set (the first --images of it, in pieces of
--chunk): the largest and smallest eigenvalues, the trace with its standard error, the spectral
density by Lanczos quadrature, and the share of the gradient in the space of the largest
eigenvalues. Each under several statistics: `batch` (each piece is normalised by itself), `running`
(by training's running statistics) and, if wished, `recalibrated` (by those of all the probed
images at this very point). You get two figures and a verdict for each claim. `quick` (the
default) takes about a minute on two CPU cores.
"""

import dataclasses
from typing import Literal

from bnjax.errors import require
from bnjax.frame import options
from bnjax.frame.study import Study


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(options.ProbePrecision, options.LearningRate, options.Transformer, options.Training):
    """Options of the spectrum."""

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

    def check(self) -> None:
        require("--lanczos-steps", self.lanczos_steps, self.lanczos_steps >= 2, "2 or more")
        require("--vectors", self.vectors, self.vectors >= 1, "1 or more")
        legal = self.trace_vectors >= 2
        require("--trace-vectors", self.trace_vectors, legal, "2 or more: one has no error")
        legal = 2 <= self.top <= self.lanczos_steps
        require("--top", self.top, legal, f"from 2 to --lanczos-steps {self.lanczos_steps}")
        require("--images", self.images, self.images >= 2, "2 or more")
        legal = self.chunk >= 2 and self.images % self.chunk == 0
        require("--chunk", self.chunk, legal, f"2 or more, and divide --images {self.images}")
        options.require_distinct("--statistics", self.statistics, "one or more, all different")


STUDY = Study(
    __name__,
    question="What do the eigenvalues of the Hessian do along training?",
    source="Ghorbani, Krishnan & Xiao 2019 (1901.10159)",
    options=Options,
    presets={
        "quick": {
            **options.QUICK,
            "lr": options.QUICK_RATE,
            "steps": 181,
            "probe_every": 60,
            "images": 64,
            "chunk": 64,
        },
        "quick *": {"width": 1.0, "steps": 181, "probe_every": 20},
        # Network and data of the publication; learning rate, length and probed part are choices.
        "toy": {**options.TOY, "lanczos_steps": 6, "top": 3, "images": 32, "chunk": 32},
        "paper": {
            "dataset": "cifar10",
            "model": "resnet",
            "depth": 32,
            "width": 1.0,
            "steps": 15_001,
            "evaluate_every": 500,
            "lanczos_steps": 80,
            "vectors": 10,
            "trace_vectors": 20,
            "images": 12_800,
            "probe_every": 1_000,
        },
        **options.deep_linear_presets(
            lr=options.DEEP_LINEAR_RATE,
            images=1000,
            chunk=1000,
            steps=2001,
            probe_every=200,
            paper_probe_every=500,
        ),
        **options.transformer_presets(
            lr=0.1,
            steps=161,
            probe_every=40,
            images=32,
            chunk=32,
            toy={"lanczos_steps": 6, "top": 3},
        ),
    },
    axis_labels={
        "vector": "random vector",
        "node": "Ritz value",
        "rank": "rank of the eigenvalue",
    },
)
