"""Internal covariate shift as an earth mover distance (Huang & Yu 2020)."""
