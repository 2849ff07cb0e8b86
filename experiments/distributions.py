"""Distributions of activations over training (Santurkar et al. 2018, Fig. 1c, 6, 8 and 9)."""

import sys

from bnjax.commands.command_line import main
from bnjax.studies.distributions import STUDY

if __name__ == "__main__":
    sys.exit(main(STUDY))
