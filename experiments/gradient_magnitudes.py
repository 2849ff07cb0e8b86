"""Mean gradient magnitude per kind of parameter: kernels, biases, γ and β, over training."""

import sys

from bnjax.__main__ import main

if __name__ == "__main__":
    sys.exit(main("gradient_magnitudes"))
