"""The spectrum of the Hessian along training, with and without BatchNorm (Ghorbani et al. 2019)."""

import sys

from bnjax.commands.command_line import main
from bnjax.studies.spectrum import STUDY

if __name__ == "__main__":
    sys.exit(main(STUDY))
