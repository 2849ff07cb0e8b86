"""Training with and without BatchNorm (Santurkar et al. 2018, Fig. 1a, b)."""

import sys

from bnjax.__main__ import main

if __name__ == "__main__":
    sys.exit(main("vgg_training"))
