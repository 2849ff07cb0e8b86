"""Training γ and β of BatchNorm and nothing else (Frankle, Schwab & Morcos 2020)."""

import sys

from bnjax.commands.command_line import main
from bnjax.studies.batchnorm_only import STUDY

if __name__ == "__main__":
    sys.exit(main(STUDY))
