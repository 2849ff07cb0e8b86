"""Training with and without BatchNorm (Santurkar et al. 2018, Fig. 1a, b)."""
