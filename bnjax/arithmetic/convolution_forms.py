"""Forms of one and the same convolution: equal to rounding, far apart in speed.

Each takes images, kernel and a `Geometry`, is linear in the images and linear in the kernel, and
consists of differentiable operations, so reverse mode may run its transposes for the gradients.
"""

from collections.abc import Callable
from typing import Literal, NamedTuple, TypeAlias

import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float

Images: TypeAlias = Float[Array, "batch height width in_channels"]
Kernel: TypeAlias = Float[Array, "kernel_height kernel_width in_channels out_channels"]
Output: TypeAlias = Float[Array, "batch out_height out_width out_channels"]
DIMENSIONS = ("NHWC", "HWIO", "NHWC")


class Axis(NamedTuple):
    """One spatial axis of a convolution, in pixels."""

    size: int
    out_size: int
    taps: int
    stride: int
    pad_low: int
    pad_high: int

    def meeting(self, tap: int) -> tuple[int, int]:
        """First and last-but-one output index at which kernel tap `tap` meets the image."""
        first = -((tap - self.pad_low) // self.stride)
        last = (self.size - 1 + self.pad_low - tap) // self.stride
        start = min(max(first, 0), self.out_size)
        return start, max(start, min(last + 1, self.out_size))


class Geometry(NamedTuple):
    """The two spatial axes; static, so that a form may unroll over taps and pixels."""

    height: Axis
    width: Axis


def make_axis(size: int, taps: int, stride: int, padding: Literal["SAME", "VALID"]) -> Axis:
    """The axis that `padding` gives, by the convention of XLA (and TensorFlow)."""
    if padding == "VALID":
        return Axis(size, max(0, (size - taps) // stride + 1), taps, stride, 0, 0)
    out_size = -(-size // stride)
    total = max(0, (out_size - 1) * stride + taps - size)
    return Axis(size, out_size, taps, stride, total // 2, total - total // 2)


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
            product = met.reshape(-1, met.shape[-1]) @ kernel[i, j]
            product = product.reshape(*met.shape[:-1], channels)
            zero = jnp.zeros((), images.dtype)
            output = output + lax.pad(product, zero, [*margins, (0, 0, 0)])
    return output


def dense(images: Images, kernel: Kernel, geometry: Geometry) -> Output:
    """One product from whole image to whole output, for images of few pixels.

    The matrix `[height·width·in, out_height·out_width·out]` is put together from the kernel's taps.
    """
    height, width = geometry
    zero = jnp.zeros(kernel.shape[2:], kernel.dtype)

    def block(pixel: tuple[int, int], out_pixel: tuple[int, int]) -> Array:
        i, j = (
            p - o * axis.stride + axis.pad_low
            for p, o, axis in zip(pixel, out_pixel, geometry, strict=True)
        )
        inside = 0 <= i < height.taps and 0 <= j < width.taps
        return kernel[i, j] if inside else zero

    pixels = [(h, w) for h in range(height.size) for w in range(width.size)]
    out_pixels = [(h, w) for h in range(height.out_size) for w in range(width.out_size)]
    matrix = jnp.concatenate(
        [jnp.concatenate([block(p, o) for o in out_pixels], axis=1) for p in pixels], axis=0
    )
    output = images.reshape(images.shape[0], -1) @ matrix
    return output.reshape(images.shape[0], height.out_size, width.out_size, -1)


FORMS: dict[str, Callable[[Images, Kernel, Geometry], Output]] = {
    "native": native,
    "taps": taps,
    "dense": dense,
}


def apply_form(name: str, images: Images, kernel: Kernel, geometry: Geometry) -> Output:
    """The form of that name; sums of products run in float32 where the dtype is narrower."""
    if name == "native" or jnp.finfo(images.dtype).bits >= 32:
        return FORMS[name](images, kernel, geometry)
    wide = jnp.promote_types(images.dtype, jnp.float32)
    output = FORMS[name](images.astype(wide), kernel.astype(wide), geometry)
    return output.astype(images.dtype)
