"""The kinds of files that a run writes, each whole or not at all: JSON documents and arrays."""

import hashlib
import io
import json
import typing
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from bnjax.errors import RunError
from bnjax.frame import bounded, disk

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
    """Write one JSON document."""
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

    Args:
      content: plain values; strings as keys, finite numbers.

    Example:
      >>> seal({"step": 1})[:24]
      '{\n "step": 1,\n "~sha256"'
    """
    text = json.dumps(content, sort_keys=True, allow_nan=False)
    digest = hashlib.sha256(text.encode()).hexdigest()
    return json.dumps({**content, SEAL: digest}, indent=1, sort_keys=True) + "\n"


def read_sealed(path: Path, number: int, kind: type[Record]) -> Record:
    """The record that `write_sealed` wrote.

    Args:
      path: of the file.
      number: the value that its entry `format` must have.
      kind: a NamedTuple, whose annotations say the types.

    Raises:
      ForeignFormat: it is whole, and of another format.
      ValueError: it cannot be read, has no format, differs from the written text, or has entries
        or types that `kind` has not.
    """
    try:
        text = bounded.read(path, bounded.LARGEST_DOCUMENT).decode("ascii")
        content = bounded.parse_json(text)
        if not isinstance(content, dict):
            raise ValueError("it is no object")
        found = content.get("format")
        if found is None:
            raise ValueError("it has no format: another version or another program made it")
        content.pop(SEAL, None)
        if seal(content) != text:
            raise ValueError("it is not what was written")
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    if type(found) is not int or found != number:
        raise ForeignFormat(found, number)
    hints = typing.get_type_hints(kind)
    if content.keys() != {"format", *hints} or any(
        type(content[name]) is not (typing.get_origin(hint) or hint) for name, hint in hints.items()
    ):
        raise ValueError("it has other entries than ours, or values of other types")
    return kind(**{name: content[name] for name in hints})


def write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write named arrays as an archive that `numpy.load` reads.

    Raises:
      ValueError: one is of Python objects, which would need pickling.
    """
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


def read_npz(path: Path) -> dict[str, np.ndarray]:
    """Read named arrays.

    Raises:
      RunError: the file is missing or damaged.
    """
    try:
        return bounded.read_arrays(path)
    except ValueError as error:
        raise RunError(
            f"{path} cannot be read ({error}): restore it, or give the command that made it again"
        ) from error
