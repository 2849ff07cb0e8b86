"""Loss surfaces around the trained network, with and without BatchNorm (Li et al. 2018).

    python experiments/surface.py --norms none batch
    python experiments/surface.py --views lines --points 101 --lines 20 --statistics batch
    python experiments/surface.py --preset paper --data-dir DIR      # CIFAR-10, 51 × 51 points

After training: the loss on lines and on a plane along Gaussian directions normalised filter by
filter, and on the plane of the training path's two principal components. Out come the lines,
contours with shared levels, the path in its plane, the surfaces in three dimensions, and a verdict
for each claim. The surface is that of the first `--images` training images; what BatchNorm
normalises with is `--statistics`. A stopped run goes on at the first row that is missing. `quick`
(the default) takes under two minutes on two CPU cores.
"""

import dataclasses
import math
import sys
from collections.abc import Mapping

from bnjax.claims import surface as claims
from bnjax.commands.command_line import main
from bnjax.data import Dataset
from bnjax.errors import require
from bnjax.figures import surface as figure
from bnjax.losses import OBJECTIVES
from bnjax.runs.arms import Arm
from bnjax.runs.budget import (
    Budget,
    count_parameters,
    forward_operations,
    require_affordable,
)
from bnjax.runs.config import RunConfig
from bnjax.runs.experiment import Experiment
from bnjax.runs.streams import stream_key
from bnjax.training import Probe, Sweep, every, surface


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(RunConfig):
    """Options of the surface experiment."""

    views: tuple[surface.View, ...] = ("lines", "plane", "trajectory")
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
    statistics: surface.Statistics = "running"
    """What BatchNorm normalises with: the averages of training (Li et al.), each batch at each
    point, or statistics recalibrated on the images at the trained network."""
    probe_every: int = 10
    """Steps between snapshots of the parameters for the principal components."""
    yes: bool = False
    """Insist on a grid whose time or memory looks absurd."""

    def validate(self) -> None:
        """Refuse impossible values."""
        super().validate()
        distinct = len(set(self.views)) == len(self.views) > 0
        require("--views", " ".join(self.views), distinct, "one or more of lines plane trajectory")
        legal = 3 <= self.points <= 1001 and self.points % 2 == 1
        require("--points", self.points, legal, "odd, from 3 to 1001")
        require("--lines", self.lines, 1 <= self.lines <= 10_000, "from 1 to 10000")
        require("--span", self.span, 0 < self.span <= 100, "above 0 and at most 100, e.g. 1")
        legal = self.images >= self.batch_size and self.images % self.batch_size == 0
        require("--images", self.images, legal, f"a multiple of --batch-size {self.batch_size}")
        legal = "trajectory" not in self.views or self.snapshots >= 3
        expected = f"at most {max(1, (self.steps - 1) // 2)}: three snapshots make a plane"
        require("--probe-every", self.probe_every, legal, expected)

    @property
    def snapshots(self) -> int:
        """How often the parameters are kept on the way."""
        return -(-self.steps // self.probe_every)


PRESETS = {
    "quick": Config(),
    # ResNet-20, 300 epochs; the publication divides the learning rate by ten at epochs 150, 225 and
    # 275, which is not done here.
    "paper": Config(
        preset="paper",
        dataset="cifar10",
        model="resnet",
        width=1.0,
        optimizer="nesterov",
        weight_decay=5e-4,
        initializer="he_normal",
        augment=True,
        steps=300 * 391,
        evaluate_every=10 * 391,
        probe_every=391,  # an epoch
        points=51,
        lines=10,
        images=12_800,
    ),
}


def check(config: Config, dataset: Dataset) -> None:
    """Refuse more images than there are, and grids that would take absurdly long."""
    shape, available = dataset.train.pixels.shape[1:], len(dataset.train.labels)
    most = available - available % config.batch_size
    require("--images", config.images, config.images <= most, f"at most {most} here")
    model = config.build_model(config.norms[0], dataset.num_classes)
    plane = config.points**2
    points = {"lines": config.lines * config.points, "plane": plane, "trajectory": plane}
    arms = math.prod(map(len, config.arm_axes.values())) * config.seeds
    budget = Budget(
        forward_passes=arms * config.images * sum(points[view] for view in config.views),
        operations=forward_operations(model, shape, config.batch_size),
        snapshots=config.snapshots if "trajectory" in config.views else 0,
        parameters=count_parameters(model, shape),
    )
    remedy = "give fewer --points, --images, --norms or --views"
    require_affordable(budget, insist=config.yes, remedy=remedy)


def probes(config: Config, arm: Arm) -> Mapping[str, Probe]:
    """Snapshots of the parameters, where their path is asked for."""
    if "trajectory" not in config.views:
        return {}
    return {surface.SNAPSHOTS: Probe(every(config.probe_every), surface.keep_snapshot)}


def after(config: Config, arm: Arm) -> Mapping[str, Sweep]:
    """The views of one arm's trained network."""
    return surface.make_sweeps(
        arm.model,
        arm.pipeline,
        arm.dataset.train,
        stream_key(arm.seed, "probe"),
        views=config.views,
        points=config.points,
        lines=config.lines,
        span=config.span,
        snapshots=config.snapshots,
        images=config.images,
        statistics=config.statistics,
        objective=OBJECTIVES[config.objective],
    )


EXPERIMENT = Experiment(
    name="surface",
    description=__doc__,
    presets=PRESETS,
    probes=probes,
    dims=surface.DIMS,
    axes=lambda config: {
        "line": range(config.lines),
        "row": range(config.points),
        "column": range(config.points),
        "path": ("principal",),
        "component": range(1, 1 + min(surface.COMPONENTS, config.snapshots - 1)),
        "plane_axis": (1, 2),
    },
    claims=claims.claims,
    draw=figure.draw,
    after=after,
    rows=surface.ROWS,
    check=check,
)

if __name__ == "__main__":
    sys.exit(main(EXPERIMENT))
