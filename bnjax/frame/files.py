"""The kinds of files that a run writes, each whole or not at all: JSON documents and arrays."""

import contextlib
import hashlib
import io
import json
import math
import os
import stat
import typing
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import IO, Any, TypeAlias, TypeVar

import numpy as np

from bnjax.errors import RunError
from bnjax.frame import disk

METRICS, RESULTS = "metrics.jsonl", "results.nc"
LARGEST_DOCUMENT = 16 * 2**20  # bytes of a JSON document
LARGEST_ARRAYS = 8 * 2**30  # bytes of a file of arrays
MOST_MEMBERS = 100_000
KINDS = "biufcU"  # numbers and texts; no objects, no raw bytes


@contextlib.contextmanager
def opened(path: Path, largest: int, *, follow: bool = False) -> Iterator[IO[bytes]]:
    """A plain file, open for reading; for anything else a `ValueError` says what it is.

    `follow` accepts a symbolic link, as in a path that a person typed.
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
    """The content of a plain file, as `opened`."""
    with opened(path, largest, follow=follow) as file:
        try:
            return file.read(largest)
        except OSError as error:
            raise ValueError(error.strerror or str(error)) from error


def parse_json(text: str) -> Any:
    """The value of a JSON document; one that is nested too deeply is a `ValueError`, too."""
    try:
        return json.loads(text)
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error


def read_arrays(path: Path) -> dict[str, np.ndarray]:
    """The arrays of an archive that `numpy.savez` or `write_npz` wrote.

    A `ValueError` if it is damaged, compressed (a small file could claim any size), or has arrays
    of another kind or size than its bytes allow.
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


Inventory: TypeAlias = Mapping[str, Mapping[str, Any]]  # by relative path: size, sha256


