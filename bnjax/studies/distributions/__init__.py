"""Distributions of activations over training (Santurkar et al. 2018, Fig. 1c, 6, 8 and 9)."""
