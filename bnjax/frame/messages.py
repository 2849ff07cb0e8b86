"""What a person reads: lines on the error stream, safe for the terminal, and the claims table."""

import codecs
import io
import logging
import os
import sys
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table

LONGEST = 2000  # characters
NARROW = 100  # columns of a terminal; below, a table becomes paragraphs
# How a terminal without them shows characters; Greek letters by their names, others plain or `?`.
SPELLED = dict(zip("▁▂▃▄▅▆▇█", "12345678", strict=True)) | {
    "×": "x", "·": ".", "−": "-", "–": "-", "—": "-", "→": "->", "≤": "<=", "≥": ">=", "≈": "~",
    "⁄": "/", "∂": "d", "√": "sqrt", "∞": "inf", "‖": "|", "‘": "'", "’": "'", "“": '"', "”": '"',
}  # fmt: skip


class Stream(io.FileIO):
    """A standard stream that drops what it cannot write, so that a run goes on.

    `lost` says why, as of a full disk; it stays empty if the reader has left, as `head` does.
    """

    lost = ""
    was_closed = False  # when the process began

    def write(self, data: Any) -> int:
        if self.was_closed:
            self.lost = "it is closed"
        try:
            return super().write(data)
        except BrokenPipeError:
            pass
        except OSError as error:
            self.lost = error.strerror or str(error)
        return memoryview(data).nbytes


def lost_output() -> str:
    """Why some of standard output was lost; empty if nothing was."""
    raw = getattr(getattr(sys.stdout, "buffer", None), "raw", None)
    if not isinstance(raw, Stream):
        return ""
    sys.stdout.flush()
    return raw.lost


def open_streams() -> None:
    """Standard output and error that never stop a run: closed, left by their reader, or ASCII.

    Where one of the first three descriptors is closed, the next file that is opened would get it,
    and a library that logs would write into that file.
    """
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        pass
    os.close(descriptor)
    codecs.register_error("spelled", spell)
    for number, name in enumerate(("stdout", "stderr"), start=1):
        given = getattr(sys, name)
        if not isinstance(given, io.TextIOWrapper | None):  # a notebook's
            continue
        if given:
            given.flush()
        raw = Stream(number, "w", closefd=False)
        raw.was_closed = given is None
        stream = io.TextIOWrapper(
            io.BufferedWriter(raw),
            given.encoding if given else "utf-8",
            "spelled",
            line_buffering=bool(given and given.line_buffering),
            write_through=bool(given and given.write_through),
        )
        setattr(sys, name, stream)


def spell(error: UnicodeError) -> tuple[str, int]:
    """Replace what an encoding lacks, as a handler of `codecs`."""
    assert isinstance(error, UnicodeEncodeError)
    return "".join(map(in_ascii, error.object[error.start : error.end])), error.end


def in_ascii(character: str) -> str:
    """A character in ASCII.

    Example:
      >>> "".join(map(in_ascii, "β × ½ …"))
      'beta x 1/2 ...'
    """
    if (name := unicodedata.name(character, "")).startswith("GREEK"):
        return name.split()[-1].lower()
    parts = unicodedata.normalize("NFKD", character)
    plain = "".join(SPELLED.get(part, part) for part in parts)
    return plain.encode("ascii", "ignore").decode() or "?"


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


def show_claims(claims: Sequence[Mapping[str, Any]]) -> None:
    """Print claims with their verdicts: a table, or where that is too narrow a paragraph each."""
    console = terminal()
    rows = [{name: printable(claim[name]) for name in CLAIM} for claim in claims]
    if console.width < NARROW:
        for row in rows:
            console.print(f"{row['identifier']}: {row['verdict']}")
            for name in ("sentence", "measured", "published", "reason"):
                said = row[name] if name == "sentence" else f"{name}: {row[name]}"
                if row[name]:
                    console.print(f"  {said}")
        return
    found = {
        "claim": [f"{row['identifier']}: {row['sentence']}" for row in rows],
        "measured": [row["measured"] for row in rows],
        "published": [row["published"] for row in rows],
        "verdict": [": ".join(filter(None, (row["verdict"], row["reason"]))) for row in rows],
    }
    console.print(table(found, show_lines=True))


CLAIM = ("identifier", "sentence", "measured", "published", "verdict", "reason")


def table(columns: Mapping[str, Sequence[str]], whole: Sequence[str] = (), **style: Any) -> Table:
    """A table of texts without its empty columns; those named in `whole` are never broken."""
    kept = {name: texts for name, texts in columns.items() if any(texts)}
    shown = Table(box=box.SIMPLE_HEAVY, **style)
    for name in kept:
        shown.add_column(name, overflow="fold", no_wrap=name in whole)
    for row in zip(*kept.values(), strict=True):
        shown.add_row(*row)
    return shown
