"""The options of a line probe that rides on training."""

import dataclasses
from typing import Literal

import jax
import numpy as np

from bnjax import losses
from bnjax.errors import UsageError, require
from bnjax.frame.config import RunConfig
from bnjax.frame.requirements import require_multiples
from bnjax.frame.training_options import Precision


@dataclasses.dataclass(frozen=True, kw_only=True)
class LineConfig(RunConfig):
    """Options of a run with a line probe: which points, along what, in which loss."""

    min_step: float = 0.5
    """Smallest probed step size, in units of --lr."""
    max_step: float = 4.0
    """Largest probed step size, in units of --lr."""
    points: int = 4
    """Number of step sizes, geometrically spaced (the paper's four: ½, 1, 2, 4)."""
    multiples: tuple[float, ...] = ()
    """Step sizes in units of --lr, in place of --min-step, --max-step and --points."""
    difference_steps: tuple[int, ...] = ()
    """Probed steps whose gradient difference is drawn against η; empty: five of them."""
    directions: tuple[Literal["gradient", "random"], ...] = ("gradient",)
    """Directions; random ones have the gradient's norm and are redrawn at each probe."""
    parameters: Literal["all", "last"] = "all"
    """Probe all parameters, or the last layer only."""
    statistics: losses.Statistics = "batch"
    """What BatchNorm normalises with in the probed loss (the paper: batch)."""
    calibration_batches: int = 8
    """Batches that --statistics recalibrated pools."""
    probe_decay: bool = False
    """Whether the probed loss contains the L2 term of --weight-decay."""
    probe_precision: Precision = "highest"
    """Matrix-product precision of the probes."""
    chunk: Literal["auto"] | int = "auto"
    """Points measured at a time; auto: one on a CPU, what fits the cache on an accelerator."""

    def validate(self) -> None:
        """Refuse impossible values."""
        super().validate()
        require("--min-step", self.min_step, 0 < self.min_step < np.inf, "above 0 and finite")
        legal = self.min_step < self.max_step < np.inf
        require("--max-step", self.max_step, legal, f"above --min-step {self.min_step} and finite")
        require("--points", self.points, 2 <= self.points <= 10_000, "from 2 to 10000")
        distinct = len(set(self.directions)) == len(self.directions)
        legal = distinct and "gradient" in self.directions
        require("--directions", " ".join(self.directions), legal, "gradient, or gradient random")
        if self.multiples:
            require_multiples(self.multiples, least=2)
            for name in ("min_step", "max_step", "points"):
                if getattr(self, name) != getattr(type(self), name):
                    raise UsageError(
                        f"--{name.replace('_', '-')} is not used beside --multiples "
                        f"{' '.join(f'{one:g}' for one in self.multiples)}: give other multiples"
                    )
        for step in self.difference_steps:
            legal = 0 <= step < self.steps and step % self.probe_every == 0
            expected = f"a probed step: a multiple of {self.probe_every} below {self.steps}"
            require("--difference-steps", step, legal, expected)
        legal = self.chunk == "auto" or 1 <= int(self.chunk) <= len(self.relative_steps)
        require("--chunk", self.chunk, legal, f"auto, or from 1 to {len(self.relative_steps)}")
        batches = self.calibration_batches
        require("--calibration-batches", batches, batches >= 1, "1 or more")

    def with_fewer_points(self) -> "LineConfig | None":
        """The same probe with half as many points at a time."""
        most = 1 if jax.default_backend() == "cpu" else len(self.step_sizes)
        chunk = most if self.chunk == "auto" else self.chunk
        return dataclasses.replace(self, chunk=chunk // 2) if chunk > 1 else None

    @property
    def probes_training_loss(self) -> bool:
        """Whether the probed loss is the very one that training differentiates."""
        return self.statistics == "batch" and not (self.probe_decay and self.weight_decay)

    @property
    def step_sizes(self) -> np.ndarray:
        """η in parameter units per gradient unit, float32 `[points]`."""
        return (self.lr * self.relative_steps).astype(np.float32)

    @property
    def relative_steps(self) -> np.ndarray:
        """η in units of the learning rate, float64 `[points]`."""
        return np.asarray(
            self.multiples or np.geomspace(self.min_step, self.max_step, self.points), float
        )
