"""One line for the person at the terminal, on the error stream, safe for that terminal."""

import logging
import sys

LONGEST = 2000  # characters


def warn(message: str) -> None:
    """Say something that the run survives."""
    print(f"warning: {printable(message)}", file=sys.stderr, flush=True)


def complain(message: str) -> None:
    """Say why the process ends."""
    print(f"error: {printable(message)}", file=sys.stderr, flush=True)


def hide_details() -> None:
    """Hide the log of libraries, whose errors are raised as well; for a command, not a library."""
    logging.getLogger("absl").setLevel(logging.CRITICAL)


def printable(text: object, longest: int = LONGEST) -> str:
    r"""A text without characters that a terminal obeys instead of showing.

    Control characters, line breaks, marks that change the direction of writing and halves of
    surrogate pairs become their escapes, so no file name moves the cursor or hides a line.

    Args:
      text: anything that `str` takes.
      longest: characters; the rest becomes `…`.

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
