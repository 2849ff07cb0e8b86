"""Training under ℓp normalisation, BatchNorm and none (Santurkar et al. 2018, Fig. 5)."""

import sys

from bnjax.__main__ import main

if __name__ == "__main__":
    sys.exit(main("lp_norms"))
