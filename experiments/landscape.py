"""The landscape along the gradient, with and without BatchNorm (Santurkar et al. 2018)."""

import sys

from bnjax.__main__ import main

if __name__ == "__main__":
    sys.exit(main("landscape"))
