"""Convolutions in the form that is fastest for their shape and device."""
