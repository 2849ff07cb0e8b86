"""The writer: every byte of a run reaches the disk through this module.

A file or folder is there whole or not at all, also after a power cut: temporary name, fsync,
rename, fsync of the folder around it. Only the first six functions change the disk. A test replaces
them to record the operations in their order, or to let one fail.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

from bnjax.errors import RunError, told

TEMPORARY = ".tmp"  # suffix of an unfinished file or folder; its name begins with a dot


def write_file(path: Path, content: bytes | memoryview) -> None:
    """Write a file in place; it is on the disk after `sync`."""
    with open(path, "wb") as file:
        file.write(content)


def sync(path: Path) -> None:
    """Flush one file, or one folder's list of names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def rename(source: Path, target: Path) -> None:
    os.replace(source, target)


def make_directory(path: Path) -> None:
    path.mkdir(exist_ok=True)


def unlink(path: Path) -> None:
    path.unlink(missing_ok=True)


def remove_directory(path: Path) -> None:
    path.rmdir()


def write(path: Path, content: bytes | memoryview) -> None:
    """Write a file, whole or not at all; an existing one stays until the new one is on the disk."""
    with replacing(path) as temporary:
        write_file(temporary, content)


@contextlib.contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A temporary path for a library that writes files itself; it becomes `path` at the end.

    If the block raises, `path` is as before and the temporary file is deleted.
    """
    temporary = temporary_name(path)
    try:
        yield temporary
        publish(temporary, path)
    except OSError as error:  # writing and flushing name no file
        if error.errno is not None and error.filename is None:
            error.filename = str(path)
        raise
    finally:
        if temporary.exists():
            unlink(temporary)


@contextlib.contextmanager
def naming_errors() -> Iterator[None]:
    """Within the block an error of the system becomes a `RunError` with the file and a remedy."""
    try:
        yield
    except OSError as error:
        file = f"{error.filename}: " if error.filename else ""
        raise RunError(
            f"{file}{error.strerror or told(error)}: make room or mend that; the same command "
            "continues"
        ) from error


def temporary_name(path: Path) -> Path:
    """A hidden name next to `path` that no other process uses."""
    return path.with_name(f".{path.name}.{os.getpid()}{TEMPORARY}")


def publish(temporary: Path, path: Path) -> None:
    """Give a finished file or folder its name, once all its content is on the disk.

    A folder in the place of a file is not ours and is set aside.
    """
    flush(temporary)
    if path.is_dir() and not temporary.is_dir():
        set_aside(path)
    rename(temporary, path)
    sync(path.parent)


def flush(path: Path) -> None:
    """Flush a file, or a folder with all its content, to the disk."""
    if path.is_dir():
        for child in sorted(path.iterdir()):
            flush(child)
    sync(path)


def make_folder(path: Path) -> None:
    """Make a folder and its missing parents, with their names on the disk."""
    missing = [place for place in (path, *path.parents) if not place.exists()]
    for place in reversed(missing):
        make_directory(place)
        sync(place.parent)


def set_aside(path: Path) -> Path:
    """Rename a file or folder to the first free name of `<name>.old1`, `.old2`, …; return it."""
    count = 1
    while (unused := path.with_name(f"{path.name}.old{count}")).exists():
        count += 1
    rename(path, unused)
    sync(path.parent)
    return unused


def remove(path: Path) -> None:
    """Delete a folder; no half of it is ever seen under its name, even after a power cut."""
    temporary = temporary_name(path)
    rename(path, temporary)
    sync(path.parent)
    delete(temporary)


def delete(path: Path) -> None:
    if path.is_symlink() or not path.is_dir():
        unlink(path)
        return
    for child in path.iterdir():
        delete(child)
    remove_directory(path)


def remove_leftovers(folder: Path) -> None:
    """Delete the unfinished files and folders that killed processes left in a folder."""
    for path in folder.glob(f".*{TEMPORARY}"):
        delete(path)
