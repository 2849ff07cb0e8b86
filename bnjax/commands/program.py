"""The command `bnjax`: studies by name, commands on runs, and what there is."""

import ast
import dataclasses
import importlib
import inspect
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import tyro

from bnjax.choices import did_you_mean
from bnjax.commands import command_line, vocabulary
from bnjax.commands.command_line import guarded
from bnjax.errors import UsageError
from bnjax.frame import study as studies
from bnjax.frame.messages import printable, table, terminal

DESCRIPTION = """A microscope for normalisation. Without arguments: all studies, commands and runs.

    bnjax landscape --lr 0.4                       a study, by its name
    bnjax list                                     runs, OUT/<study>/<digest of the options>
    bnjax verify runs/landscape/0123456789ab
    bnjax resume runs/landscape/0123456789ab
    bnjax doctor                                   devices, precision, cache, data sets, folders
    bnjax help landscape                           its options, as `bnjax landscape --help`
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
    accept_changes: bool = False
    """Go on though data, code, settings or versions have changed; the change is recorded."""
    debug: bool = False
    """Show tracebacks."""

    def act(self) -> int:
        from bnjax.commands.runs import resume

        given = {"data_devices": self.data_devices, "probe_devices": self.probe_devices}
        given["accept_changes"] = self.accept_changes  # what the original command said is past
        resume(self.run, self.data_dir, self.published, given)
        return 0


@dataclasses.dataclass(frozen=True)
class List:
    """List all runs."""

    out: tyro.conf.Positional[Path | None] = None
    """Folder of all runs (default: runs)."""
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
    """Look at devices, precision, data sets and folders; exit status 1 if something is wrong."""

    data_dir: Path | None = None
    """Folder of prepared data sets (default: $TFDS_DATA_DIR, else ~/tensorflow_datasets)."""
    out: Path = Path("runs")
    """Folder of all runs."""
    debug: bool = False
    """Show tracebacks."""

    def act(self) -> int:
        from bnjax.commands import doctor

        sound = True
        for finding in doctor.examine(self.data_dir, self.out):
            mark = "" if finding.sound else "WRONG: "
            print(printable(f"{finding.name:>14}  {mark}{finding.found}"), flush=True)
            sound &= finding.sound
        return int(not sound)


@dataclasses.dataclass(frozen=True)
class Completion:
    """Print a script by which a shell completes studies, commands, options and their values.

    In ~/.bashrc or ~/.zshrc: `eval "$(bnjax completion bash)"`, or zsh.
    """

    shell: tyro.conf.Positional[Literal["bash", "zsh"]]
    """The shell."""
    debug: bool = False
    """Show tracebacks."""

    def act(self) -> int:
        from bnjax.commands import completion

        shipped = {name: studies.find(name) for name in studies.names()}
        kinds = {name: study.options for name, study in shipped.items()}
        for name in MODULES:
            kinds[name] = importlib.import_module(f"bnjax.commands.{name}").Options
        presets = {
            name: list(dict.fromkeys(preset.partition(" ")[0] for preset in study.presets))
            for name, study in shipped.items()
        }
        print(completion.script(self.shell, kinds | COMMANDS, presets))
        return 0


COMMANDS: dict[str, Any] = {
    "list": List,
    "verify": Verify,
    "resume": Resume,
    "doctor": Doctor,
    "completion": Completion,
}
# Commands with a module of their own, which has `main(arguments)`.
MODULES = ("report", "reproduce", "audit")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command, or one study by its name; without any say what there is.

    The exit status is 0; 2 for a wrong call; 1 for any other failure, damage included; 130 after a
    signal.
    """
    if arguments is None:
        arguments = command_line.typed()
        trains = {*arguments[:1]} & {"resume", "reproduce", *studies.names()}
        if trains and not {*vocabulary.HELP} & {*arguments}:
            command_line.suit_xla(arguments)
    if arguments[:1] == ["help"]:  # `bnjax help landscape` is `bnjax landscape --help`
        arguments = [*arguments[1:], "--help"]
    if arguments and arguments[0] in studies.names():
        return command_line.main(studies.find(arguments[0]), arguments[1:])
    if arguments and arguments[0] in MODULES:
        module = importlib.import_module(f"bnjax.commands.{arguments[0]}")
        status: int = module.main(arguments[1:])
        return status
    return guarded(lambda: act(arguments), arguments)


def act(arguments: Sequence[str]) -> int:
    if not arguments or arguments[0] in vocabulary.HELP:
        if arguments:
            print(DESCRIPTION)
        introduce()
        return 0
    name, *rest = arguments
    if name == "--version":
        print(f"bnjax {sys.modules['bnjax'].__version__}")
        return 0
    if name not in COMMANDS:
        known = (*studies.names(), *MODULES, *COMMANDS, "help")
        near = did_you_mean(name, known)
        raise UsageError(f"bnjax {name}: must be one of {' '.join(known)}{near}")
    kind = COMMANDS[name]
    call = command_line.parse_options(kind, rest, name, inspect.getdoc(kind) or "")
    status: int = call.act()
    return status


def introduce() -> None:
    described = {name: studies.find(name).description for name in studies.names()}
    for name in MODULES:
        path = Path(__file__).with_name(f"{name}.py")
        described[name] = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    described |= {name: (kind.__doc__ or "").split(";")[0] for name, kind in COMMANDS.items()}
    lines = [text.split("\n", 1)[0] for text in described.values()]
    terminal().print(table({"bnjax …": list(described), "": lines}, whole=("bnjax …",)))
    List().act()
