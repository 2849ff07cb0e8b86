"""All experiments of Santurkar et al. 2018 at one preset, and one table of their claims.

    python experiments/reproduce.py
    python experiments/reproduce.py --dry-run
    python experiments/reproduce.py --preset paper --data-dir DIR --seeds 5 --published CSV
    python experiments/reproduce.py --dataset cifar10 --data-dir DIR --steps 1000 --probe-every 25

Each part has its own run folder, so what is finished is not run again and what was interrupted goes
on. `quick` takes about a quarter of an hour on two CPU cores. Ends with a table: claim, measured
(interval over seeds), published, verdict; the same stands in OUT/reproduce.json.
"""

import sys
from collections.abc import Sequence

from bnjax.commands import reproduce


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line; returns the exit status."""
    return reproduce.main(__doc__, arguments)


if __name__ == "__main__":
    sys.exit(main())
