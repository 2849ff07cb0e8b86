"""Distributions of activations over training (Santurkar et al. 2018, Fig. 1c, 6, 8 and 9)."""

import sys

from bnjax.__main__ import main

if __name__ == "__main__":
    sys.exit(main("distributions"))
