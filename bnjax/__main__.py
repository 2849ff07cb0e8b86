"""`python -m bnjax`, the same as the command `bnjax`."""

import contextlib
import os
import signal
import sys
from types import FrameType

from bnjax.errors import MissingPackage, needs


def main(*words: str) -> int | str:
    """Run the process's command line behind some words.

    Its exit status; one line where packages of the command are missing.
    """
    # An exception would not do: in the middle of an import it may become another one, or get lost.
    # A run has handlers of its own.
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, leave)
    try:
        with needs("studies"):
            from bnjax.commands import program

            sys.argv[1:1] = words
            return program.main()
    except MissingPackage as error:
        return f"error: {error}"


def leave(number: int, frame: FrameType | None) -> None:
    """End the process at once, with one line."""
    with contextlib.suppress(OSError):
        os.write(2, b"interrupted: give the same command again\n")
    os._exit(130)


if __name__ == "__main__":
    sys.exit(main())
