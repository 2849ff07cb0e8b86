"""Mean gradient magnitude per kind of parameter: kernels, biases, γ and β, over training."""

import sys

from bnjax.commands.command_line import main
from bnjax.studies.gradient_magnitudes import STUDY

if __name__ == "__main__":
    sys.exit(main(STUDY))
