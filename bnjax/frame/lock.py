"""One process for a run folder; the others are told who has it."""

import contextlib
import json
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from filelock import FileLock, Timeout

from bnjax.errors import RunError
from bnjax.frame import bounded, inventory
from bnjax.frame.printable import printable

LOCKS = ".locks"
LONGEST_OWNER = 1000  # characters
LONGEST_SILENCE = 1.0  # seconds between taking a lock and having written who did


class Owner(NamedTuple):
    """A process that says that it has a run folder."""

    pid: int
    host: str

    def may_live(self) -> bool:
        """Whether it runs, as far as this machine can know."""
        if self.host != socket.gethostname():
            return True
        try:
            os.kill(self.pid, 0)
        except PermissionError:  # it lives, as another user's
            return True
        except (OSError, OverflowError):
            return False
        return True

    def __str__(self) -> str:
        return f"process {self.pid} on {printable(self.host, 100)}"


@contextlib.contextmanager
def hold(folder: Path) -> Iterator[None]:
    """Keep all other processes off a run folder as long as this one lives.

    The system lets go of the lock when its owner dies, however it dies, so nothing stale is left.

    Args:
      folder: `<root>/<experiment>/<name>`, which need not exist; the lock stands in
        `<root>/.locks`.

    Raises:
      RunError: another process has it, named with its host; or the lock cannot be made.
    """
    root = folder.parent.parent
    lock, owner = names(folder)
    for path in (lock.parent, lock, owner):
        inventory.refuse_links(path, deep=False)
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        held = FileLock(lock, timeout=0).acquire()
    except Timeout as error:
        remedy = "wait until that ends, or give another --out"
        raise RunError(f"{folder} is in use by {introduced(owner)}: {remedy}") from error
    except OSError as error:
        reason = error.strerror or error
        raise RunError(f"cannot lock {folder} ({reason}): give another --out") from error
    with held:
        with contextlib.suppress(OSError):  # a full disk spoils only the others' message
            owner.write_text(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))
        try:
            yield
        finally:
            if not folder.exists():  # a call that was refused leaves nothing behind
                owner.unlink(missing_ok=True)
                lock.unlink(missing_ok=True)
                remove_if_empty(lock.parent, root)


def names(folder: Path) -> tuple[Path, Path]:
    """The lock of a run folder, and the file that names who has it."""
    locks, name = folder.parent.parent / LOCKS, f"{folder.parent.name}-{folder.name}"
    return locks / f"{name}.lock", locks / f"{name}.owner"


def user(folder: Path) -> str:
    """Who has a run folder at the moment; empty if nobody has. Nothing is written.

    A process that starts in the very microseconds of this question may be told that the folder is
    in use, so only a living owner on this machine is asked about, or one on another machine.
    """
    import fcntl

    lock, owner = names(folder)
    if not (found := read(owner)) or not found.may_live():
        return ""
    try:
        with bounded.opened(lock, LONGEST_OWNER) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return str(found)
    except (OSError, ValueError):
        pass
    return ""


def remove_if_empty(*folders: Path) -> None:
    """Remove folders, inner ones first, as far as there is nothing in them."""
    with contextlib.suppress(OSError):
        for folder in folders:
            folder.rmdir()


def introduced(path: Path) -> str:
    """Who has just been found to have a run folder; waits a little until they have said so.

    Between its taking the lock and its writing its name, a process is unknown, or the file still
    names one that has ended.
    """
    latest = time.monotonic() + LONGEST_SILENCE
    while not (found := read(path)) or not found.may_live():
        if time.monotonic() > latest:
            return "another process"
        time.sleep(0.01)
    return str(found)


def read(path: Path) -> Owner | None:
    """The owner that a file names; None where it names none."""
    try:
        found = bounded.parse_json(bounded.read(path, LONGEST_OWNER).decode())
        return Owner(int(found["pid"]), str(found["host"]))
    except (ValueError, KeyError, TypeError, OverflowError):
        return None
