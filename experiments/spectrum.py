"""The spectrum of the Hessian along training, with and without BatchNorm (Ghorbani et al. 2019)."""

import sys

from bnjax.__main__ import main

if __name__ == "__main__":
    sys.exit(main("spectrum"))
