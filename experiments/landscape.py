"""The landscape along the gradient, with and without BatchNorm (Santurkar et al. 2018)."""

import sys

from bnjax.commands.command_line import main
from bnjax.studies.landscape import STUDY

if __name__ == "__main__":
    sys.exit(main(STUDY))
