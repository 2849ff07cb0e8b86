"""Small sigmoid networks on binary MNIST (Ioffe & Szegedy 2015, Fig. 1)."""

import sys

from bnjax.__main__ import main

if __name__ == "__main__":
    sys.exit(main("sigmoid_mnist"))
