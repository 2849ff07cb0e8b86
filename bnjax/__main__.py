"""`python -m bnjax`: commands on run folders."""

import sys

from bnjax.commands.program import main

if __name__ == "__main__":
    sys.exit(main())
