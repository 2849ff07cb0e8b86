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

from bnjax.convolution.chunks import in_chunks
from bnjax.convolution.geometry import Axis, Geometry, Images, Kernel, Output, tap_matrices
from bnjax.convolution.winograd import winograd

# Of the images of a chunk or of their output; the product in `bands` reads and makes three times
# as many.
BAND_BYTES = 2**20
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


def bands(images: Images, kernel: Kernel, geometry: Geometry) -> Output:
    """One product for all taps: shifted columns side by side in, a partial sum per kernel row out.

    Both sides of the product are wide even where channels are few, and so is its kernel gradient.
    The other operations move memory, so the batch is processed in chunks that stay in cache.
    """
    height, width = geometry
    channels, features = kernel.shape[2:]
    matrix = kernel.transpose(1, 2, 0, 3).reshape(width.taps * channels, height.taps * features)
    zero = jnp.zeros((), images.dtype)

    def chunk(images: Images) -> Output:
        pads = [(0, 0, 0), (0, 0, 0), (width.pad_low, width.pad_high, 0), (0, 0, 0)]
        padded = lax.pad(images, zero, pads)
        columns = [_window(padded, j, width, dimension=2) for j in range(width.taps)]
        band = jnp.concatenate(columns, axis=3)
        product = band.reshape(math.prod(band.shape[:3]), matrix.shape[0]) @ matrix
        product = product.reshape(*band.shape[:3], matrix.shape[1])
        partial = lax.split(product, [features] * height.taps, axis=3)
        shifted = (_shift_rows(rows, i, height) for i, rows in enumerate(partial))
        return sum(shifted, jnp.zeros((), images.dtype))

    pixels = images.shape[0] * height.size * width.size
    wider = pixels * max(channels, features) * images.dtype.itemsize
    return in_chunks(chunk, images, wider / max(BAND_BYTES, matrix.nbytes / 4))


def _shift_rows(partial: Array, tap: int, axis: Axis) -> Array:
    """Row o of the result is row o · stride + tap − pad_low of `partial`, 0 outside of it."""
    low = axis.pad_low - tap
    high = (axis.out_size - 1) * axis.stride + 1 - axis.size - low
    zero = jnp.zeros((), partial.dtype)
    rows = lax.pad(partial, zero, [(0, 0, 0), (low, high, 0), (0, 0, 0), (0, 0, 0)])
    return lax.slice_in_dim(rows, 0, rows.shape[1], axis.stride, axis=1)


def _window(images: Array, tap: int, axis: Axis, dimension: int) -> Array:
    stop = tap + (axis.out_size - 1) * axis.stride + 1
    return lax.slice_in_dim(images, tap, stop, axis.stride, dimension)


def flipped_winograd(images: Images, kernel: Kernel, geometry: Geometry) -> Output:
    """The convolution of stride 1 whose transpose in the images is Winograd's form itself.

    That transpose convolves with the kernel turned by 180° and its channels exchanged; the form is
    twice as fast as its transpose.
    """
    turned = jnp.flip(kernel, (0, 1))
    back = Geometry(*(axis.reversed() for axis in geometry))
    transpose = functools.partial(winograd, kernel=turned, geometry=back, exchanged=True)
    batch, channels = images.shape[0], kernel.shape[3]
    shape = (batch, geometry.height.out_size, geometry.width.out_size, channels)
    (output,) = jax.linear_transpose(transpose, jax.ShapeDtypeStruct(shape, images.dtype))(images)
    return output


FORMS: dict[str, Callable[[Images, Kernel, Geometry], Output]] = {
    "native": native,
    "taps": taps,
    "patches": patches,
    "bands": bands,
    "winograd": winograd,
    "flipped winograd": flipped_winograd,
}


def apply_form(name: str, images: Images, kernel: Kernel, geometry: Geometry) -> Output:
    """The form of that name; sums of products run in float32 where the dtype is narrower."""
    if name == "native" or jnp.finfo(images.dtype).bits >= 32:
        return FORMS[name](images, kernel, geometry)
    wide = jnp.float32
    output = FORMS[name](images.astype(wide), kernel.astype(wide), geometry)
    return output.astype(images.dtype)
