"""BatchNorm with noise that shifts each distribution at each step (Santurkar et al. 2018)."""
