"""One process for a run folder; the others are told who has it."""

import contextlib
import json
import os
import socket
from collections.abc import Iterator
from pathlib import Path

from filelock import FileLock, Timeout

from bnjax.errors import RunError
from bnjax.storage import bounded, inventory
from bnjax.storage.printable import printable

LOCKS = ".locks"
LONGEST_OWNER = 1000  # characters


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
        raise RunError(
            f"{folder} is in use by {describe(owner)}: wait until that ends, or give another --out"
        ) from error
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
    try:
        found = bounded.parse_json(bounded.read(owner, LONGEST_OWNER).decode())
        if found["host"] == socket.gethostname():
            with contextlib.suppress(PermissionError):  # it lives, as another user's
                os.kill(int(found["pid"]), 0)
        with bounded.opened(lock, LONGEST_OWNER) as file:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return describe(owner)
    except (OSError, ValueError, KeyError, TypeError, OverflowError):
        pass
    return ""


def remove_if_empty(*folders: Path) -> None:
    """Remove folders, inner ones first, as far as there is nothing in them."""
    with contextlib.suppress(OSError):
        for folder in folders:
            folder.rmdir()


def describe(owner: Path) -> str:
    """Who has a run folder, as far as is known."""
    try:
        found = bounded.parse_json(bounded.read(owner, LONGEST_OWNER).decode())
        return f"process {int(found['pid'])} on {printable(found['host'], 100)}"
    except (ValueError, KeyError, TypeError, OverflowError):
        return "another process"
