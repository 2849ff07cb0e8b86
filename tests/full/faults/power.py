"""A disk that loses power: of each write after the last fsync, anything may be missing.

`Recorder` replaces the six functions of `bnjax.frame.disk` that change the disk; it lets them work
and notes them in their order. `after_power_loss` plays the first of them on a model of a disk and
writes into a folder what may be left. A file's content is durable once the file was synced, a name
once its folder was. Every other change is there, or not, or (a content) in part, independently of
all others: worse than what real file systems promise.
"""

import random
from pathlib import Path
from typing import Any, NamedTuple

from bnjax.frame import disk

PRIMITIVES = ("write_file", "sync", "rename", "make_directory", "unlink", "remove_directory")


class Operation(NamedTuple):
    """One change of the disk."""

    kind: str
    path: Path
    given: Any = None  # the content of a file, or the new name


class Recorder:
    """Notes the operations below a folder while they are carried out."""

    def __init__(self, monkeypatch: Any) -> None:
        self.operations: list[Operation] = []
        for kind in PRIMITIVES:
            monkeypatch.setattr(disk, kind, self.noting(kind, getattr(disk, kind)))

    def noting(self, kind: str, real: Any) -> Any:
        """The function with a note of each call."""

        def call(path: Path, *given: Any) -> None:
            real(path, *given)
            kept = bytes(given[0]) if kind == "write_file" else given[0] if given else None
            self.operations.append(Operation(kind, path, kept))

        return call


class Versions:
    """What a file holds, or a name stands for: the durable version, then the later ones."""

    def __init__(self, durable: Any = None) -> None:
        self.all = [durable]

    @property
    def now(self) -> Any:
        """The version that a running program sees."""
        return self.all[-1]

    def sync(self) -> None:
        """The newest version becomes the durable one."""
        self.all = self.all[-1:]


class File(Versions):
    """A file and its content."""


class Folder(dict[str, Versions]):
    """A folder and its names; each stands for a file, a folder, or None."""

    def sync(self) -> None:
        """All names become durable."""
        for versions in self.values():
            versions.sync()


def play(operations: list[Operation], root: Path) -> Folder:
    """The model of a disk after the operations, with all that they left undecided."""
    top = Folder()

    def name(path: Path) -> Versions:
        folder: Any = top
        for part in path.relative_to(root).parts[:-1]:
            folder = folder[part].now
        return folder.setdefault(path.name, Versions())

    for kind, path, given in operations:
        if kind == "sync":
            (top if path == root else name(path).now).sync()
        elif kind == "rename":
            name(given).all.append(name(path).now)
            name(path).all.append(None)
        elif kind in ("unlink", "remove_directory"):
            name(path).all.append(None)
        elif kind == "make_directory":
            name(path).all.append(name(path).now or Folder())
        else:
            name(path).all.append(File(b""))
            name(path).now.all.append(given)
    return top


def after_power_loss(folder: Folder, place: Path, generator: random.Random) -> None:
    """Write into a folder that exists what a loss of power may leave of the model."""
    for name, versions in folder.items():
        found = generator.choice(versions.all)
        if isinstance(found, Folder):
            (place / name).mkdir()
            after_power_loss(found, place / name, generator)
        elif isinstance(found, File):
            content = generator.choice(found.all)
            if len(found.all) > 1 and generator.random() < 0.5:  # in part, or as zeros
                content = content[: generator.randint(0, len(content))]
                content = generator.choice([content, bytes(len(content))])
            (place / name).write_bytes(content)
