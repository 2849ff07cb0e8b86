"""The shapes of a convolution: two spatial axes with their padding, known before anything runs."""

from typing import NamedTuple, TypeAlias

from jax import lax
from jaxtyping import Array, Float

Images: TypeAlias = Float[Array, "batch height width in_channels"]
Kernel: TypeAlias = Float[Array, "kernel_height kernel_width in_channels out_channels"]
Output: TypeAlias = Float[Array, "batch out_height out_width out_channels"]


class Axis(NamedTuple):
    """One spatial axis of a convolution, in pixels."""

    size: int
    out_size: int
    taps: int
    stride: int
    pad_low: int
    pad_high: int

    def meeting(self, tap: int) -> tuple[int, int]:
        """First output index at which kernel tap `tap` meets the image, and one past the last."""
        first = -((tap - self.pad_low) // self.stride)
        last = (self.size - 1 + self.pad_low - tap) // self.stride
        start = min(max(first, 0), self.out_size)
        return start, max(start, min(last + 1, self.out_size))

    def reversed(self) -> "Axis":
        """The axis of the transposed convolution, from output to image; stride 1 only."""
        low, high = (self.taps - 1 - pad for pad in (self.pad_low, self.pad_high))
        return Axis(self.out_size, self.size, self.taps, 1, low, high)


class Geometry(NamedTuple):
    """The two spatial axes; static, so that a form may unroll over taps and pixels."""

    height: Axis
    width: Axis


def make_axis(size: int, taps: int, stride: int, padding: str) -> Axis:
    """The axis that `padding` gives, by the convention of XLA (and TensorFlow)."""
    if padding == "VALID":
        return Axis(size, max(0, (size - taps) // stride + 1), taps, stride, 0, 0)
    out_size = -(-size // stride)
    total = max(0, (out_size - 1) * stride + taps - size)
    return Axis(size, out_size, taps, stride, total // 2, total - total // 2)


def tap_matrices(kernel: Float[Array, "kernel_height kernel_width rows columns"]) -> list[list]:
    """The kernel's matrices, one a tap.

    By `lax.split`, whose transpose puts the gradients of all taps together in one go; that of
    `kernel[i, j]` pads each of them to the whole kernel and adds: half of a VGG-16's time.
    """
    height, width, rows, columns = kernel.shape
    flat = kernel.reshape(height * width, rows, columns)
    matrices = [m.reshape(rows, columns) for m in lax.split(flat, [1] * (height * width))]
    return [matrices[i * width : (i + 1) * width] for i in range(height)]
