"""What a person reads: the terminal, and the claims table."""

import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

from bnjax.frame.messages import printable


def terminal() -> Console:
    """Where a person reads: wrapped on a terminal, whole lines in a pipe."""
    # No markup: what is printed names files and options that others may have chosen.
    return Console(highlight=False, markup=False, emoji=False, soft_wrap=not sys.stdout.isatty())


def claims_table(claims: Sequence[Mapping[str, Any]]) -> Table:
    """The claims of a finished run with what was measured, what was published and the verdict."""
    table = Table(
        "claim", "measured", "published", "verdict", box=box.SIMPLE_HEAVY, show_lines=True
    )
    for claim in claims:
        verdict = claim["verdict"] + (f": {claim['reason']}" if claim["reason"] else "")
        sentence = f"{claim['identifier']}: {claim['sentence']}"
        row = (sentence, claim["measured"], claim["published"], verdict)
        table.add_row(*map(printable, row))
    return table
