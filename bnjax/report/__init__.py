"""Finished runs as one self-contained page, drawn from what their folders hold."""
