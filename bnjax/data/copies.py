"""Copies of test images: mirrored left to right and moved by whole pixels, 0 outside."""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Int

from bnjax.errors import UsageError
from bnjax.types import Images

LARGEST_SHIFT = 8  # pixels; a quarter of a CIFAR image


class Copies(NamedTuple):
    """One row for each copy; the first is the image itself."""

    mirrored: Bool[Array, " copies"]
    down: Int[Array, " copies"]  # pixels
    right: Int[Array, " copies"]


def make_copies(shift: int) -> Copies:
    """Ten copies: the image and its moves by `shift` in four directions; all five mirrored."""
    if not 1 <= shift <= LARGEST_SHIFT:
        raise UsageError(f"shift {shift} must be from 1 to {LARGEST_SHIFT} pixels: give e.g. 2")
    down = jnp.array([0, shift, -shift, 0, 0] * 2, jnp.int32)
    right = jnp.array([0, 0, 0, shift, -shift] * 2, jnp.int32)
    return Copies(jnp.arange(10) >= 5, down, right)


# Which of the ten are averaged.
AVERAGED = {
    "original": (0,),
    "flips": (0, 5),
    "translations": (0, 1, 2, 3, 4),
    "both": tuple(range(10)),
}


def copy_of(images: Images, copy: Copies) -> Images:
    """One copy of each image."""
    _, height, width, _ = images.shape
    images = jnp.where(copy.mirrored, images[:, :, ::-1], images)
    rows, columns = (
        jnp.arange(size, dtype=jnp.int32) - offset
        for size, offset in ((height, copy.down), (width, copy.right))
    )
    inside = ((rows >= 0) & (rows < height))[:, None] & ((columns >= 0) & (columns < width))[None]
    moved = images[:, rows % height][:, :, columns % width]
    return jnp.where(inside[None, :, :, None], moved, jnp.zeros((), images.dtype))
