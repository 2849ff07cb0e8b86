"""Loss surfaces around the trained network, with and without BatchNorm (Li et al. 2018).

    python experiments/surface.py --norms none batch
    python experiments/surface.py --views lines --points 101 --lines 20 --statistics batch
    python experiments/surface.py --preset paper --data-dir DIR      # CIFAR-10, 51 × 51 points

After training: the loss on lines and on a plane along Gaussian directions normalised filter by
filter, and on the plane of the training path's two principal components. You get the lines,
contours with shared levels, the path in its plane, the surfaces in three dimensions, and a verdict
for each claim. The surface is that of the first `--images` training images; what BatchNorm
normalises with is `--statistics`. A stopped run goes on at the first row that is missing. `quick`
(the default) takes about a minute on two CPU cores.
"""

import dataclasses
from typing import Any, Literal

from bnjax.errors import require
from bnjax.frame import options
from bnjax.frame.study import Study


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(options.LearningRate, options.Training):
    """Options of the surface."""

    views: tuple[Literal["lines", "plane", "trajectory"], ...] = ("lines", "plane", "trajectory")
    """1-D lines and a 2-D plane along filter-normalised random directions; the 2-D plane of the
    training path's principal components."""
    points: int = 11
    """Points on an axis; odd, so that the trained network is one of them."""
    lines: int = 5
    """Number of 1-D lines, each along a direction of its own."""
    span: float = 1.0
    """Lines and plane reach so far either way, in units of each filter's own norm."""
    images: int = 256
    """Training images that make the surface, the first ones; a multiple of --batch-size."""
    statistics: Literal["batch", "running", "recalibrated"] = "running"
    """What BatchNorm normalises with: the averages of training (Li et al.), each batch at each
    point, or statistics recalibrated on the images at the trained network."""
    probe_every: int = 10
    """Steps between snapshots of the parameters for the principal components."""
    yes: bool = False
    """Insist on a grid whose time or memory looks absurd."""

    def check(self) -> None:
        options.require_distinct("--views", self.views, "one or more of lines plane trajectory")
        legal = 3 <= self.points <= 1001 and self.points % 2 == 1
        require("--points", self.points, legal, "odd, from 3 to 1001")
        options.require_range("--lines", self.lines, 1, 10_000)
        require("--span", self.span, 0 < self.span <= 100, "above 0 and at most 100, e.g. 1")
        legal = self.images >= self.batch_size and self.images % self.batch_size == 0
        require("--images", self.images, legal, f"a multiple of --batch-size {self.batch_size}")
        legal = "trajectory" not in self.views or snapshots(self) >= 3
        expected = f"at most {max(1, (self.steps - 1) // 2)}: three snapshots make a plane"
        require("--probe-every", self.probe_every, legal, expected)


def snapshots(options: Any) -> int:
    """How often the parameters are kept on the way."""
    return -(-options.steps // options.probe_every)


STUDY = Study(
    __name__,
    question="What does the loss look like around the trained network?",
    source="Li et al. 2018 (1712.09913)",
    options=Options,
    presets={
        "quick": {**options.QUICK, "lr": options.QUICK_RATE},
        "quick *": {},
        # ResNet-20, 300 epochs; the publication divides the learning rate by ten at epochs 150, 225
        # and 275, which is not done here.
        "toy": {**options.TOY, "points": 5, "lines": 2, "images": 64},
        "paper": {
            "dataset": "cifar10",
            "model": "resnet",
            "width": 1.0,
            "optimizer": "nesterov",
            "weight_decay": 5e-4,
            "initializer": "he_normal",
            "augment": True,
            "steps": 300 * 391,
            "evaluate_every": 10 * 391,
            "probe_every": 391,  # an epoch
            "points": 51,
            "lines": 10,
            "images": 12_800,
        },
    },
    axis_labels={"row": "coordinate", "column": "coordinate", "plane_axis": "axis of the plane"},
)
