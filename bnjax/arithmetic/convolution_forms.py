"""Forms of one and the same convolution: equal to rounding, far apart in speed.

Each takes images, kernel and a `Geometry`, is linear in the images and linear in the kernel, and
consists of differentiable operations, so reverse mode may run its transposes for the gradients.
"""

import functools
import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array

from bnjax.arithmetic.geometry import Axis, Geometry, Images, Kernel, Output, tap_matrices
from bnjax.arithmetic.winograd import winograd

DIMENSIONS = ("NHWC", "HWIO", "NHWC")


def native(images: Images, kernel: Kernel, geometry: Geometry) -> Output:
    """XLA's own convolution."""
    return lax.conv_general_dilated(
        images,
        kernel,
        window_strides=[axis.stride for axis in geometry],
        padding=[(axis.pad_low, axis.pad_high) for axis in geometry],
        dimension_numbers=DIMENSIONS,
    )


def taps(images: Images, kernel: Kernel, geometry: Geometry) -> Output:
    """One matrix product per kernel tap, clipped to where the tap meets the image.

    No product with the zeros of the padding is computed: on 2×2 pixels that is 5/9 of a 3×3
    convolution. The kernel gradient is a product per tap as well, as fast inside a loop as outside.
    """
    height, width = geometry
    batch, channels = images.shape[0], kernel.shape[-1]
    matrices = tap_matrices(kernel)
    output = jnp.zeros((batch, height.out_size, width.out_size, channels), images.dtype)
    for i in range(height.taps):
        for j in range(width.taps):
            rows, columns = height.meeting(i), width.meeting(j)
            if rows[0] == rows[1] or columns[0] == columns[1]:
                continue
            met = images
            margins = [(0, 0, 0)]
            for axis, tap, (start, stop), dimension in (
                (height, i, rows, 1),
                (width, j, columns, 2),
            ):
                first = start * axis.stride + tap - axis.pad_low
                last = (stop - 1) * axis.stride + tap - axis.pad_low
                met = lax.slice_in_dim(met, first, last + 1, axis.stride, dimension)
                margins.append((start, axis.out_size - stop, 0))
            product = met.reshape(math.prod(met.shape[:3]), met.shape[3]) @ matrices[i][j]
            product = product.reshape(*met.shape[:3], channels)
            zero = jnp.zeros((), images.dtype)
            output = output + lax.pad(product, zero, [*margins, (0, 0, 0)])
    return output


def dense(images: Images, kernel: Kernel, geometry: Geometry) -> Output:
    """One product from whole image to whole output, for images of few pixels.

    The matrix `[height·width·in, out_height·out_width·out]` is put together from the kernel's taps.
    """
    height, width = geometry
    matrices = tap_matrices(kernel)
    zero = jnp.zeros(kernel.shape[2:], kernel.dtype)

    def block(pixel: tuple[int, int], out_pixel: tuple[int, int]) -> Array:
        i, j = (
            p - o * axis.stride + axis.pad_low
            for p, o, axis in zip(pixel, out_pixel, geometry, strict=True)
        )
        inside = 0 <= i < height.taps and 0 <= j < width.taps
        return matrices[i][j] if inside else zero

    pixels = [(h, w) for h in range(height.size) for w in range(width.size)]
    out_pixels = [(h, w) for h in range(height.out_size) for w in range(width.out_size)]
    matrix = jnp.concatenate(
        [jnp.concatenate([block(p, o) for o in out_pixels], axis=1) for p in pixels], axis=0
    )
    output = images.reshape(images.shape[0], matrix.shape[0]) @ matrix
    return output.reshape(images.shape[0], height.out_size, width.out_size, kernel.shape[3])


def patches(images: Images, kernel: Kernel, geometry: Geometry) -> Output:
    """One product per row of the kernel, its taps side by side: wide where channels are few."""
    height, width = geometry
    pads = [(axis.pad_low, axis.pad_high, 0) for axis in geometry]
    padded = lax.pad(images, jnp.zeros((), images.dtype), [(0, 0, 0), *pads, (0, 0, 0)])
    shifted = [_window(padded, j, width, dimension=2) for j in range(width.taps)]
    rows = jnp.concatenate(shifted, axis=3)

    [matrices] = tap_matrices(kernel.reshape(1, height.taps, rows.shape[3], kernel.shape[3]))

    def row(i: int) -> Array:
        window = _window(rows, i, height, dimension=1)
        product = window.reshape(math.prod(window.shape[:3]), window.shape[3]) @ matrices[i]
        return product.reshape(*window.shape[:3], kernel.shape[3])

    return sum((row(i) for i in range(1, height.taps)), row(0))


def _window(images: Array, tap: int, axis: Axis, dimension: int) -> Array:
    stop = tap + (axis.out_size - 1) * axis.stride + 1
    return lax.slice_in_dim(images, tap, stop, axis.stride, dimension)


def flipped(name: str, images: Images, kernel: Kernel, geometry: Geometry) -> Output:
    """The convolution of stride 1 whose transpose in the images is the form of that name itself.

    That transpose convolves with the kernel turned by 180° and its channels exchanged; a form is
    often faster than its transpose.
    """
    turned = jnp.flip(kernel, (0, 1))
    back = Geometry(*(axis.reversed() for axis in geometry))

    def transpose(output: Output) -> Images:
        if name == "winograd":
            return winograd(output, turned, back, exchanged=True)
        return FORMS[name](output, turned.swapaxes(2, 3), back)

    batch, channels = images.shape[0], kernel.shape[3]
    shape = (batch, geometry.height.out_size, geometry.width.out_size, channels)
    (output,) = jax.linear_transpose(transpose, jax.ShapeDtypeStruct(shape, images.dtype))(images)
    return output


FORMS: dict[str, Callable[[Images, Kernel, Geometry], Output]] = {
    "native": native,
    "taps": taps,
    "dense": dense,
    "patches": patches,
    "winograd": winograd,
}
FORMS |= {f"flipped {name}": functools.partial(flipped, name) for name in FORMS}


def apply_form(name: str, images: Images, kernel: Kernel, geometry: Geometry) -> Output:
    """The form of that name; sums of products run in float32 where the dtype is narrower."""
    if name == "native" or jnp.finfo(images.dtype).bits >= 32:
        return FORMS[name](images, kernel, geometry)
    wide = jnp.float32
    output = FORMS[name](images.astype(wide), kernel.astype(wide), geometry)
    return output.astype(images.dtype)
