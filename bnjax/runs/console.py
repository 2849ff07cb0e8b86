"""What a person sees: progress, the claims table, one line for each error."""

import contextlib
import io
import re
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeVar

import tyro
from rich import box
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from bnjax.errors import UsageError
from bnjax.runs.arms import Arm
from bnjax.runs.records import Record
from bnjax.storage.printable import printable

LINES_PER_ARM = 10
ROW_LINES = 4  # of each sweep after training
MANY_UNITS = 5  # more arms than this: their number is shown too
Config = TypeVar("Config")


def terminal() -> Console:
    """Where a person reads: wrapped on a terminal, whole lines in a pipe."""
    # No markup: what is printed names files and options that others may have chosen.
    return Console(highlight=False, markup=False, emoji=False, soft_wrap=not sys.stdout.isatty())


def parse(presets: Mapping[str, Config], arguments: Sequence[str], description: str) -> Config:
    """Parse a command line over the defaults of the preset that it names.

    Args:
      presets: by name, a complete configuration; the first one is the default. A model may have
        presets of its own, named e.g. `quick dln`.
      arguments: the command line without the program's name.
      description: for `--help`.

    Raises:
      UsageError: unknown option or a value of the wrong type, in one line.
      SystemExit: after `--help`.
    """
    arguments = list(arguments)
    preset = given(arguments, "--preset") or next(iter(presets))
    own = f"{preset} {given(arguments, '--model')}"
    default = presets.get(own) or presets.get(preset) or next(iter(presets.values()))
    return parse_options(type(default), arguments, description, default=default)


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


class PlainDisplay:
    """About ten lines for each arm, for pipes and logs."""

    def __init__(self, units: int) -> None:
        self.started = time.monotonic()
        self.units = units
        self.finished: set[str] = set()

    def advance(self, arm: Arm, done: int, record: Record) -> None:
        """Print a line now and then."""
        steps = len(record["train.finite"])
        if done % max(1, steps // LINES_PER_ARM) == 0 or done == steps:
            elapsed = time.monotonic() - self.started
            print(
                f"{arm.label}: step {done}/{steps}, {summary(record, done)}, {elapsed:.0f} s",
                flush=True,
            )

    def advance_rows(self, arm: Arm, sweep: str, done: int, rows: int) -> None:
        """Print a line now and then."""
        if done % max(1, rows // ROW_LINES) == 0 or done == rows:
            elapsed = time.monotonic() - self.started
            print(f"{arm.label}: {sweep}, row {done}/{rows}, {elapsed:.0f} s", flush=True)

    def finish(self, arm: Arm) -> None:
        """Print how many arms are done, where there are many."""
        self.finished.add(arm.label)
        if self.units > MANY_UNITS:
            print(f"{len(self.finished)} of {self.units} arms done", flush=True)


class SilentDisplay:
    """Nothing."""

    def advance(self, arm: Arm, done: int, record: Record) -> None:
        """Show nothing."""

    def advance_rows(self, arm: Arm, sweep: str, done: int, rows: int) -> None:
        """Show nothing."""

    def finish(self, arm: Arm) -> None:
        """Show nothing."""


class RichDisplay:
    """A progress bar for all arms and one for each that is under way, on a terminal."""

    def __init__(self, progress: Progress, units: int) -> None:
        self.progress = progress
        self.tasks: dict[str, Any] = {}
        self.finished: set[str] = set()
        self.all = progress.add_task("arms done", total=units)

    def advance(self, arm: Arm, done: int, record: Record) -> None:
        """Move the arm's bar."""
        if arm.label not in self.tasks:
            total = len(record["train.finite"])
            self.tasks[arm.label] = self.progress.add_task(arm.label, total=total)
        self.progress.update(
            self.tasks[arm.label],
            completed=done,
            description=f"{arm.label}: {summary(record, done)}",
        )

    def advance_rows(self, arm: Arm, sweep: str, done: int, rows: int) -> None:
        """Move the bar of the arm's sweep."""
        name = f"{arm.label}: {sweep}"
        if name not in self.tasks:
            self.tasks[name] = self.progress.add_task(name, total=rows)
        self.progress.update(self.tasks[name], completed=done)

    def finish(self, arm: Arm) -> None:
        """Move the bar of all arms; of many, only those under way keep a bar of their own."""
        self.finished.add(arm.label)
        self.progress.update(self.all, completed=len(self.finished))
        if (self.progress.tasks[self.all].total or 0) > MANY_UNITS:
            for name, task in self.tasks.items():
                if name == arm.label or name.startswith(f"{arm.label}: "):
                    self.progress.update(task, visible=False)


@contextlib.contextmanager
def display(units: int, *, silent: bool = False) -> Iterator[Any]:
    """Progress bars on a terminal, plain lines otherwise.

    Args:
      units: arms, counted for each seed.
      silent: show nothing; another process of the job shows the same.
    """
    if silent:
        yield SilentDisplay()
        return
    if not sys.stdout.isatty():
        yield PlainDisplay(units)
        return
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.completed}/{task.total}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns) as progress:
        yield RichDisplay(progress, units)


def summary(record: Record, done: int) -> str:
    """Loss and accuracy of the newest step whose numbers have arrived."""
    loss, accuracy = (record[f"train.{name}"][max(0, done - 2)] for name in ("loss", "accuracy"))
    return f"minibatch loss {loss:.4f}, accuracy {accuracy:.3f}"


def claims_table(claims: Sequence[Mapping[str, str]]) -> Table:
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
