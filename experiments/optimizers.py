"""Optimisers, initialisers, dropout and augmentation, with and without BatchNorm."""

import sys

from bnjax.__main__ import main

if __name__ == "__main__":
    sys.exit(main("optimizers"))
