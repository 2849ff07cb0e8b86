"""Internal covariate shift of every layer (Santurkar et al. 2018, Definition 2.1 and Fig. 3)."""

import sys

from bnjax.__main__ import main

if __name__ == "__main__":
    sys.exit(main("shift"))
