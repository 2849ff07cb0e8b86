"""Optimisers, initialisers, dropout and augmentation, with and without BatchNorm."""

import sys

from bnjax.commands.command_line import main
from bnjax.studies.optimizers import STUDY

if __name__ == "__main__":
    sys.exit(main(STUDY))
