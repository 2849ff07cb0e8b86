"""Normalisers against the batch size (Ba, Kiros & Hinton 2016; Wu & He 2018)."""

import sys

from bnjax.commands.command_line import main
from bnjax.studies.batch_size import STUDY

if __name__ == "__main__":
    sys.exit(main(STUDY))
