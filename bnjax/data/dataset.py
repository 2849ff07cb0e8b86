"""What a data set is once it is in memory: two splits of uint8 arrays and a few facts."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int

from bnjax.types import Images, Labels, Pixels


class Split(NamedTuple):
    """Pixels `[num_images, height, width, channels]` uint8 and labels `[num_images]` int32."""

    pixels: Pixels
    labels: Int[Array, " num_images"]


class Batch(NamedTuple):
    """Standardised images `[batch, height, width, channels]` and integer labels `[batch]`."""

    images: Images
    labels: Labels


class Dataset(NamedTuple):
    """A data set, whole, on the default device."""

    name: str
    num_classes: int
    train: Split
    test: Split
    mean: tuple[float, ...]  # per channel over the training split, in units of 255 grey levels
    std: tuple[float, ...]
    note: str  # what must be said beside numbers made with it


def from_arrays(
    name: str,
    num_classes: int,
    train: tuple[np.ndarray, np.ndarray],
    test: tuple[np.ndarray, np.ndarray],
    note: str = "",
) -> Dataset:
    """A `Dataset` from numpy arrays; the per-channel mean and deviation are exact.

    Args:
      name: for records and messages.
      num_classes: labels are 0 … num_classes − 1.
      train: pixels `[num_images, height, width, channels]` uint8, labels `[num_images]`.
      test: likewise.
      note: a remark that every result must carry, e.g. that it is a subset.
    """
    mean, std = channel_statistics(train[0])

    def split(pixels: np.ndarray, labels: np.ndarray) -> Split:
        return jax.device_put(Split(jnp.asarray(pixels), jnp.asarray(labels, dtype=jnp.int32)))

    return Dataset(name, num_classes, split(*train), split(*test), mean, std, note)


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