def take(folder: Path, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Size in bytes and SHA-256 of some files of a folder, by their relative paths."""
    return {
        name: {"size": (folder / name).stat().st_size, "sha256": file_digest(folder / name)}
        for name in names
    }


def file_digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def names(folder: Path) -> list[str]:
    """The relative paths of all files and links in a folder and its subfolders."""
    leaves = (path for path in entries(folder) if path.is_symlink() or not path.is_dir())
    return sorted(path.relative_to(folder).as_posix() for path in leaves)


def entries(folder: Path) -> Iterator[Path]:
    """All entries of a folder and its subfolders; links are not followed."""
    for place, inner, files in os.walk(folder):
        yield from (Path(place) / name for name in (*inner, *files))


def is_inventory(value: Any) -> bool:
    """Whether a value from a file is an inventory whose names stay inside their folder."""
    return isinstance(value, dict) and all(
        is_inside(name)
        and isinstance(entry, dict)
        and type(entry.get("size")) is int
        and isinstance(entry.get("sha256"), str)
        for name, entry in value.items()
    )


def is_inside(name: str) -> bool:
    return "\0" not in name and not any(part in ("", ".", "..") for part in name.split("/"))


def find_damage(folder: Path, expected: Inventory, *, read: bool = True) -> dict[str, str]:
    """The damage of each damaged file of a folder, by name; without `read` only sizes are compared.

    A file of another size is not read, nor a file larger than a run writes: a huge one costs
    nothing.
    """
    found = {name: file_damage(folder / name, entry, read) for name, entry in expected.items()}
    return {name: damage for name, damage in found.items() if damage}


def file_damage(path: Path, expected: Mapping[str, Any], read: bool) -> str:
    try:
        info = path.lstat()
        if not stat.S_ISREG(info.st_mode):
            return "is not a plain file"
        if info.st_size != expected["size"]:
            return f"has {info.st_size} bytes, of {expected['size']} that were written"
        if info.st_size > LARGEST_ARRAYS:
            return f"has {info.st_size} bytes, more than a run writes ({LARGEST_ARRAYS})"
        if read and file_digest(path) != expected["sha256"]:
            return "differs from what was written"
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return ""


def refuse_links(folder: Path, *, deep: bool = True) -> None:
    """Refuse a folder that is or holds a symbolic link, through which writing could go anywhere."""
    for path in (folder, *(entries(folder) if deep else ())):
        if path.is_symlink():
            raise RunError(
                f"{path} is a symbolic link, and could lead anywhere: put what it points to in "
                "its place, or give another folder"
            )


SEAL = "~sha256"  # sorts last
Record = TypeVar("Record", bound=tuple)  # a NamedTuple
READERS = {"1": "bnjax 0.1"}  # of other formats


class ForeignFormat(ValueError):
    """A sound document of another format: another version of bnjax wrote it."""

    def __init__(self, found: object, expected: int) -> None:
        number = str(found)[:20]
        reader = READERS.get(number, "another version of bnjax")
        super().__init__(f"it is of {reader} (format {number}, here {expected})")


def write_json(path: Path, content: Any) -> None:
    disk.write(path, (json.dumps(plain(content), indent=2, allow_nan=False) + "\n").encode())


def plain(value: Any) -> Any:
    """The value as JSON has it: NaN and infinities become the strings `NaN` and `±Infinity`."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return "NaN" if np.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    return str(value) if isinstance(value, Path) else value


def write_sealed(path: Path, number: int, record: Any) -> None:
    """Write the fields of a NamedTuple as one JSON document, with its format and a digest."""
    disk.write(path, seal(plain({"format": number, **record._asdict()})).encode())


def seal(content: Mapping[str, Any]) -> str:
    r"""The text of a document whose last entry is the SHA-256 of all others.

    The digest shows damage. It does not stop a forger, so a reader still checks the values.

    Example:
      >>> seal({"step": 1})[:24]
      '{\n "step": 1,\n "~sha256"'
    """
    text = json.dumps(content, sort_keys=True, allow_nan=False)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return json.dumps({**content, SEAL: digest}, indent=1, sort_keys=True) + "\n"


def read_sealed(path: Path, number: int, kind: type[Record]) -> Record:
    """The NamedTuple that `write_sealed` wrote, its types as annotated.

    `ForeignFormat` if it is whole and of another format, another `ValueError` if it is damaged.
    """
    try:
        text = read(path, LARGEST_DOCUMENT).decode("ascii")
        content = parse_json(text)
        if not isinstance(content, dict):
            raise ValueError("it is no object")
        found = content.get("format")
        if found is None:
            raise ValueError("it has no format: another version or another program made it")
        content.pop(SEAL, None)
        if seal(content) != text:
            raise ValueError("it was changed after it was written")
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if type(found) is not int or found != number:
        raise ForeignFormat(found, number)
    return build(kind, {name: value for name, value in content.items() if name != "format"})


def build(kind: type[Record], content: Mapping[str, Any]) -> Record:
    """A NamedTuple of values from a file, their names and types as annotated; else `ValueError`."""
    hints = typing.get_type_hints(kind)
    if content.keys() != hints.keys() or any(
        type(content[name]) is not (typing.get_origin(hint) or hint) for name, hint in hints.items()
    ):
        raise ValueError("it has other entries than ours, or values of other types")
    return kind(**content)


def write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write named arrays as an archive that `numpy.load` reads."""
    disk.write(path, pack(arrays))


def pack(arrays: Mapping[str, np.ndarray]) -> memoryview:
    """The bytes of `numpy.savez`, which has no way to refuse objects before numpy 2.1."""
    if objects := [name for name, array in arrays.items() if np.asarray(array).dtype.hasobject]:
        raise ValueError(f"{' '.join(objects)}: arrays of Python objects are not written")
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, array in arrays.items():
            with archive.open(f"{name}.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array(member, np.asanyarray(array), allow_pickle=False)
    return buffer.getbuffer()


def read_attributes(path: Path, names: Iterable[str]) -> dict[str, str]:
    """Texts that a netCDF file of version 3 has as attributes, its variables left on the disk."""
    from scipy.io import netcdf_file

    try:
        with netcdf_file(path, mmap=True) as found:
            return {name: getattr(found, name).decode() for name in names}
    except Exception as error:  # scipy raises errors of many kinds
        raise ValueError(str(error) or type(error).__name__) from error


def read_npz(path: Path) -> dict[str, np.ndarray]:
    try:
        return read_arrays(path)
    except ValueError as error:
        raise RunError(
            f"{path} cannot be read ({error}): restore it, or give the command that made it again"
        ) from error
