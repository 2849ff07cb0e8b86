"""Optimisers, initialisers, dropout and augmentation, with and without BatchNorm."""
