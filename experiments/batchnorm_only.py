"""Training γ and β of BatchNorm and nothing else (Frankle, Schwab & Morcos 2020)."""

import sys

from bnjax.__main__ import main

if __name__ == "__main__":
    sys.exit(main("batchnorm_only"))
