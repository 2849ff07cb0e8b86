"""Loss surfaces around the trained network, with and without BatchNorm (Li et al. 2018)."""
