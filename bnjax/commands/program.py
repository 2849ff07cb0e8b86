"""The command `bnjax`: studies by name, commands on runs, and what there is."""

import ast
import dataclasses
import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Union

import tyro
from rich import box
from rich.table import Table

from bnjax.commands import command_line
from bnjax.commands.command_line import guarded
from bnjax.errors import UsageError
from bnjax.frame import study as studies
from bnjax.frame.messages import printable, terminal

DESCRIPTION = """A microscope for normalisation. Without arguments: all studies, commands and runs.

    bnjax landscape --lr 0.4                       a study, by its name
    bnjax list                                     runs, OUT/<study>/<digest of the options>
    bnjax verify runs/landscape/0123456789ab
    bnjax resume runs/landscape/0123456789ab
    bnjax doctor                                   devices, precision, cache, data sets
"""


@dataclasses.dataclass(frozen=True)
class Verify:
    """Compare every file and every checkpoint with its digest; exit status 1 if one differs."""

    runs: tyro.conf.Positional[tuple[Path, ...]]
    """Run folders."""
    debug: bool = False
    """Show tracebacks."""

    def act(self) -> int:
        if not self.runs:
            raise UsageError("verify: no run folder is given: give one or more")
        for path in self.runs:
            if not path.is_dir():
                raise UsageError(f"{path} is not a folder: give run folders")
        from bnjax.commands import runs

        return max(map(runs.verify, self.runs))


@dataclasses.dataclass(frozen=True)
class Resume:
    """Continue a run as its original command would."""

    run: tyro.conf.Positional[Path]
    """Run folder."""
    data_dir: Path | None = None
    """Folder of prepared data sets, where the run needs one."""
    published: Path | None = None
    """CSV of published curves, where that of the run has been moved."""
    data_devices: int | None = None
    """Devices over which a batch is spread (default: as many as before)."""
    probe_devices: int | None = None
    """Devices over which the points of a probe are spread (default: as many as before)."""
    debug: bool = False
    """Show tracebacks."""

    def act(self) -> int:
        from bnjax.commands.runs import resume

        devices = {"data_devices": self.data_devices, "probe_devices": self.probe_devices}
        resume(self.run, self.data_dir, self.published, devices)
        return 0


@dataclasses.dataclass(frozen=True)
class List:
    """List all runs."""

    out: tyro.conf.Positional[Path] = Path("runs")
    """Folder of all runs."""
    json: bool = False
    """Print one JSON document."""
    debug: bool = False
    """Show tracebacks."""

    def act(self) -> int:
        from bnjax.commands.runs import show

        show(self.out, as_json=self.json)
        return 0


@dataclasses.dataclass(frozen=True)
class Doctor:
    """Look at devices, precision, cache and data sets; exit status 1 if something is wrong."""

    data_dir: Path | None = None
    """Folder of prepared data sets (default: $TFDS_DATA_DIR, else ~/tensorflow_datasets)."""
    debug: bool = False
    """Show tracebacks."""

    def act(self) -> int:
        from bnjax.commands import doctor

        sound = True
        for finding in doctor.examine(self.data_dir):
            mark = "" if finding.sound else "WRONG: "
            print(printable(f"{finding.name:>14}  {mark}{finding.found}"), flush=True)
            sound &= finding.sound
        return int(not sound)


COMMANDS = {"list": List, "verify": Verify, "resume": Resume, "doctor": Doctor}
Call: Any = Union[  # noqa: UP007
    tuple(Annotated[kind, tyro.conf.subcommand(name)] for name, kind in COMMANDS.items())
]
# Commands with a module of their own, which has `main(arguments)`.
MODULES = ("report", "reproduce")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command, or one study by its name; without any say what there is.

    The exit status is 0; 2 for a wrong call; 1 for any other failure, damage included; 130 after a
    signal.
    """
    if arguments is None:
        arguments = sys.argv[1:]
        trains = {*arguments[:1]} & {"resume", "reproduce", *studies.names()}
        if trains and not {"-h", "--help"} & {*arguments}:
            command_line.suit_xla(arguments)
    if arguments and arguments[0] in studies.names():
        return command_line.main(studies.find(arguments[0]), arguments[1:])
    if arguments and arguments[0] in MODULES:
        module = importlib.import_module(f"bnjax.commands.{arguments[0]}")
        status: int = module.main(arguments[1:])
        return status
    return guarded(lambda: act(arguments), arguments)


def act(arguments: Sequence[str]) -> int:
    if not arguments or list(arguments) in (["--help"], ["-h"]):
        if arguments:
            print(DESCRIPTION)
        introduce()
        return 0
    if not arguments[0].startswith("-") and arguments[0] not in COMMANDS:
        known = " ".join((*studies.names(), *MODULES, *COMMANDS))
        raise UsageError(f"bnjax {arguments[0]}: must be one of {known}")
    call = command_line.parse_options(Call, arguments, DESCRIPTION, prog="bnjax")
    status: int = call.act()
    return status


def introduce() -> None:
    shown = Table("bnjax …", "", box=box.SIMPLE_HEAVY)
    for name in studies.names():
        shown.add_row(name, studies.find(name).description.split("\n", 1)[0])
    for name in MODULES:
        path = Path(__file__).with_name(f"{name}.py")
        described = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
        shown.add_row(name, described.split("\n", 1)[0])
    for name, kind in COMMANDS.items():
        shown.add_row(name, (kind.__doc__ or "").split(";")[0].rstrip("."))
    terminal().print(shown)
    if List().out.is_dir():
        List().act()
    else:
        terminal().print("no runs here yet: bnjax landscape makes the first figure")
