"""Reading of files that others may have made: plain files only, and never more than a limit.

Nothing here unpickles, follows a link inside a run folder, waits for a pipe, or believes a size
before it is compared with that of the file.
"""

import contextlib
import json
import math
import os
import stat
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

LARGEST_DOCUMENT = 16 * 2**20  # bytes of a JSON document
LARGEST_ARRAYS = 8 * 2**30  # bytes of a file of arrays
MOST_MEMBERS = 100_000
KINDS = "biufcU"  # numbers and texts; no objects, no raw bytes


@contextlib.contextmanager
def opened(path: Path, largest: int, *, follow: bool = False) -> Iterator[IO[bytes]]:
    """A plain file, open for reading.

    Args:
      path: of the file.
      largest: bytes that it may have.
      follow: accept a symbolic link, as in a path that a person typed.

    Raises:
      ValueError: it is missing, unreadable, too large, a link or not a plain file; says which.
    """
    # A pipe without a writer would block; a device has no end.
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_CLOEXEC", 0)
    try:
        if not follow and path.is_symlink():
            raise ValueError("it is a symbolic link")
        descriptor = os.open(path, flags)
    except OSError as error:
        raise ValueError(error.strerror or str(error)) from error
    try:
        info = os.fstat(descriptor)
        if not stat.S_ISREG(info.st_mode):
            raise ValueError("it is not a plain file")
        if info.st_size > largest:
            raise ValueError(f"it has {info.st_size} bytes, of {largest} at most")
        with open(descriptor, "rb", closefd=False) as file:
            yield file
    finally:
        os.close(descriptor)


def read(path: Path, largest: int, *, follow: bool = False) -> bytes:
    """The content of a plain file; arguments and errors as those of `opened`."""
    with opened(path, largest, follow=follow) as file:
        try:
            return file.read(largest)
        except OSError as error:
            raise ValueError(error.strerror or str(error)) from error


def parse_json(text: str) -> Any:
    """The value of a JSON document.

    Raises:
      ValueError: it is not JSON, is nested too deeply, or has a number of too many digits.
    """
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an archive that `numpy.savez` or `files.write_npz` wrote.

    Raises:
      ValueError: it is damaged, compressed (a small file could claim any size), or has arrays of
        another kind or size than its bytes allow.
    """
    with opened(path, LARGEST_ARRAYS) as file:
        try:
            with zipfile.ZipFile(file) as archive:
                check_members(archive.infolist(), os.fstat(file.fileno()).st_size)
                return {
                    member.filename.removesuffix(".npy"): read_array(archive, member)
                    for member in archive.infolist()
                }
        except ValueError:
            raise
        except Exception as error:  # zipfile, numpy and zlib raise errors of many kinds
            raise ValueError(str(error) or type(error).__name__) from error


def check_members(members: list[zipfile.ZipInfo], size: int) -> None:
    """Refuse an archive whose list of members promises more than its file holds."""
    if len(members) > MOST_MEMBERS or len({m.filename for m in members}) != len(members):
        raise ValueError("its members are too many, or two have one name")
    if any(member.compress_type != zipfile.ZIP_STORED for member in members):
        raise ValueError("its members are compressed")
    if any(not member.filename.endswith(".npy") for member in members):
        raise ValueError("its members are not all arrays")
    if sum(member.file_size for member in members) > size:
        raise ValueError("its members are larger than the file")


def read_array(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> np.ndarray:
    """One array, read only after its header has been compared with its size."""
    headers: dict[Any, Any] = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }
    with archive.open(member) as stream:
        version = np.lib.format.read_magic(stream)
        if version not in headers:
            raise ValueError(f"{member.filename} has version {version}")
        shape, _, dtype = headers[version](stream)
        claimed, held = math.prod(shape) * dtype.itemsize, member.file_size - stream.tell()
    # The shape of an array without elements could be absurd.
    plausible = dtype.itemsize and claimed == held and min(shape, default=0) >= 0
    if dtype.kind not in KINDS or not plausible:
        raise ValueError(f"{member.filename} does not hold {list(shape)} of {dtype}")
    with archive.open(member) as stream:
        return np.lib.format.read_array(stream, allow_pickle=False)
