"""One self-contained HTML page from finished runs: claims, figures, curves, slices, surfaces.

    python experiments/report.py runs/landscape/0123456789ab
    python experiments/report.py runs/landscape/* --out report.html
    python experiments/report.py --compare runs/landscape/0123456789ab runs/landscape/ba9876543210

The page opens from the disk and fetches nothing. A run's own page is written into its folder; that
of several runs goes beside them. `--published CSV` draws the figures anew with published curves;
the figures in the run folder stay as they are.
"""

import sys

from bnjax.commands.report import main

if __name__ == "__main__":
    sys.exit(main(__doc__))
