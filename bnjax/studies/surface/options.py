"""The options of loss surfaces around a trained network, and what they may cost."""

import dataclasses
import math

from bnjax.data import Dataset
from bnjax.errors import require
from bnjax.frame.budget import Budget, count_parameters, forward_operations, require_affordable
from bnjax.frame.config import RunConfig
from bnjax.studies.surface import measure as surface


@dataclasses.dataclass(frozen=True, kw_only=True)
class SurfaceConfig(RunConfig):
    """Options of a run that ends with surfaces of its loss."""

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


def check_affordable(config: SurfaceConfig, dataset: Dataset) -> None:
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
