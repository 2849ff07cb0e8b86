"""The spectrum of the Hessian along training, with and without BatchNorm (Ghorbani et al. 2019)."""
