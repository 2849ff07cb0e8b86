"""Training under ℓp normalisation, BatchNorm and none (Santurkar et al. 2018, Fig. 5)."""

import sys

from bnjax.commands.command_line import main
from bnjax.studies.lp_norms import STUDY

if __name__ == "__main__":
    sys.exit(main(STUDY))
