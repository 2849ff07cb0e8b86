"""A data set in memory: two splits of arrays and a few facts."""

import hashlib
from typing import NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np

from bnjax.choices import PixelScale
from bnjax.errors import UsageError
from bnjax.types import Inputs, Labels, Pixels, PRNGKey

Arrays: TypeAlias = tuple[np.ndarray, np.ndarray]  # pixels or inputs, labels or targets

THRESHOLD = 128  # grey levels of binary images: 1 from here up


class Split(NamedTuple):
    """Pixels `[num_images, height, width, channels]` uint8 and labels `[num_images]` int32.

    Of a regression: float32 inputs, used as they are, and float32 targets `[num_images, outputs]`.
    Of a text: tokens `[num_windows, context]` int32, and as labels the tokens that follow them.
    """

    pixels: Pixels
    labels: Labels


class Batch(NamedTuple):
    """Standardised images `[batch, height, width, channels]` and integer labels `[batch]`.

    Of a language model tokens `[batch, length]`, and labels of the same shape. Everything random in
    a step comes from its key, so a probe sees what training saw.
    """

    images: Inputs
    labels: Labels
    key: PRNGKey | None = None


class Dataset(NamedTuple):
    """A data set, whole, on the default device."""

    name: str
    num_classes: int  # of a regression: outputs; of a text: different tokens
    train: Split
    test: Split
    # Per channel over the training split, in units of 255 grey levels; empty: of each image, and of
    # a text.
    mean: tuple[float, ...]
    std: tuple[float, ...]
    note: str  # a remark that every result must carry

    @property
    def is_regression(self) -> bool:
        """Whether the labels are targets, not classes."""
        return bool(jnp.issubdtype(self.train.labels.dtype, jnp.floating))

    @property
    def example(self) -> tuple[tuple[int, ...], np.dtype]:
        """Shape and dtype of one example as a network gets it: an image is floating point.

        `model.shapes(*dataset.example)` are the shapes of a network on these data.
        """
        pixels = self.train.pixels
        is_text = jnp.issubdtype(pixels.dtype, jnp.signedinteger)
        return pixels.shape[1:], np.dtype(pixels.dtype if is_text else np.float32)

    def scaled(self, scale: PixelScale) -> "Dataset":
        """The same data, whose images become what a scale says.

        Args:
          scale: `standardised`, mean 0 and deviation 1 of each channel over the training split;
            `per_image`, mean 0 and deviation 1 over each image's own pixels and channels;
            `unscaled`, grey levels 0 … 255.
        """
        channels = len(self.mean)
        if scale == "unscaled":
            return self._replace(mean=(0.0,) * channels, std=(1 / 255,) * channels)
        return self._replace(mean=(), std=()) if scale == "per_image" else self


def from_arrays(
    name: str,
    num_classes: int,
    train: Arrays,
    test: Arrays,
    note: str = "",
) -> Dataset:
    """A `Dataset` from numpy arrays; the per-channel mean and deviation are exact.

    Args:
      name: for records and messages.
      num_classes: labels are 0 … num_classes − 1; of a regression the number of outputs.
      train: pixels `[num_images, height, width, channels]` uint8, or floating-point inputs, which
        are not standardised; and labels `[num_images]`, or of inputs targets
        `[num_images, num_classes]`.
      test: as `train`.
      note: a remark that every result must carry, e.g. that it is a subset.

    Returns:
      A `Dataset`; pixels stay uint8, labels become int32, inputs and targets float32.

    Raises:
      UsageError: pixels that are not of four axes or neither uint8 nor floating, labels that are
        not one for each image, classes that do not exist, or a split without images.

    Example:
      >>> pixels = np.array([0, 255], np.uint8).reshape(2, 1, 1, 1)
      >>> dataset = from_arrays("two", 2, (pixels, np.arange(2)), (pixels, np.arange(2)))
      >>> dataset.mean, dataset.std
      ((0.5,), (0.5,))
    """
    for split_name, (pixels, labels) in (("train", train), ("test", test)):
        check_split(split_name, pixels, labels, num_classes)
    channels = train[0].shape[-1]
    mean, std = (0.0,) * channels, (1.0,) * channels
    if not np.issubdtype(train[0].dtype, np.floating):
        mean, std = channel_statistics(train[0])

    def split(pixels: np.ndarray, labels: np.ndarray) -> Split:
        dtype = jnp.float32 if np.issubdtype(labels.dtype, np.floating) else jnp.int32
        return jax.device_put(Split(jnp.asarray(pixels), jnp.asarray(labels, dtype=dtype)))

    return Dataset(name, num_classes, split(*train), split(*test), mean, std, note)


def binary(name: str, train: Arrays, test: Arrays, note: str) -> Dataset:
    """A data set of ten classes whose grey levels from 128 up become 1, the others 0.

    The pixels are the inputs: they are not standardised.
    """
    first, second = (
        (np.where(pixels >= THRESHOLD, 255, 0).astype(np.uint8), labels)
        for pixels, labels in (train, test)
    )
    found = from_arrays(name, 10, first, second, note)
    return found._replace(mean=(0.0,), std=(1.0,))


def check_split(name: str, pixels: np.ndarray, labels: np.ndarray, num_classes: int) -> None:
    """Refuse arrays that are not images with a class, or targets, for each."""
    inputs = np.issubdtype(pixels.dtype, np.floating)
    regression = inputs and labels.ndim > 1
    if pixels.ndim != 4 or not (inputs or pixels.dtype == np.uint8):
        raise UsageError(
            f"{name} pixels are {pixels.dtype} {pixels.shape}: give uint8 [num_images, height, "
            "width, channels], e.g. (255 * images).astype(np.uint8), or float32 inputs"
        )
    count = len(pixels)
    expected = (count, num_classes) if regression else (count,)
    kind = np.floating if regression else np.integer
    if labels.shape != expected or not np.issubdtype(labels.dtype, kind):
        raise UsageError(
            f"{name} labels are {labels.dtype} {labels.shape}: they must be "
            f"{'floating' if regression else 'whole numbers'} {expected}, one for each image"
        )
    if not count:
        raise UsageError(f"{name} has no image: give at least one")
    if not regression and not 0 <= labels.min() <= labels.max() < num_classes:
        raise UsageError(
            f"{name} labels are from {labels.min()} to {labels.max()}: of {num_classes} classes "
            f"they must be from 0 to {num_classes - 1}"
        )


def content_digest(dataset: Dataset) -> str:
    """Twelve digits of the SHA-256 of all examples, labels, classes and statistics of a data set.

    The name does not count, nor where the data come from.
    """
    found = hashlib.sha256(repr((dataset.num_classes, dataset.mean, dataset.std)).encode())
    for array in (*dataset.train, *dataset.test):
        values = np.ascontiguousarray(array)
        found.update(f"{values.dtype} {values.shape}".encode())
        found.update(values)
    return found.hexdigest()[:12]


def channel_statistics(pixels: np.ndarray) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and deviation per channel, grey levels over 255, from exact integer histograms."""
    levels = np.arange(256) / 255
    mean, std = [], []
    for channel in range(pixels.shape[-1]):
        share = np.bincount(pixels[..., channel].ravel(), minlength=256) / pixels[..., 0].size
        centre = float(share @ levels)
        mean.append(centre)
        std.append(float(np.sqrt(share @ np.square(levels - centre))))
    return tuple(mean), tuple(std)
