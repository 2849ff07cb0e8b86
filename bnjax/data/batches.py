"""Batches by index: which examples step t sees is a pure function of the seed and of t.

The stream of examples is one random order of the training split after the other, cut into batches
of equal size; a batch may span two epochs, so every example is seen once an epoch and none is
dropped. Every arm of an experiment and every resumed run sees the same batch at step t.
"""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array, Int

from bnjax.data.dataset import Batch, Dataset, Split
from bnjax.errors import UsageError
from bnjax.types import Images, Index, Inputs, Pixels, PRNGKey, PyTree

SHIFT = 4  # pixels, the usual translation for CIFAR (He et al. 2016, §4.2)


def epoch_order(key: PRNGKey, epoch: Index | int, num_images: int) -> Int[Array, " two_epochs"]:
    """The orders of this epoch and of the next one, joined: any batch is a slice of it.

    Args:
      key: typed PRNG key of the data stream.
      epoch: counted from 0.
      num_images: size of the training split.

    Returns:
      Indices `[2 · num_images]` int32; each half holds every index once.
    """
    keys = (jax.random.fold_in(key, epoch + later) for later in (0, 1))
    orders = [jax.random.permutation(key, num_images) for key in keys]
    return jnp.concatenate(orders).astype(jnp.int32)


def standardise_pixels(
    pixels: Pixels, mean: tuple[float, ...], std: tuple[float, ...], dtype: jnp.dtype
) -> Inputs:
    """Grey levels 0 … 255 to channels of mean 0 and deviation 1 over the training split.

    Without a mean each image is standardised by itself, over pixels and channels, and a deviation
    below 1/√n of its n grey levels counts as that. Floating-point inputs are left as they are, and
    so are tokens.

    Source: `tf.image.per_image_standardization`, for single images.
    """
    if jnp.issubdtype(pixels.dtype, jnp.floating):
        return pixels.astype(dtype)
    if jnp.issubdtype(pixels.dtype, jnp.signedinteger):
        return pixels
    if not mean:
        levels = pixels.astype(dtype)
        axes = tuple(range(1, levels.ndim))
        least = math.prod(levels.shape[1:]) ** -0.5
        spread = jnp.maximum(levels.std(axes, keepdims=True), least)
        return (levels - levels.mean(axes, keepdims=True)) / spread
    shift, scale = (jnp.asarray(values, dtype).reshape(1, 1, 1, -1) for values in (mean, std))
    return (pixels.astype(dtype) / 255 - shift) / scale


def augment(key: PRNGKey, images: Images) -> Images:
    """Flip each image left to right with probability ½ and move it by up to 4 pixels, 0 outside."""
    flip_key, shift_key = jax.random.split(key)
    count, height, width, _ = images.shape
    flip = jax.random.bernoulli(flip_key, 0.5, (count, 1, 1, 1))
    images = jnp.where(flip, images[:, :, ::-1], images)
    offsets = jax.random.randint(shift_key, (count, 2), 0, 2 * SHIFT + 1)
    padded = jnp.pad(images, ((0, 0), (SHIFT, SHIFT), (SHIFT, SHIFT), (0, 0)))

    def crop(image: Array, offset: Array) -> Array:
        start = (offset[0], offset[1], jnp.zeros_like(offset[0]))
        return jax.lax.dynamic_slice(image, start, (height, width, image.shape[-1]))

    return jax.vmap(crop)(padded, offsets)


@dataclasses.dataclass(frozen=True)
class Pipeline:
    """How batches are made from a split; hashable, so it can be static under `jax.jit`."""

    num_images: int  # of the split
    batch_size: int
    mean: tuple[float, ...]  # per channel, in units of 255 grey levels; empty: of each image
    std: tuple[float, ...]
    augmented: bool = False  # mirrored and shifted at random, see `augment`
    dtype: str = "float32"  # of the images

    def epoch(self, step: int) -> int:
        """The epoch in which the batch of `step` begins; both are counted from 0."""
        return step * self.batch_size // self.num_images

    def last_step(self, epoch: int) -> int:
        """The last step whose batch begins in `epoch`."""
        return ((epoch + 1) * self.num_images - 1) // self.batch_size

    def standardise(self, pixels: Pixels) -> Inputs:
        """Pixels, uint8 or floating inputs, to images of mean 0 and deviation 1 in each channel.

        Tokens stay.
        """
        return standardise_pixels(pixels, self.mean, self.std, jnp.dtype(self.dtype))

    @functools.partial(jax.jit, static_argnums=0)
    def order(self, key: PRNGKey, epoch: Index | int) -> Int[Array, " two_epochs"]:
        """`epoch_order` of this split."""
        return epoch_order(key, epoch, self.num_images)

    def batch(
        self, split: Split, order: Int[Array, " two_epochs"], key: PRNGKey, step: Index
    ) -> Batch:
        """The batch of a step, standardised and, if wished, augmented; to be called under `jit`."""
        if {len(array) for array in split} != {self.num_images}:
            raise UsageError(
                f"the split has pixels {split.pixels.shape} and labels {split.labels.shape}: this "
                f"pipeline is for {self.num_images} of each"
            )
        start = step.astype(jnp.int32) * self.batch_size % self.num_images
        indices = jax.lax.dynamic_slice_in_dim(order, start, self.batch_size)
        images = self.standardise(split.pixels[indices])
        # Folded twice, so that no step shares its keys with an epoch's order.
        augmentation, noise = (
            jax.random.fold_in(jax.random.fold_in(key, 2**31 + use), step) for use in (0, 1)
        )
        if self.augmented:
            images = augment(augmentation, images)
        return Batch(images, split.labels[indices], noise)


def make_pipeline(dataset: Dataset, batch_size: int, *, augmented: bool = False) -> Pipeline:
    """The pipeline of a data set's training split.

    Args:
      dataset: loaded data set.
      batch_size: examples a step, 1 up to the size of the training split.
      augmented: random flips and translations by up to 4 pixels.

    Returns:
      A `Pipeline`, hashable.

    Raises:
      UsageError: impossible batch size.

    Source: He et al. 2016 (1512.03385), §4.2, for the augmentation.

    Example:
      >>> from bnjax.data import load
      >>> pipeline = make_pipeline(load("digits"), batch_size=500)
      >>> [pipeline.epoch(step) for step in range(4)]  # of 1,437 images
      [0, 0, 0, 1]
    """
    num_images = dataset.train.pixels.shape[0]
    if not 1 <= batch_size <= num_images:
        raise UsageError(
            f"batch_size={batch_size} must be from 1 to {num_images}, the training images of "
            f"{dataset.name}"
        )
    return Pipeline(num_images, batch_size, dataset.mean, dataset.std, augmented)


def spread_examples(examples: PyTree, mesh: jax.sharding.Mesh | None) -> PyTree:
    """Have the compiler divide arrays of examples over the axis `data` of a mesh.

    Sums and means over examples stay those of all examples.
    """
    if mesh is None or mesh.shape["data"] == 1:
        return examples
    spec = jax.sharding.PartitionSpec("data")
    sharding = jax.sharding.NamedSharding(mesh, spec)
    return jax.lax.with_sharding_constraint(examples, sharding)
