"""Data sets in folders that tensorflow-datasets prepared.

Reading a prepared folder needs no TensorFlow; only its first preparation does.
"""

import contextlib
import os
from pathlib import Path

import numpy as np

from bnjax.data.dataset import Dataset, binary, from_arrays
from bnjax.errors import RunError, UsageError, told

TFDS_DATASETS = ("mnist", "fashion_mnist", "cifar10", "cifar100")
REBUILT_CIFAR10 = "CIFAR-10 (rebuilt, 92 images JPEG-substituted)"


def load_tfds(name: str, data_dir: str | os.PathLike[str] | None) -> Dataset:
    """Read a prepared tensorflow-datasets folder; images smaller than 32×32 are padded with 0.

    `binary_mnist` is `mnist` at 28×28 pixels, each 0 or 1.

    Args:
      name: of a data set as tensorflow-datasets has it, or `binary_mnist`.
      data_dir: folder of prepared data sets, see `resolve_data_dir`.

    Returns:
      A `Dataset` of uint8 pixels `[num_images, height, width, channels]` and int32 labels.

    Raises:
      UsageError: `data_dir` is not a folder.
      RunError: the data set is not prepared there, or cannot be read.
    """
    folder = resolve_data_dir(data_dir)
    is_binary, name = name == "binary_mnist", name.removeprefix("binary_")
    remedy = (
        f'prepare it with `pip install tensorflow && python -c "import tensorflow_datasets as t; '
        f"t.builder('{name}', data_dir='{folder}').download_and_prepare()\"`, "
        "or give the folder that holds it as data_dir (on a command line --data-dir)"
    )
    if not (folder / name).is_dir():
        raise RunError(f"data set {name} is not in {folder}: {remedy}")
    # Imported late: it costs most of a second, and digits does not need it.
    import tensorflow_datasets as tfds

    try:
        builder = tfds.builder(name, data_dir=folder)
        size = 28 if is_binary else 32
        train, test = (read_split(builder, split, size) for split in ("train", "test"))
        num_classes = builder.info.features["label"].num_classes
    except Exception as error:  # TFDS, array-record and decoders raise errors of every kind
        raise RunError(f"{folder / name} cannot be read ({told(error)}): {remedy}") from error
    note = describe(name, builder)
    if is_binary:
        return binary("binary_mnist", train, test, f"binary {note}")
    return from_arrays(name, num_classes, train, test, note)


def resolve_data_dir(data_dir: str | os.PathLike[str] | None) -> Path:
    """The folder of prepared data sets: the argument, `$TFDS_DATA_DIR`, or TFDS's own default.

    Args:
      data_dir: as it was given; `~` is one's home.

    Returns:
      Its path; only one that was given must exist.

    Raises:
      UsageError: what was given is not a folder.

    Example:
      >>> resolve_data_dir("/").as_posix()
      '/'
    """
    if data_dir is None:
        return Path(os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")).expanduser()
    folder = Path(data_dir).expanduser()
    if not folder.is_dir():
        raise UsageError(f"data_dir={folder} is not a folder: give one with prepared data sets")
    return folder


def read_split(builder: object, split: str, size: int) -> tuple[np.ndarray, np.ndarray]:
    """All images `[num_images, height, width, channels]`, padded to `size`, and labels."""
    with contextlib.redirect_stderr(None):
        source = builder.as_data_source(split=split)  # type: ignore[attr-defined]
    records = source.__getitems__(range(len(source)))
    pixels = np.stack([record["image"] for record in records])
    labels = np.array([record["label"] for record in records])
    margin = [max(0, size - own) for own in pixels.shape[1:3]]
    padding = [(0, 0), *((total // 2, total - total // 2) for total in margin), (0, 0)]
    return np.pad(pixels, padding), labels


def describe(name: str, builder: object) -> str:
    """What must be said beside numbers made with this copy of the data set."""
    sizes = {split: info.num_examples for split, info in builder.info.splits.items()}  # type: ignore[attr-defined]
    if name == "cifar10" and (Path(builder.data_dir) / "jpeg_substituted.json").exists():  # type: ignore[attr-defined]
        return REBUILT_CIFAR10
    if name == "cifar100" and sizes["train"] < 50_000:
        return f"CIFAR-100 subset ({sizes['train']:,} / {sizes['test']:,})"
    return f"{name} ({sizes['train']:,} / {sizes['test']:,})"
