"""Files that are there whole or not at all, also after a power cut: temporary name, fsync, rename.

Every change to a run folder goes through these few functions.
"""

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

TEMPORARY = ".tmp"  # the suffix of what is not finished; the name begins with a dot
BLOCK = 1 << 20


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary name beside `path` that becomes `path` if the block ends well.

    Args:
      path: of a file; what is there stays until the new one is on the disk.

    Yields:
      The path to write to.
    """
    temporary = temporary_name(path)
    try:
        yield temporary
        publish(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write(path: Path, content: bytes) -> None:
    """Write a file, whole or not at all."""
    with replacing(path) as temporary:
        temporary.write_bytes(content)


def temporary_name(path: Path) -> Path:
    """A hidden name beside `path` that only this process uses."""
    return path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY}")


def publish(temporary: Path, path: Path) -> None:
    """Give a finished file or folder its name, once all of it is on the disk.

    Args:
      temporary: on the same file system; a folder is flushed with all that is in it.
      path: of a file, replaced if it exists, or of a folder that does not exist. A folder in the
        place of a file is no work of ours, and is set aside.
    """
    flush(temporary)
    if path.is_dir() and not temporary.is_dir():
        set_aside(path)
    os.replace(temporary, path)
    flush_entry(path.parent)


def make_folder(path: Path) -> None:
    """Make a folder, and those it is to be in, so that their names are on the disk, too."""
    missing = [place for place in (path, *path.parents) if not place.exists()]
    path.mkdir(parents=True, exist_ok=True)
    for place in missing:
        flush_entry(place.parent)


def flush(path: Path) -> None:
    """Have the system write a file, or a folder and all that is in it, to the disk."""
    if path.is_dir():
        for child in sorted(path.iterdir()):
            flush(child)
    flush_entry(path)


def flush_entry(path: Path) -> None:
    """Have the system write one file, or one folder's list of names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_leftovers(folder: Path) -> None:
    """Delete what processes that were killed left unfinished in a folder."""
    for path in folder.glob(f".*{TEMPORARY}"):
        shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)


def remove(path: Path) -> None:
    """Delete a folder so that no half of it is ever seen under its name."""
    temporary = temporary_name(path)
    os.replace(path, temporary)
    shutil.rmtree(temporary)


def set_aside(path: Path) -> Path:
    """Rename a file or folder to the first of `<name>.old1`, `.old2`, … that does not exist.

    Returns:
      The new path.
    """
    count = 1
    while (unused := path.with_name(f"{path.name}.old{count}")).exists():
        count += 1
    os.replace(path, unused)
    flush_entry(path.parent)
    return unused


def file_digest(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal digits."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while block := file.read(BLOCK):
            digest.update(block)
    return digest.hexdigest()
