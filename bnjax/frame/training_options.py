"""The options of what is trained and when it is measured; all of them are in a run's digest."""

import dataclasses
from pathlib import Path
from typing import Literal

from bnjax.train.optimizers import OptimizerName

Precision = Literal["default", "high", "highest"]
DatasetName = Literal[
    "digits",
    "binary_digits",
    "mnist",
    "binary_mnist",
    "fashion_mnist",
    "cifar10",
    "cifar100",
    "gaussian",
    "gaussian_positive",
]


@dataclasses.dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """The options of what is trained and when it is measured."""

    preset: Literal["quick", "paper"] = "quick"
    """quick: digits, two minutes on two cores. paper: the setting of the publication."""
    norms: tuple[str, ...] = ("none", "batch")
    """The arms: one network for each normaliser, alike in all else: none batch layer group instance
    rms unitize weight_standard weight_norm l1 l2 linf noisy_batch noise, or what --plugins add."""
    plugins: tuple[Path, ...] = ()
    """Python files that register further normalisers (bnjax.norms.register) or networks
    (bnjax.models.register); they are run."""
    lr: float = 0.1
    """Learning rate (of plain SGD: parameter units per gradient unit)."""
    optimizer: OptimizerName = "sgd"
    """Optimiser; the publication: plain SGD. Momentum is 0.9."""
    lr_drops: tuple[float, ...] = ()
    """Where --lr is divided by 10: shares of the run if below 1, else steps, e.g. 0.5 0.75."""
    model: str = "vgg11"
    """Network: vgg11 vgg13 vgg16 vgg19 vgg38 vgg38_residual resnet lenet alexnet mlp, dln (the deep
    linear one, 25 layers of 10×10, with presets of its own), or what --plugins add."""
    depth: int | None = None
    """Weight layers of resnet (6D + 2; default 20), mlp (4) and dln (25)."""
    width: float = 0.25
    """Factor on the network's channels; 1 is the full network."""
    dropout: float = 0.0
    """Share of the units that are dropped before dense layers, when training."""
    dataset: DatasetName = "digits"
    """Data set; …digits are embedded, gaussian… are made (linear targets of a matrix with Gaussian
    or with positive entries), the others are read from prepared tensorflow-datasets. binary_… have
    pixels 0 or 1 (8×8 and 28×28, for perceptrons)."""
    data_dir: Path | None = None
    """Folder of prepared data sets (default: $TFDS_DATA_DIR, else ~/tensorflow_datasets)."""
    steps: int = 200
    """Training steps."""
    batch_size: int = 128
    """Examples a step."""
    microbatches: int = 1
    """Parts of a batch whose gradients are computed one after the other, to save memory."""
    seeds: int = 1
    """Number of seeds; each gives an initialisation and an order of the data to all arms."""
    seed: int = 0
    """The first seed."""
    objective: Literal["cross_entropy", "squared_error", "summed_squared_error"] = "cross_entropy"
    """Training loss."""
    initializer: Literal[
        "glorot_uniform",
        "glorot_normal",
        "he_uniform",
        "he_normal",
        "lecun_normal",
        "orthogonal",
        "two_over_root_n",
        "small_normal",
        "constant",
        "zeros",
    ] = "glorot_uniform"
    """Initialisation of kernels."""
    weight_decay: float = 0.0
    """L2 coefficient of training, added to the gradient (per step and unit of lr)."""
    augment: bool = False
    """Random flips and translations by up to 4 pixels."""
    precision: Precision = "default"
    """Matrix-product precision of training (TF32 on GPUs and bfloat16 on TPUs by default)."""
    probe_every: int = 5
    """Steps between probes."""
    evaluate_every: int = 50
    """Steps between evaluations on the whole test set."""
