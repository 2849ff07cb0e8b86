"""Candidates for the setting of the published VGG before its first step (Santurkar et al. 2018)."""

import sys

from bnjax.__main__ import main

if __name__ == "__main__":
    sys.exit(main("forensics"))
