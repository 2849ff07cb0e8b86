"""One process per run folder; the others learn which one has it."""

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
from bnjax.frame.messages import printable

LOCKS = ".locks"
LONGEST_OWNER = 1000  # characters
LONGEST_SILENCE = 1.0  # seconds between taking a lock and writing the owner's name


class Owner(NamedTuple):
    """The process that a file names as the owner of a run folder."""

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
    """Keep all other processes off a run folder while the block runs.

    The system releases the lock when its owner dies, however it dies.

    Args:
      folder: `<root>/<study>/<name>`, which need not exist; the lock is in `<root>/.locks`.

    Raises:
      RunError: another process has it, named with its host; or the lock cannot be made.
    """
    lock, owner = lock_files(folder)
    for path in (lock.parent, lock, owner):
        inventory.refuse_links(path, deep=False)
    try:
        lock.parent.mkdir(parents=True, exist_ok=True)
        held = FileLock(lock, timeout=0).acquire()
    except Timeout as error:
        remedy = "wait until that ends, or give another --out"
        raise RunError(f"{folder} is in use by {find_owner(owner)}: {remedy}") from error
    except OSError as error:
        reason = error.strerror or error
        raise RunError(f"cannot lock {folder} ({reason}): give another --out") from error
    with held:
        with contextlib.suppress(OSError):  # a full disk spoils only the others' message
            owner.write_text(json.dumps({"pid": os.getpid(), "host": socket.gethostname()}))
        try:
            yield
        finally:
            if not folder.exists():  # a refused call leaves nothing behind
                owner.unlink(missing_ok=True)
                lock.unlink(missing_ok=True)
                for place in (lock.parent, folder.parent, folder.parent.parent):
                    with contextlib.suppress(OSError):  # others have locks or runs there
                        place.rmdir()


def user(folder: Path) -> str:
    """The process that has a run folder at the moment; empty if none has. Nothing is written.

    Asking takes the lock for microseconds, in which a starting process would find the folder in
    use. So only a folder whose named owner may live is asked about.
    """
    import fcntl

    lock, owner = lock_files(folder)
    if not (found := read_owner(owner)) or not found.may_live():
        return ""
    try:
        with bounded.opened(lock, LONGEST_OWNER) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return str(found)
    except (OSError, ValueError):
        pass
    return ""


def lock_files(folder: Path) -> tuple[Path, Path]:
    """The lock of a run folder, and the file that names its owner."""
    locks, name = folder.parent.parent / LOCKS, f"{folder.parent.name}-{folder.name}"
    return locks / f"{name}.lock", locks / f"{name}.owner"


def find_owner(path: Path) -> str:
    """The owner of a folder that is in use.

    Between taking the lock and writing its name a process is unknown, or the file still names a
    process that has ended; so this waits a little.
    """
    latest = time.monotonic() + LONGEST_SILENCE
    while not (found := read_owner(path)) or not found.may_live():
        if time.monotonic() > latest:
            return "another process"
        time.sleep(0.01)
    return str(found)


def read_owner(path: Path) -> Owner | None:
    """The owner that a file names, if any."""
    try:
        found = bounded.parse_json(bounded.read(path, LONGEST_OWNER).decode())
        return Owner(int(found["pid"]), str(found["host"]))
    except (ValueError, KeyError, TypeError, OverflowError):
        return None
