"""Small sigmoid networks on binary MNIST (Ioffe & Szegedy 2015, Fig. 1)."""

import sys

from bnjax.commands.command_line import main
from bnjax.studies.sigmoid_mnist import STUDY

if __name__ == "__main__":
    sys.exit(main(STUDY))
