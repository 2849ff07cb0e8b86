"""Internal covariate shift of every layer (Santurkar et al. 2018, Definition 2.1 and Fig. 3)."""
