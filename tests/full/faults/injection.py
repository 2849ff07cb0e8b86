"""Faults at the n-th operation on files, counted inside the process that they befall.

Every opening for writing, mkdir, rename, unlink, rmdir, truncation and fsync below a folder that
Python does is one point; a fault can come before each. After operation n is before operation n + 1.
"""

import errno
import os
import resource
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

KINDS = ("kill", "EIO", "ENOSPC", "short")
AUDITED = {"open", "os.mkdir", "os.rename", "os.remove", "os.rmdir", "os.truncate"}
SHORT = 7  # bytes: how far a file can be written when writes fall short


class Points:
    """Counts operations below a folder, and lets a fault happen at one of them."""

    def __init__(self, folder: str, at: int, kind: str, log: str) -> None:
        self.folder, self.at, self.kind, self.log = os.path.realpath(folder), at, kind, log
        self.seen = 0
        self.lock = threading.RLock()
        self.inside = threading.local()

    def audit(self, event: str, arguments: tuple) -> None:
        """The hook that Python calls before its operations on files."""
        if event not in AUDITED or getattr(self.inside, "hook", False):
            return
        if event == "open" and not arguments[2] & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
            return
        self.inside.hook = True
        try:
            path = full_path(event, arguments)
            if path.startswith(self.folder):
                self.count(event, path)
        finally:
            self.inside.hook = False

    def count(self, event: str, path: str) -> None:
        """One more operation; the fault, if it is the one."""
        with self.lock:
            self.seen += 1
            if self.log:
                descriptor = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
                os.write(descriptor, f"{self.seen} {event} {path[len(self.folder) :]}\n".encode())
                os.close(descriptor)
            if self.seen == self.at:
                self.fire(path)

    def fire(self, path: str) -> None:
        """Kill this process, or fail the operation, or let all writes from now on fall short."""
        if self.kind == "kill":
            os.kill(os.getpid(), signal.SIGKILL)
        elif self.kind == "short":
            resource.setrlimit(resource.RLIMIT_FSIZE, (SHORT, resource.RLIM_INFINITY))
        else:
            number = getattr(errno, self.kind)
            raise OSError(number, os.strerror(number), path)


def full_path(event: str, arguments: tuple) -> str:
    """The path of an operation; relative names are those of an open folder, or of this process."""
    path, folder = arguments[0], None
    if event in ("os.remove", "os.rmdir"):
        folder = arguments[1]
    elif event == "os.mkdir" or event == "os.rename":
        folder = arguments[2]
    if isinstance(path, int):
        return descriptor_path(path)
    path = os.fsdecode(path)
    if not os.path.isabs(path):
        base = descriptor_path(folder) if isinstance(folder, int) and folder >= 0 else os.getcwd()
        path = os.path.join(base, path)
    return os.path.realpath(os.path.dirname(path)) + os.sep + os.path.basename(path)


def descriptor_path(descriptor: int) -> str:
    """What an open descriptor belongs to."""
    try:
        return os.readlink(f"/proc/self/fd/{descriptor}")
    except OSError:
        return ""


def install(faults: dict[str, Any]) -> None:
    """Put the faults of a job in this process's way."""
    if "points" in faults:
        points = Points(**faults["points"])
        sys.addaudithook(points.audit)
        os.fsync = counted(os.fsync, points)
    for name in faults.get("hooks", ()):
        from faults import hooks

        getattr(hooks, name)(faults)


def counted(operation: Callable[[int], None], points: Points) -> Callable[[int], None]:
    """An operation on a descriptor, which Python does not audit, as one more point."""

    def call(descriptor: int) -> None:
        path = descriptor_path(descriptor)
        if path.startswith(points.folder):
            points.inside.hook = True
            try:
                points.count("os.fsync", path)
            finally:
                points.inside.hook = False
        operation(descriptor)

    return call
