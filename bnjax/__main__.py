"""`python -m bnjax`, the same as the command `bnjax`."""

import sys

from bnjax.commands.program import main

if __name__ == "__main__":
    sys.exit(main())
