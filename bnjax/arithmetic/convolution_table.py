"""Which form of a convolution is fastest where; `benchmarks/tune_convolution.py` measures it again.

Milliseconds inside `lax.map` on two EPYC cores (float32, batch 128, jax 0.12, best of four):

| 3×3 layer, stride 1 | value: native, Winograd | input gradient | kernel gradient: taps, Winograd |
|---|---|---|---|
| 64 channels, 32×32 | 69, 60 | 584, 57 | (patches: 172), 96 |
| 128 channels, 16×16 | 58, 60 | 562, 34 | 105, 64 |
| 256 channels, 8×8 | 51, 25 | 516, 28 | 65, 55 |
| 512 channels, 4×4 | 49, 31 | 483, 44 | 48, 55 |
| 512 channels, 2×2 (taps, Winograd) | 12, 9 | 12, 4.5 | 14, 10 |

The native kernel gradient is not timed in a loop (jax issue 12868). On jax 0.10 the same forms win.
The input gradient as a native convolution of the turned kernel ("flipped native") is as fast inside
a loop as outside. Its own derivative for the kernel, in reverse mode, is the slow native one: for
other kernels than 3×3 it is not chosen.
"""

from typing import NamedTuple

from bnjax.arithmetic import winograd
from bnjax.arithmetic.geometry import Geometry


class Choice(NamedTuple):
    """The forms of the value, of the gradient for the images and of that for the kernel."""

    value: str
    input_gradient: str
    kernel_gradient: str


NATIVE = Choice("native", "native", "native")
TAPS = Choice("taps", "taps", "taps")
WINOGRAD = Choice("winograd", "flipped winograd", "winograd")
# Winograd takes three times as long to compile: it has to save more than that over a short run.
WIDE = 64  # channels on both sides
WORTH_COMPILING = 16e6  # operations on one image
FEW_PIXELS = 16  # up to 4×4 the native form is slow, at 2×2 a hundred times so


def choose(
    backend: str,
    geometry: Geometry,
    in_channels: int,
    out_channels: int,
    *,
    once: bool = False,
) -> Choice:
    """The fastest forms known for a convolution.

    Args:
      backend: `cpu`, `gpu`, `tpu`; all but `cpu` are native, not yet measured.
      geometry: spatial axes.
      in_channels: channels of the images.
      out_channels: channels of the output.
      once: the convolution stands outside of every loop and runs rarely: forms that compile fast.
    """
    if backend != "cpu":
        return NATIVE
    height, width = geometry
    few = height.size * width.size <= FEW_PIXELS
    if height.taps == width.taps == 1 or height.size == width.size == 1:
        # A single tap meets the image, or (SAME padding) a single pixel the kernel: one product.
        return TAPS
    if height.stride != 1 or width.stride != 1:
        return Choice("native", "patches", "patches")
    if once:
        return Choice("bands", "bands", "bands") if few else NATIVE
    taps = height.taps * width.taps
    operations = 2 * taps * height.out_size * width.out_size * in_channels * out_channels
    worth = operations >= WORTH_COMPILING and min(in_channels, out_channels) >= WIDE
    if worth and winograd.applies(geometry):
        return WINOGRAD
    return Choice("bands" if few else "native", "bands", "bands")
