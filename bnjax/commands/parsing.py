"""Options from a command line: over the defaults of a preset, one line for each error."""

import contextlib
import io
import re
from collections.abc import Sequence
from typing import Any

import tyro

from bnjax.errors import UsageError
from bnjax.frame.study import Study


def parse(study: Study, arguments: Sequence[str]) -> Any:
    """Parse a command line over the defaults of the preset that it names.

    Args:
      study: gives options, presets and the description of `--help`.
      arguments: the command line without the program's name.

    Raises:
      UsageError: unknown option or a value of the wrong type, in one line.
      SystemExit: after `--help`.
    """
    arguments = list(arguments)
    preset = given(arguments, "--preset") or next(iter(study.presets))
    default = study.preset(preset, given(arguments, "--model"))
    return parse_options(type(default), arguments, study.description, default=default)


def parse_options(kind: Any, arguments: Sequence[str], description: str, **options: Any) -> Any:
    """Parse a command line into a value of a kind that tyro understands.

    Args:
      kind: a dataclass, or a union of them (one for each command).
      arguments: the command line without the program's name.
      description: for `--help`.
      options: tyro's.

    Raises:
      UsageError: as `parse`.
      SystemExit: after `--help`.
    """
    complaint = io.StringIO()
    try:
        # tyro frames its messages over several lines; here each has to fit in one.
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(kind, args=list(arguments), description=description, **options)
    except SystemExit as exit_request:
        if not exit_request.code:
            raise
        raise UsageError(one_line(complaint.getvalue())) from None


def given(arguments: Sequence[str], option: str) -> str:
    """The value of an option on a command line that is not parsed yet; empty if it is not there."""
    for position, argument in enumerate(arguments):
        if argument == option and position + 1 < len(arguments):
            return arguments[position + 1]
        if argument.startswith(f"{option}="):
            return argument.removeprefix(f"{option}=")
    return ""


def one_line(framed: str) -> str:
    """The message inside tyro's frame, without the frame."""
    lines = [re.sub(r"^[│╭╰╮╯─|\s]+|[│╭╰╮╯─|\s]+$", "", line) for line in framed.splitlines()]
    message: list[str] = []
    for line in lines[1:]:
        if not re.fullmatch(r"-*", line):
            message.append(line)
        elif message:  # the rule below the message
            break
    return " ".join(message).rstrip(".") + ": see --help"
