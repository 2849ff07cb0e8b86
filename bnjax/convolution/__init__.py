"""Convolutions in the form that is fastest for their shape and device."""

from bnjax.convolution.convolution import convolve, outside_loops, without_winograd

__all__ = ["convolve", "outside_loops", "without_winograd"]
