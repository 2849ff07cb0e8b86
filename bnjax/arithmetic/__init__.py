"""Arithmetic on arrays and pytrees; knows nothing of Flax, files or printing."""
