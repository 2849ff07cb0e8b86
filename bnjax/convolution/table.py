"""Which form of a convolution is fastest where; `benchmarks/tune_convolution.py` measures it again.

The rules, for a CPU and stride 1 (times: `benchmarks/README.md`): Winograd where channels are many;
else XLA's own convolution for the value, unless the image has few pixels, and `bands` for both
gradients. Inside a loop XLA's own input gradient is ten times slower than outside, and its kernel
gradient a hundred times (jax issue 12868): they are never chosen there. Outside of loops they are
as fast as `bands` where channels are few, and compile in half the time.
"""

from typing import NamedTuple

import jax

from bnjax.convolution import winograd
from bnjax.convolution.geometry import Geometry


class Choice(NamedTuple):
    """The forms of the value, of the gradient for the images and of that for the kernel."""

    value: str
    input_gradient: str
    kernel_gradient: str


NATIVE = Choice("native", "native", "native")
TAPS = Choice("taps", "taps", "taps")
PATCHES = Choice("patches", "patches", "patches")
WINOGRAD = Choice("winograd", "flipped winograd", "winograd")
# Winograd takes three times as long to compile: it has to save more than that over a short run.
WIDE = 64  # channels on both sides
WORTH_COMPILING = 16e6  # operations on one image
FEW_PIXELS = 16  # up to 4×4 the native form is slow in a loop
TINY = 4  # at 2×2 it is slow everywhere, a hundred times


def choose(
    backend: str,
    geometry: Geometry,
    in_channels: int,
    out_channels: int,
    *,
    looped: bool = True,
    direct: bool = False,
) -> Choice:
    """The fastest forms known for a convolution; without Winograd's if `direct`."""
    if backend != "cpu":
        return NATIVE
    height, width = geometry
    few = height.size * width.size <= FEW_PIXELS
    if height.taps == width.taps == 1 or height.size == width.size == 1:
        # A single tap meets the image, or (SAME padding) a single pixel the kernel: one product.
        return TAPS
    if height.stride != 1 or width.stride != 1:
        return Choice("native", "patches", "patches")
    taps = height.taps * width.taps
    by_winograd = not direct and winograd.applies(geometry)
    operations = 2 * taps * height.out_size * width.out_size * in_channels * out_channels
    worth = operations >= WORTH_COMPILING and min(in_channels, out_channels) >= WIDE
    if worth and by_winograd:
        return WINOGRAD
    if not looped:
        tiny = height.size * width.size <= TINY
        if tiny and by_winograd:
            return WINOGRAD
        return (
            Choice("bands", "bands", "bands") if tiny else PATCHES if in_channels <= 4 else NATIVE
        )
    # XLA of jax 0.10 compiles the kernel gradient by bands of a 5×5 convolution wrongly where a
    # LayerNorm or GroupNorm follows: off by a fifth, seen on LeNet; 0.12 does not.
    miscompiled = jax.__version_info__ < (0, 11) and taps > 9
    return Choice("bands" if few else "native", "bands", "taps" if miscompiled else "bands")
