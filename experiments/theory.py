"""The theorems of Santurkar et al. 2018 (4.1, 4.2, 4.4) on real layers along training."""

import sys

from bnjax.__main__ import main

if __name__ == "__main__":
    sys.exit(main("theory"))
