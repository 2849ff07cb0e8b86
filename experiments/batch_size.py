"""Normalisers against the batch size (Ba, Kiros & Hinton 2016; Wu & He 2018)."""

import sys

from bnjax.__main__ import main

if __name__ == "__main__":
    sys.exit(main("batch_size"))
