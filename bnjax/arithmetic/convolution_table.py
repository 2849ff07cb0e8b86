"""Which form of a convolution is fastest where: measured, see `benchmarks/tune_convolution.py`."""

from typing import NamedTuple

from bnjax.arithmetic.convolution_forms import Geometry


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
    height, width = geometry
    if height.size * width.size <= 4:
        return Choice("dense", "dense", "dense")
    return Choice("native", "native", "taps")
