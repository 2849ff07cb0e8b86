"""Training with and without BatchNorm (Santurkar et al. 2018, Fig. 1a, b)."""

import sys

from bnjax.commands.command_line import main
from bnjax.studies.vgg_training import STUDY

if __name__ == "__main__":
    sys.exit(main(STUDY))
