"""Loss surfaces around the trained network, with and without BatchNorm (Li et al. 2018)."""

import sys

from bnjax.__main__ import main

if __name__ == "__main__":
    sys.exit(main("surface"))
