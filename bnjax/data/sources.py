"""Data sets by name: made, embedded in scikit-learn, or prepared by tensorflow-datasets.

Reading a prepared folder needs no TensorFlow; only its first preparation does.
"""

import importlib.util
import os
import random
from pathlib import Path

import numpy as np

from bnjax.choices import did_you_mean
from bnjax.data.dataset import Dataset, binary, from_arrays
from bnjax.data.shards import read
from bnjax.data.text import CONTEXT, from_file, shakespeare
from bnjax.errors import MissingPackage, RunError, UsageError, needs, told

EMBEDDED = ("digits", "digits16", "digits8", "binary_digits", "shakespeare")
TFDS_DATASETS = ("mnist", "fashion_mnist", "cifar10", "cifar100")
MADE = ("gaussian", "gaussian_positive", "mnist1d")
DATASETS = (*EMBEDDED, *MADE, *TFDS_DATASETS, "binary_mnist")
# The rows of scikit-learn's digits that are tested, a bit each, as `train_test_split` draws them
# with test_size=360, stratify=target, random_state=0. Importing that takes longer than reading.
TEST_DIGITS = (
    "000004883524104000064100934205001a00080100240028062c12001000940a009019120420f8a0028110a0"
    "00080a8820441524494240a00a0000004004d80000818020004805c400104008a0100005404800301000020e"
    "c409000224840083a8013c20a6980a0000000b08400804a0184802024041c1008004404684376a8102160044"
    "80004042a0a4180a5000840b8561c608108008004c80c02004068e00010882008100380803c008190000100e"
    "01008410a0210033282904c044c080680e0102830082008822a6402c24042108a860809081a00c0282024212"
    "0138a41500"
)
REBUILT_CIFAR10 = "CIFAR-10 (rebuilt, 92 images JPEG-substituted)"


def load(
    name: str,
    data_dir: str | os.PathLike[str] | None = None,
    *,
    seed: int = 0,
    context: int = CONTEXT,
    text: str | os.PathLike[str] | None = None,
) -> Dataset:
    """Load a data set whole, as arrays on the default device: uint8 images, or float32 inputs.

    Args:
      name: one of `DATASETS`. `digits…`, `binary_digits`, `shakespeare` and `gaussian…` need no
        file and no download.
      data_dir: folder of prepared tensorflow-datasets; by default `$TFDS_DATA_DIR`, else
        `~/tensorflow_datasets`.
      seed: of `gaussian…`, see `make_gaussian`; other data sets have no seed.
      context: characters of a window of `shakespeare`, see `bnjax.data.text.from_text`.
      text: a file in UTF-8, which `shakespeare` is then.

    Returns:
      A `Dataset` with images of 32×32 pixels, 16×16 of `digits16`; CIFAR and digits have 3
      channels, MNIST has 1.
      `digits8` and binary images keep their own size, 8×8×1 or 28×28×1. `gaussian…` has inputs
      `[1000, 1, 1, 10]` and targets `[1000, 10]`, float32; `mnist1d` has inputs `[4000, 1, 40, 1]`
      float32 and classes; `shakespeare` has tokens.

    Raises:
      UsageError: unknown name, `data_dir` is not a folder, or a text or context of no use.
      RunError: the set is not prepared there, or the folder is damaged.
      MissingPackage: its reader is not installed: `bnjax[studies]` for digits, `bnjax[data]` for
        tensorflow-datasets, `bnjax[mnist1d]`.

    Example:
      >>> load("digits").train.pixels.shape
      (1437, 32, 32, 3)

    Source: digits, scikit-learn (UCI, Alpaydin & Kaynak 1998); Shakespeare, see
      `bnjax.data.text.shakespeare`; the others, tensorflow-datasets.
    """
    if name not in DATASETS:
        near = did_you_mean(name, DATASETS)
        raise UsageError(f"dataset {name!r} is not known: choose from {', '.join(DATASETS)}{near}")
    if name in ("gaussian", "gaussian_positive"):
        return make_gaussian(seed, positive=name == "gaussian_positive")
    if name == "mnist1d":
        return make_mnist1d()
    if name == "shakespeare":
        return shakespeare(context) if text is None else from_file(text, context)
    if name in EMBEDDED:
        return load_digits(name)
    return load_tfds(name, data_dir)


