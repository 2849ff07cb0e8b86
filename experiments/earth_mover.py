"""Internal covariate shift as an earth mover distance (Huang & Yu 2020)."""

import sys

from bnjax.__main__ import main

if __name__ == "__main__":
    sys.exit(main("earth_mover"))
