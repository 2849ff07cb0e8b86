"""All experiments of Santurkar et al. 2018 at one preset, and one table of their claims."""

import sys

from bnjax.__main__ import main

if __name__ == "__main__":
    sys.exit(main("reproduce"))
