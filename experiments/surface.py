"""Loss surfaces around the trained network, with and without BatchNorm (Li et al. 2018)."""

import sys

from bnjax.commands.command_line import main
from bnjax.studies.surface import STUDY

if __name__ == "__main__":
    sys.exit(main(STUDY))
