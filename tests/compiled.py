"""Compiled programs that the tests of a machine share, whichever session needed them first.

JAX writes an entry in place and never repairs one that was cut short, so no process writes where
another reads: each has a folder of its own, filled with hard links, and gives whole entries back.
"""

import contextlib
import hashlib
import importlib.metadata
import os
import platform
import re
import shutil
import tempfile
import time
from pathlib import Path

DAY = 24 * 3600.0
SUFFIX = "-cache"


def machine() -> str:
    """A digest of what a compiled program depends on beyond JAX's own key: processor, versions."""
    try:
        described = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        described = platform.processor()
    parts = re.findall(r"^(?:model name|flags|Features)\s*:.*", described, re.MULTILINE)[:2]
    parts += [f"{name} {importlib.metadata.version(name)}" for name in ("jax", "jaxlib")]
    parts += [platform.machine(), str(os.cpu_count()), os.environ.get("XLA_FLAGS", "")]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


class Programs:
    """A process's own folder of compiled programs, and the one it shares with others.

    The shared one is `$BNJAX_TESTS_COMPILED`, else `bnjax/tests` in the user's cache folder.
    """

    def __init__(self, root: Path | None = None) -> None:
        caches = os.environ.get("XDG_CACHE_HOME") or "~/.cache"
        chosen = os.environ.get("BNJAX_TESTS_COMPILED") or f"{caches}/bnjax/tests"
        root = root or Path(chosen).expanduser()
        self.shared = root / machine()
        sessions = root / "sessions"
        try:
            for folder in (self.shared, sessions):
                folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            self.own = tempfile.TemporaryDirectory(dir=sessions, ignore_cleanup_errors=True)
        except OSError:  # nothing is shared where nothing can be written
            self.own = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
        self.folder = Path(self.own.name)
        self.unwhole: set[tuple[str, int]] = set()
        forget(sessions, days=3)  # of sessions that were killed
        forget(self.shared, days=30)
        self.exchange()

    def exchange(self) -> None:
        """Give others the new programs of this process, and take theirs."""
        own, shared = names(self.folder), names(self.shared)
        for name in own - shared:
            mine = self.folder / name
            # Digests of JAX's keys are names, so an entry of that name is as good.
            with contextlib.suppress(OSError):
                known = (name, mine.stat().st_size)
                if known in self.unwhole or not is_whole(mine):
                    self.unwhole.add(known)
                else:
                    os.link(mine, self.shared / name)
        for name in shared - own:
            with contextlib.suppress(OSError):
                os.link(self.shared / name, self.folder / name)

    def close(self) -> None:
        """Give others what is new, and remove the own folder."""
        self.exchange()
        self.own.cleanup()


def names(folder: Path) -> set[str]:
    """The entries of a folder."""
    try:
        return {name for name in os.listdir(folder) if name.endswith(SUFFIX)}
    except OSError:
        return set()


def is_whole(entry: Path) -> bool:
    """Whether an entry was written to its end."""
    from jax._src import compilation_cache  # what reads it; imported after JAX is configured

    try:
        return len(compilation_cache.decompress_executable(entry.read_bytes())) > 4
    except Exception:  # of zlib or zstd
        return False


def forget(folder: Path, days: float) -> None:
    """Remove what was neither read nor written for so many days."""
    oldest = time.time() - days * DAY
    with contextlib.suppress(OSError):
        for entry in os.scandir(folder):
            status = entry.stat()
            if max(status.st_atime, status.st_mtime) < oldest:
                if entry.is_dir():
                    shutil.rmtree(entry.path, ignore_errors=True)
                else:
                    Path(entry.path).unlink(missing_ok=True)
