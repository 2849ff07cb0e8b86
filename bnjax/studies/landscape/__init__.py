"""The landscape along the gradient, with and without BatchNorm (Santurkar et al. 2018).

    python experiments/landscape.py --lr 0.4
    python experiments/landscape.py --lr 0.05 0.1 0.2 --seeds 4     # a sweep
    python experiments/landscape.py --model dln                     # the deep linear network
    python experiments/landscape.py --model gpt --norms none layer dyt     # of characters
    python experiments/landscape.py --preset paper --data-dir DIR   # CIFAR-10, VGG-16, 15,000 steps
    python experiments/landscape.py --preset published --data-dir DIR --published CSV

At every probed step: losses and gradients at θ − η g for step sizes η around the learning rate, on
the batch of that step. You get the figures of loss variation, gradient predictiveness and effective
β-smoothness (Fig. 4, 10, 12, 13), of gradient differences against η (Fig. 11), and a verdict for
each claim; with `--published CSV` also one of published and measured curves side by side. `quick`
(the default) takes half a minute on two CPU cores: a VGG of four convolutions, three seeds.
`--model vgg11` chooses VGG-11 at a quarter of its width, one seed, a minute or two. `published` is
what the published curves were made with, as far as they tell: VGG-19 with two hidden dense layers
of 4,096, and a penalty of 2e-4 · Σ kernel² in the loss.
"""

import dataclasses
import math
from typing import Any, Literal

from bnjax.choices import Statistics
from bnjax.errors import UsageError, require
from bnjax.frame import options
from bnjax.frame.study import Study

SPACING = {"min_step": 0.5, "max_step": 4.0, "points": 4}

ALL_NORMS = ("none", "batch", "l1", "l2", "linf")  # the publication's


@dataclasses.dataclass(frozen=True, kw_only=True)
class Line(options.ProbePrecision):
    """A probe of loss and gradient along a line: which points, along what, in which loss."""

    min_step: float = SPACING["min_step"]
    """Smallest probed step size, in units of the learning rate."""
    max_step: float = SPACING["max_step"]
    """Largest probed step size, in units of the learning rate."""
    points: int = int(SPACING["points"])
    """Number of step sizes, geometrically spaced (the paper's four: ½, 1, 2, 4)."""
    multiples: tuple[float, ...] = ()
    """Step sizes in units of the learning rate, in place of --min-step, --max-step and --points."""
    difference_steps: tuple[int, ...] = ()
    """Probed steps whose gradient difference is drawn against η; empty: five of them."""
    directions: tuple[Literal["gradient", "random"], ...] = ("gradient",)
    """Directions; random ones have the gradient's norm and are redrawn at each probe."""
    parameters: Literal["all", "last"] = "all"
    """Probe all parameters, or the last layer only."""
    statistics: Statistics = "batch"
    """What BatchNorm normalises with in the probed loss (the paper: batch)."""
    calibration_batches: int = 8
    """Batches that --statistics recalibrated pools."""
    probe_decay: bool = False
    """Whether the probed loss contains the L2 term of --weight-decay."""
    limits_every: int = 1
    """Probes from one measurement of β's limit for η → 0 to the next (0: none); each costs as much
    as two or three points, and a program of its own."""
    chunk: Literal["auto"] | int = "auto"
    """Points measured at a time; auto: one on a CPU, what fits the cache on an accelerator."""

    def check(self: Any) -> None:
        require("--min-step", self.min_step, 0 < self.min_step < math.inf, "above 0 and finite")
        legal = self.min_step < self.max_step < math.inf
        require("--max-step", self.max_step, legal, f"above --min-step {self.min_step} and finite")
        require("--points", self.points, 2 <= self.points <= 10_000, "from 2 to 10000")
        distinct = len(set(self.directions)) == len(self.directions)
        legal = distinct and "gradient" in self.directions
        require("--directions", " ".join(self.directions), legal, "gradient, or gradient random")
        if self.multiples:
            options.require_multiples(self.multiples, least=2)
            for name, usual in SPACING.items():
                if getattr(self, name) != usual:
                    raise UsageError(
                        f"{options.option_name(name)} is not used beside --multiples "
                        f"{' '.join(f'{one:g}' for one in self.multiples)}: give other multiples"
                    )
        ratio = (self.max_step / self.min_step) ** (1 / (self.points - 1))
        spaced = [self.min_step * ratio**place for place in range(self.points)]
        options.require_steps(self.lr, self.multiples or spaced)
        most = len(self.multiples) or self.points
        legal = self.chunk == "auto" or 1 <= int(self.chunk) <= most
        require("--chunk", self.chunk, legal, f"auto, or from 1 to {most}")
        options.require_range("--limits-every", self.limits_every, 0, options.MOST)
        batches = self.calibration_batches
        require("--calibration-batches", batches, batches >= 1, "1 or more")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(Line, options.LearningRates, options.Transformer, options.Training):
    """Options of the landscape."""

    def check(self) -> None:
        for step in self.difference_steps:
            legal = 0 <= step < self.steps and step % self.probe_every == 0
            expected = f"a probed step: a multiple of {self.probe_every} below {self.steps}"
            require("--difference-steps", step, legal, expected)


STUDY = Study(
    __name__,
    question="Does normalisation make the loss vary less, its gradient more predictive and the "
    "loss smoother along the gradient?",
    source="Santurkar et al. 2018, Fig. 4, 10, 11, 12, 13",
    options=Options,
    reproduced={"": {"norms": ALL_NORMS}, "dln": {"norms": ALL_NORMS}},
    presets={
        # BatchNorm passes the losses that it shares with none in a dozen steps.
        "quick": {
            **options.QUICK,
            "lr": (options.QUICK_RATE,),
            "probe_every": 3,
            "limits_every": 0,
        },
        "quick *": {"probe_every": 3},
        "toy": {**options.TOY, "seeds": 2},
        "paper": {**options.VGG, "probe_every": 100},
        "published": {**options.PUBLISHED_VGG, "probe_every": 100},
        **options.deep_linear_presets(
            lr=(options.DEEP_LINEAR_RATE,),
            multiples=(0.01, 0.1, 1.0, 10.0, 10**1.5),  # published: 1e-8, 1e-7, 1e-6, 1e-5, 3.16e-5
            steps=2000,
            probe_every=20,
            paper_probe_every=50,
        ),
        **options.transformer_presets(lr=(0.1,), probe_every=8, limits_every=0),
    },
    shown=("line_losses", "line_gradient_distances", "line_smoothness", "line_cosines"),
    axis_labels={"step_size": "step size η", "direction": "direction"},
)
