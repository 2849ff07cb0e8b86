"""One self-contained HTML page from finished runs: claims, figures, curves, slices, surfaces.

    python experiments/report.py runs/landscape/0123456789ab
    python experiments/report.py runs/landscape/* --out report.html
    python experiments/report.py --compare runs/landscape/0123456789ab runs/landscape/ba9876543210

The page opens from the disk and fetches nothing. A run's own page is written into its folder; that
of several runs goes beside them. `--published CSV` draws the figures anew with published curves;
the figures in the run folder stay as they are.
"""

import sys
from collections.abc import Sequence

from bnjax.commands import report


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; returns the exit status."""
    return report.main(__doc__, arguments)


if __name__ == "__main__":
    sys.exit(main())
