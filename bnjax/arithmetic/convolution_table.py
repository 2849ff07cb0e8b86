"""Which form of a convolution is fastest where: measured, see `benchmarks/tune_convolution.py`."""

from typing import NamedTuple

from bnjax.arithmetic import winograd
from bnjax.arithmetic.geometry import Geometry


class Choice(NamedTuple):
    """The forms of the value, of the gradient for the images and of that for the kernel."""

    value: str
    input_gradient: str
    kernel_gradient: str


NATIVE = Choice("native", "native", "native")


def choose(backend: str, geometry: Geometry, in_channels: int, out_channels: int) -> Choice:
    """The fastest forms known for a convolution.

    Args:
      backend: `cpu`, `gpu`, `tpu`; all but `cpu` are native, not yet measured.
      geometry: spatial axes.
      in_channels: channels of the images.
      out_channels: channels of the output.
    """
    if backend != "cpu":
        return NATIVE
    if winograd.applies(geometry) and in_channels >= 16:
        return Choice("winograd", "flipped winograd", "winograd")
    if in_channels < 16:
        return Choice("native", "taps", "patches")
    return Choice("native", "taps", "taps")
