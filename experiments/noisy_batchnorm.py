"""BatchNorm with noise that shifts each distribution at each step (Santurkar et al. 2018)."""

import sys

from bnjax.__main__ import main

if __name__ == "__main__":
    sys.exit(main("noisy_batchnorm"))
