"""BatchNorm with noise that shifts each distribution at each step (Santurkar et al. 2018)."""

import sys

from bnjax.commands.command_line import main
from bnjax.studies.noisy_batchnorm import STUDY

if __name__ == "__main__":
    sys.exit(main(STUDY))
