"""One line for the person at the terminal, on the error stream."""

import logging
import sys
from typing import Any

from bnjax.frame.printable import printable


def warn(message: str) -> None:
    """Something that the run survives."""
    print(f"warning: {printable(message)}", file=sys.stderr, flush=True)


def complain(message: str) -> None:
    """Something that ends the process."""
    print(f"error: {printable(message)}", file=sys.stderr, flush=True)


def hide_details() -> None:
    """For a command: what Orbax's threads and tasks show of errors that it raises anyway is hidden.

    It changes the whole process, so no library function calls it.
    """
    for name in ("absl", "asyncio"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    sys.unraisablehook = hide_late_writers


def hide_late_writers(raised: Any) -> None:
    """Show an error that nothing could catch, unless a write after a failed save made it."""
    if str(raised.exc_value) != "Event loop is closed":
        sys.__unraisablehook__(raised)
