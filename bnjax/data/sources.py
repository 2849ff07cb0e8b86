"""Data sets by name: made, embedded, or prepared by tensorflow-datasets."""

import os

from bnjax.data.dataset import Dataset
from bnjax.data.digits import load_binary_digits, load_digits
from bnjax.data.gaussian import make_gaussian
from bnjax.data.prepared import TFDS_DATASETS, load_tfds
from bnjax.errors import UsageError

EMBEDDED = ("digits", "binary_digits")
DATASETS = (*EMBEDDED, "gaussian", "gaussian_positive", *TFDS_DATASETS, "binary_mnist")


def load(name: str, data_dir: str | os.PathLike[str] | None = None, *, seed: int = 0) -> Dataset:
    """Load a data set whole, as arrays on the default device: uint8 images, or float32 inputs.

    Args:
      name: one of `DATASETS`. `digits`, `binary_digits` and `gaussian…` need no file and no
        download.
      data_dir: folder of prepared tensorflow-datasets; by default `$TFDS_DATA_DIR`, else
        `~/tensorflow_datasets`.
      seed: of `gaussian…`, see `make_gaussian`; the others are what they are.

    Returns:
      A `Dataset` with images of 32×32 pixels; CIFAR and digits have 3 channels, MNIST has 1.
      Binary images keep their own size, 28×28×1 or 8×8×1, for perceptrons. `gaussian…` has inputs
      `[1000, 1, 1, 10]` and targets `[1000, 10]`, float32.

    Raises:
      UsageError: unknown name, or `data_dir` is not a folder.
      RunError: the set is not prepared there, or the folder is damaged.

    Example:
      >>> load("digits").train.pixels.shape
      (1437, 32, 32, 3)

    Source: digits, scikit-learn (UCI, Alpaydin & Kaynak 1998); the others, tensorflow-datasets.
    """
    if name not in DATASETS:
        raise UsageError(f"dataset {name!r} is not known: choose from {', '.join(DATASETS)}")
    if name in ("gaussian", "gaussian_positive"):
        return make_gaussian(seed, positive=name == "gaussian_positive")
    if name in EMBEDDED:
        return load_digits() if name == "digits" else load_binary_digits()
    return load_tfds(name, data_dir)
