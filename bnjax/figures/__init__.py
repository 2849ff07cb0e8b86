"""Floor 4: figures, drawn from saved results only."""
