"""Training under ℓp normalisation, BatchNorm and none (Santurkar et al. 2018, Fig. 5)."""
