"""The commands on finished and unfinished runs: verify, resume, list."""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import tyro

from bnjax.commands import listing, resuming
from bnjax.commands.command_line import guarded
from bnjax.errors import UsageError
from bnjax.runs import console, verify
from bnjax.storage.printable import printable

DESCRIPTION = """Commands on run folders, OUT/<experiment>/<digest of the options>:

    python -m bnjax list
    python -m bnjax verify runs/landscape/0123456789ab
    python -m bnjax resume runs/landscape/0123456789ab
"""


@dataclasses.dataclass(frozen=True)
class Verify:
    """Compare every file and every checkpoint with its digest; exit status 1 if one differs."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Run folders."""
    debug: bool = False
    """Show tracebacks."""


@dataclasses.dataclass(frozen=True)
class Resume:
    """Go on with a run as its original command would."""

    run: tyro.conf.Positional[Path]
    """Run folder."""
    data_dir: Path | None = None
    """Folder of prepared data sets, where the run needs one."""
    debug: bool = False
    """Show tracebacks."""


@dataclasses.dataclass(frozen=True)
class List:
    """List all runs."""

    out: tyro.conf.Positional[Path] = Path("runs")
    """Folder of all runs."""
    json: bool = False
    """Print one JSON document."""
    debug: bool = False
    """Show tracebacks."""


Call = (
    Annotated[Verify, tyro.conf.subcommand("verify")]
    | Annotated[Resume, tyro.conf.subcommand("resume")]
    | Annotated[List, tyro.conf.subcommand("list")]
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
      arguments: the command line without the program's name; by default the process's own.

    Returns:
      The exit status: 0; 2 for a wrong call; 1 for any other failure, damage included; 130 after
      a signal.
    """
    arguments = sys.argv[1:] if arguments is None else arguments

    def act() -> int:
        call = console.parse_options(Call, arguments, DESCRIPTION, prog="python -m bnjax")
        if isinstance(call, Verify):
            return verify_all(call.runs)
        if isinstance(call, Resume):
            resuming.resume(call.run, call.data_dir)
        else:
            list_all(call)
        return 0

    return guarded(act, arguments)


def verify_all(paths: Sequence[Path]) -> int:
    """Say of each run folder whether it is sound."""
    if not paths:
        raise UsageError("verify: no run folder is given: give one or more")
    for path in paths:
        if not path.is_dir():
            raise UsageError(f"{path} is not a folder: give run folders")
    status = 0
    for path in paths:
        found = verify.verify(path)
        for place, what in found.damage.items():
            print(printable(f"{place}: {what}"))
        kind = "" if found.finished else ", not finished"
        verdict = "damaged" if found.damage else "sound"
        counts = f"{found.files} files, {found.checkpoints} checkpoints{kind}"
        print(printable(f"{path}: {verdict}: {counts}" + (" sound" if found.damage else "")))
        status = max(status, bool(found.damage))
    return int(status)


def list_all(call: List) -> None:
    """Show all runs."""
    runs = listing.find(call.out)
    if call.json:
        print(listing.machine(runs))
    elif runs:
        console.terminal().print(listing.table(runs))
    else:
        print(printable(f"no runs in {call.out}"))
