"""The landscape along the gradient, with and without BatchNorm (Santurkar et al. 2018)."""
