"""Candidates for the setting of the published VGG before its first step (Santurkar et al. 2018)."""

import sys

from bnjax.commands.command_line import main
from bnjax.studies.forensics import STUDY

if __name__ == "__main__":
    sys.exit(main(STUDY))
