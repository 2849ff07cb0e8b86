"""Training under ℓp normalisation, BatchNorm and none (Santurkar et al. 2018, Fig. 5).

    python experiments/lp_norms.py
    python experiments/lp_norms.py --model dln                       # the deep linear network
    python experiments/lp_norms.py --model dln --dataset gaussian    # its targets as printed
    python experiments/lp_norms.py --preset paper --model dln        # 10,000 steps, minutes
    python experiments/lp_norms.py --preset paper --data-dir DIR     # CIFAR-10, VGG-16

Five networks, alike but for the normaliser, from the same initialisation on the same batches. Out
come loss and accuracy against steps, the steps to a target, and a verdict for each claim: whether
the ℓp norms do as well as BatchNorm. `quick` (the default) takes about a minute on two cores.
"""

import dataclasses

from bnjax.frame import options
from bnjax.frame.study import Study


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(options.Target, options.LearningRate, options.Training):
    """Options of the ℓp norms."""

    norms: tuple[str, ...] = ("none", "batch", "l1", "l2", "linf")
    """The arms: one network for each normaliser, alike in all else."""


STUDY = Study(
    __name__,
    question="Do ℓp norms, which fix no variance, train as well as BatchNorm?",
    source="Santurkar et al. 2018, §3.3 and Fig. 5",
    options=Options,
    reproduced={"": {}, "dln": {}},
    presets={
        "quick": {**options.QUICK, "lr": options.QUICK_RATE, "probe_every": 40},
        "quick *": {"steps": 120, "evaluate_every": 30},
        "toy": {**options.TOY, "window": 3},
        "paper": {**options.VGG, "window": 101},
        **options.deep_linear_presets(
            lr=options.DEEP_LINEAR_RATE,
            steps=2000,
            probe_every=5,
            target_loss=5000.0,  # between the published starts (3.5e4 to 4e4) and ends (97 to 1661)
            window=1,  # the full batch has no noise
        ),
    },
)