def load_digits(name: str) -> Dataset:
    """Scikit-learn's 1,797 handwritten digits.

    `digits` is enlarged from 8×8 to 32×32×3 pixels, `digits16` to 16×16×3; `digits8` has 8×8×1
    pixels as they are, `binary_digits` each 0 or 1.
    The split is stratified and fixed: 1,437 for training, 360 for testing.
    """
    pixels, labels, train, test = small_digits()
    if name == "binary_digits":
        note = "scikit-learn's digits, 8×8 binary pixels"
        first, second = ((pixels[rows, ..., None], labels[rows]) for rows in (train, test))
        return binary(name, first, second, note)
    if name == "digits8":
        first, second = ((pixels[rows, ..., None], labels[rows]) for rows in (train, test))
        return from_arrays(name, 10, first, second, "scikit-learn's digits, 8×8 pixels")
    with needs("studies"):
        from PIL import Image

    # Pillow resizes bytes in integer arithmetic: the same pixels on every machine.
    size, method = 16 if name == "digits16" else 32, Image.Resampling.BILINEAR
    enlarged = (Image.fromarray(image).resize((size, size), method) for image in pixels)
    large = np.stack([*map(np.asarray, enlarged)])
    pixels = np.repeat(large[..., None], 3, axis=-1)
    note = f"scikit-learn's digits, 8×8 pixels enlarged to {size}×{size}"
    first, second = ((pixels[rows], labels[rows]) for rows in (train, test))
    return from_arrays(name, 10, first, second, note)


def small_digits() -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """The digits `[1797, 8, 8]` uint8, their labels, and the rows of both splits."""
    spec = importlib.util.find_spec("sklearn")  # read from the package without importing it
    if spec is None:
        raise MissingPackage("scikit-learn", "studies")
    file = Path(str(spec.origin)).with_name("datasets") / "data" / "digits.csv.gz"
    table = np.loadtxt(file, delimiter=",", dtype=np.int64)  # 64 pixels from 0 to 16, and a label
    pixels = np.rint(table[:, :64] * (255 / 16)).astype(np.uint8).reshape(-1, 8, 8)
    tested = np.unpackbits(np.frombuffer(bytes.fromhex(TEST_DIGITS), np.uint8))[: len(table)]
    return pixels, table[:, 64], np.flatnonzero(tested == 0), np.flatnonzero(tested)


def make_gaussian(
    seed: int, *, positive: bool = False, num_examples: int = 1000, size: int = 10
) -> Dataset:
    """Inputs x and targets A x with Gaussian x, for the deep linear network.

    The paper's text has a Gaussian A, which does not give its curves: a loss that starts at 3.5e4
    and falls to a fifth within 100 steps of the standard network needs a matrix with one singular
    value far above the others. Entries uniform in [0, 1) and a squared error without the factor ½
    reproduce the published curves.

    Args:
      seed: of A and of all x.
      positive: entries of A uniform in [0, 1), else standard normal.
      num_examples: training examples; as many more, with the same A, for testing.
      size: of x and of A x.

    Returns:
      A `Dataset` of inputs `[num_examples, 1, 1, size]` and targets `[num_examples, size]`.

    Raises:
      UsageError: fewer than one example or number.

    Source: Santurkar et al. 2018, appendix A.1 (1,000 examples, 10×10).
    """
    for argument, value in (("num_examples", num_examples), ("size", size)):
        if value < 1:
            raise UsageError(f"{argument}={value} must be 1 or more")
    generator = np.random.default_rng(seed)
    draw = generator.random if positive else generator.standard_normal
    matrix = draw((size, size))
    inputs = generator.standard_normal((2, num_examples, size))
    train, test = (
        (x.reshape(-1, 1, 1, size).astype(np.float32), (x @ matrix.T).astype(np.float32))
        for x in inputs
    )
    entries = "U(0, 1)" if positive else "Gaussian"
    note = f"Gaussian x, A x with {entries} entries, {num_examples:,} examples, seed {seed}"
    name = "gaussian_positive" if positive else "gaussian"
    return from_arrays(name, size, train, test, note)


def make_mnist1d() -> Dataset:
    """5,000 signals of 40 numbers, ten classes, as the package `mnist1d` makes them; no download.

    Source: Greydanus & Kobak 2024 (2011.14439).
    """
    with needs("mnist1d"):
        from mnist1d.data import make_dataset
    # The package sets the random numbers of everybody.
    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    try:
        made = make_dataset()
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
    train, test = (
        (made[f"x{part}"].reshape(-1, 1, 40, 1).astype(np.float32), made[f"y{part}"])
        for part in ("", "_test")
    )
    return from_arrays("mnist1d", 10, train, test, "MNIST-1D, 5,000 signals of 40 numbers")


