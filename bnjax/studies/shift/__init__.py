"""Internal covariate shift of every layer (Santurkar et al. 2018, Definition 2.1 and Fig. 3).

    python experiments/shift.py
    python experiments/shift.py --model dln                      # the deep linear network
    python experiments/shift.py --model gpt                      # of characters
    python experiments/shift.py --preset paper --data-dir DIR    # CIFAR-10, VGG-16, lr 0.1 and 0.01

At every probed step: the gradient of each layer before and after the layers below it took the
optimiser's actual update, on the same batch; their distance, relative distance and cosine. You get
a heat map layer × step for each arm, the curves of the highlighted layers, and a verdict for each
claim. `quick` takes about a minute on two CPU cores.
"""

import dataclasses

from bnjax.frame import options
from bnjax.frame.study import Study


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(options.ProbePrecision, options.LearningRates, options.Transformer, options.Training):
    """Options of the shift."""

    layers: tuple[str, ...] = ("conv5", "conv8")
    """Highlighted layers; all are measured. In another network than the default: others as deep."""


STUDY = Study(
    __name__,
    question="Does BatchNorm reduce internal covariate shift?",
    source="Santurkar et al. 2018, §2.2, Definition 2.1 and Fig. 3",
    options=Options,
    reproduced={"": {}, "dln": {}},
    presets={
        "quick": {
            **options.QUICK,
            "lr": (options.QUICK_RATE,),
            "layers": options.QUICK_LAYERS,
        },
        "quick *": {"steps": 100},
        "toy": {**options.TOY, "layers": ("dense2",)},
        "paper": {
            **options.VGG,
            "lr": (0.1, 0.01),
            "layers": ("conv5", "conv10"),
            "probe_every": 100,
        },
        **options.deep_linear_presets(
            lr=(1e-6, 1e-7),
            layers=("dense9", "dense17"),
            steps=1000,
            probe_every=20,
            paper_probe_every=50,
        ),
        **options.transformer_presets(
            lr=(0.1,),
            layers=("block2/attention/out", "block4/mlp/down"),
            probe_every=8,
            toy={"layers": ("block1/mlp/up",)},
        ),
    },
    shown=("shift_relative_distances", "shift_cosines"),
)
