"""One self-contained HTML page from finished runs: claims, figures, curves, slices, surfaces."""

import sys

from bnjax.__main__ import main

if __name__ == "__main__":
    sys.exit(main("report"))
