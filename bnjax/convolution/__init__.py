"""Convolutions in the form that is fastest for their shape and device."""

from bnjax.convolution.convolution import convolve, running_once

__all__ = ["convolve", "running_once"]
