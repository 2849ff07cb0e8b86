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

from collections.abc import Mapping

from bnjax.frame.arms import Arm
from bnjax.frame.experiment import Experiment
from bnjax.frame.streams import stream_key
from bnjax.losses import OBJECTIVES
from bnjax.studies.surface import claims, figure
from bnjax.studies.surface import measure as surface
from bnjax.studies.surface.options import SurfaceConfig, check_affordable
from bnjax.train import Probe, Sweep, every

PRESETS = {
    "quick": SurfaceConfig(),
    # ResNet-20, 300 epochs; the publication divides the learning rate by ten at epochs 150, 225 and
    # 275, which is not done here.
    "paper": SurfaceConfig(
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


def probes(config: SurfaceConfig, arm: Arm) -> Mapping[str, Probe]:
    """Snapshots of the parameters, where their path is asked for."""
    if "trajectory" not in config.views:
        return {}
    return {surface.SNAPSHOTS: Probe(every(config.probe_every), surface.keep_snapshot)}


def after(config: SurfaceConfig, arm: Arm) -> Mapping[str, Sweep]:
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
    check=check_affordable,
)
