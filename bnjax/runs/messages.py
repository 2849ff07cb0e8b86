"""One line for the person at the terminal, on the error stream."""

import sys


def warn(message: str) -> None:
    """Something that the run survives."""
    print(f"warning: {message}", file=sys.stderr, flush=True)


def complain(message: str) -> None:
    """Something that ends the process."""
    print(f"error: {message}", file=sys.stderr, flush=True)
