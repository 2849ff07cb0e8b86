"""What a person reads: lines on the error stream, safe for the terminal, and the claims table."""

import logging
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

LONGEST = 2000  # characters


def warn(message: str) -> None:
    print(f"warning: {printable(message)}", file=sys.stderr, flush=True)


def complain(message: str) -> None:
    print(f"error: {printable(message)}", file=sys.stderr, flush=True)


def hide_details() -> None:
    """Hide the log of libraries, whose errors are raised as well; for a command, not a library."""
    logging.getLogger("absl").setLevel(logging.CRITICAL)


def printable(text: object, longest: int = LONGEST) -> str:
    r"""A text without characters that a terminal obeys instead of showing; past `longest`, `…`.

    Control characters, line breaks, marks that change the direction of writing and halves of
    surrogate pairs become their escapes, so no file name moves the cursor or hides a line.

    Example:
      >>> printable("runs/\x1b[31mred")
      'runs/\\x1b[31mred'
    """
    whole = str(text)
    escaped = (
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in whole[:longest]
    )
    return "".join(escaped) + ("…" if len(whole) > longest else "")


def terminal() -> Console:
    """Where a person reads: wrapped on a terminal, whole lines in a pipe."""
    # No markup: what is printed names files and options that others may have chosen.
    return Console(highlight=False, markup=False, emoji=False, soft_wrap=not sys.stdout.isatty())


def claims_table(claims: Sequence[Mapping[str, Any]]) -> Table:
    table = Table(
        "claim", "measured", "published", "verdict", box=box.SIMPLE_HEAVY, show_lines=True
    )
    for claim in claims:
        verdict = claim["verdict"] + (f": {claim['reason']}" if claim["reason"] else "")
        sentence = f"{claim['identifier']}: {claim['sentence']}"
        row = (sentence, claim["measured"], claim["published"], verdict)
        table.add_row(*map(printable, row))
    return table
