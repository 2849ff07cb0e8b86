"""Internal covariate shift as an earth mover distance (Huang & Yu 2020)."""

import sys

from bnjax.commands.command_line import main
from bnjax.studies.earth_mover import STUDY

if __name__ == "__main__":
    sys.exit(main(STUDY))
