"""One line for the person at the terminal, on the error stream."""

import sys

from bnjax.storage.printable import printable


def warn(message: str) -> None:
    """Something that the run survives."""
    print(f"warning: {printable(message)}", file=sys.stderr, flush=True)


def complain(message: str) -> None:
    """Something that ends the process."""
    print(f"error: {printable(message)}", file=sys.stderr, flush=True)
