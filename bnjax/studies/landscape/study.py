"""The landscape along the gradient, with and without BatchNorm (Santurkar et al. 2018).

    python experiments/landscape.py --lr 0.4
    python experiments/landscape.py --lrs 0.05 0.1 0.2 --seeds 4    # a sweep
    python experiments/landscape.py --model dln                     # the deep linear network
    python experiments/landscape.py --preset paper --data-dir DIR   # CIFAR-10, VGG-16, 15,000 steps

At every probed step: losses and gradients at θ − η g for step sizes η around the learning rate, on
the batch of that step. Out come the figures of loss variation, gradient predictiveness and
effective β-smoothness (its Fig. 4, 10, 12, 13), of gradient differences against η (Fig. 11), and a
verdict for each claim. `quick` (the default) takes under two minutes
on two CPU cores.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

from bnjax import losses, models
from bnjax.errors import UsageError
from bnjax.frame import publications
from bnjax.frame.arms import Arm
from bnjax.frame.experiment import Experiment
from bnjax.frame.requirements import require_rates
from bnjax.frame.streams import stream_key
from bnjax.studies.landscape import claims, figure
from bnjax.studies.landscape import measure as landscape
from bnjax.studies.landscape.options import LineConfig
from bnjax.train import Probe, every, probed_loss


@dataclasses.dataclass(frozen=True, kw_only=True)
class Config(LineConfig):
    """Options of the landscape experiment."""

    lrs: tuple[float, ...] = ()
    """Learning rates, each with arms, a figure and claims of its own, in place of --lr."""

    def validate(self) -> None:
        """Refuse impossible values."""
        super().validate()
        if self.lrs:
            require_rates(self.lrs)
            if self.lr not in [preset.lr for preset in PRESETS.values()]:
                raise UsageError(f"--lr {self.lr:g} is not used beside --lrs: give one of them")

    @property
    def arm_axes(self) -> dict[str, tuple[Any, ...]]:
        """Normaliser, and learning rate where there are several."""
        return {"norm": self.norms, **({"lr": self.lrs} if self.lrs else {})}


PRESETS = {
    # BatchNorm passes the losses that it shares with none in a dozen steps.
    "quick": Config(probe_every=3),
    "paper": Config(
        **publications.VGG,
        preset="paper",
        probe_every=100,
    ),
    **publications.deep_linear_presets(
        Config,
        multiples=(0.01, 0.1, 1.0, 10.0, 10**1.5),  # the published 1e-8, 1e-7, 1e-6, 1e-5, 3.16e-5
        steps=2000,
        probe_every=20,
        paper_probe_every=50,
    ),
}


def probes(config: Config, arm: Arm) -> Mapping[str, Probe]:
    """The line probe of one arm and, on accelerators, the rounding noise beneath it."""
    loss = probed_loss.make_loss(
        arm.model,
        arm.pipeline,
        statistics=config.statistics,
        calibration=arm.dataset.train.pixels[: config.calibration_batches * config.batch_size],
        objective=losses.OBJECTIVES[config.objective],
        weight_decay=config.weight_decay if config.probe_decay else 0.0,
    )
    same_precision = config.trains_in(config.probe_precision)
    line = landscape.make_line(
        loss,
        config.step_sizes,
        stream_key(arm.seed, "probe"),
        directions=config.directions,
        parameters=last_layer(arm) if config.parameters == "last" else None,
        reuse_gradient=config.probes_training_loss and same_precision,
        chunk=config.chunk,
        precision=config.probe_precision,
    )
    when = every(config.probe_every)
    measured = {"line": Probe(when, line)}
    if not same_precision:
        rounding = landscape.make_rounding(
            loss, precision=config.precision, reference=config.probe_precision
        )
        measured["rounding"] = Probe(when, rounding)
    return measured


def last_layer(arm: Arm) -> Callable[[str], bool]:
    """Whether a parameter belongs to the last layer, by its name."""
    last = models.layer_names(arm.model, arm.dataset.train.pixels.shape[1:])[-1]
    return lambda name: name.startswith(f"{last}/")


EXPERIMENT = Experiment(
    name="landscape",
    description=__doc__,
    presets=PRESETS,
    probes=probes,
    dims={"line": landscape.DIMS},
    shown=("line.losses", "line.gradient_distances", "line.smoothness", "line.cosines"),
    axes=lambda config: {
        "direction": config.directions,
        "step_size": config.relative_steps if config.lrs else config.step_sizes,
    },
    claims=claims.claims,
    draw=figure.draw,
)
