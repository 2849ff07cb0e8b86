"""Batch, critical and spherical sharpness along training, beside the edge of stability 2/lr."""

import sys

from bnjax.__main__ import main

if __name__ == "__main__":
    sys.exit(main("sharpness"))
