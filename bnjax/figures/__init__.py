"""Figures, drawn from saved results only."""