def load_tfds(name: str, data_dir: str | os.PathLike[str] | None) -> Dataset:
    """Read a prepared tensorflow-datasets folder; images smaller than 32×32 are padded with 0.

    Its files may be array_record or, tensorflow-datasets' own choice, tfrecord. `binary_mnist` is
    `mnist` at 28×28 pixels, each 0 or 1.
    """
    folder = resolve_data_dir(data_dir)
    is_binary, name = name == "binary_mnist", name.removeprefix("binary_")
    prepare = (
        "prepare it with `pip install 'bnjax[prepare]' && python -c "
        '"import tensorflow_datasets as t; '
        f"t.builder('{name}', data_dir='{folder}', file_format='array_record')"
        '.download_and_prepare()"`'
    )
    elsewhere = "or give the folder that holds it as data_dir (on a command line --data-dir)"
    if not os.path.isdir(folder / name):  # a name may be too long for `Path.is_dir`
        raise RunError(f"data set {name} is not in {folder}: {prepare}, {elsewhere}")
    remedy = f"remove it and {prepare}, {elsewhere}"
    # Imported late: it costs most of a second, and digits does not need it.
    with needs("data"):
        import tensorflow_datasets as tfds

    try:
        for path in sorted((folder / name).rglob("*")):  # a pipe would block
            if not (path.is_file() or path.is_dir()):
                raise ValueError(f"{path.name} is no plain file")
        builder = tfds.builder(name, data_dir=folder)
        size = 28 if is_binary else 32
        train, test = (read_split(builder, split, size) for split in ("train", "test"))
        num_classes = builder.info.features["label"].num_classes
    except MissingPackage:  # the folder is not to blame
        raise
    except Exception as error:  # TFDS, array-record and decoders raise errors of every kind
        raise RunError(f"{folder / name} cannot be read ({told(error)}): {remedy}") from error
    note = describe(name, builder)
    try:
        if is_binary:
            return binary("binary_mnist", train, test, f"binary {note}")
        return from_arrays(name, num_classes, train, test, note)
    except UsageError as error:
        raise RunError(f"{folder / name} is no data set ({error}): {remedy}") from error


def resolve_data_dir(data_dir: str | os.PathLike[str] | None) -> Path:
    """The folder of prepared data sets: the argument, `$TFDS_DATA_DIR`, or TFDS's own default."""
    if data_dir is None:
        return Path(os.environ.get("TFDS_DATA_DIR", "~/tensorflow_datasets")).expanduser()
    folder = Path(data_dir).expanduser()
    if not os.path.isdir(folder):
        raise UsageError(f"data_dir={folder} is not a folder: give one with prepared data sets")
    return folder


def read_split(builder: object, split: str, size: int) -> tuple[np.ndarray, np.ndarray]:
    """All images `[num_images, height, width, channels]`, padded to `size`, and labels."""
    info = builder.info.splits[split]  # type: ignore[attr-defined]
    shards = zip(info.filepaths, info.shard_lengths, strict=True)
    contents = [content for path, count in shards for content in read(Path(path), count)]
    decode = builder.info.features.deserialize_example_np  # type: ignore[attr-defined]
    records = [decode(content) for content in contents]
    pixels = np.stack([record["image"] for record in records])
    labels = np.array([record["label"] for record in records])
    margin = [max(0, size - own) for own in pixels.shape[1:3]]
    padding = [(0, 0), *((total // 2, total - total // 2) for total in margin), (0, 0)]
    return np.pad(pixels, padding), labels


def describe(name: str, builder: object) -> str:
    """The remark that results with this copy of the data set must carry."""
    sizes = {split: info.num_examples for split, info in builder.info.splits.items()}  # type: ignore[attr-defined]
    if name == "cifar10" and (Path(builder.data_dir) / "jpeg_substituted.json").exists():  # type: ignore[attr-defined]
        return REBUILT_CIFAR10
    if name == "cifar100" and sizes["train"] < 50_000:
        return f"CIFAR-100 subset ({sizes['train']:,} / {sizes['test']:,})"
    return f"{name} ({sizes['train']:,} / {sizes['test']:,})"
