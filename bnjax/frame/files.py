"""The kinds of files that a run writes, each whole or not at all: JSON, JSON lines, arrays."""

import hashlib
import io
import json
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from bnjax.errors import RunError
from bnjax.frame import bounded, disk

SEAL = "~sha256"  # sorts last


class ForeignFormat(ValueError):
    """A sound document of another format: another version of bnjax wrote it."""

    def __init__(self, found: object, expected: int) -> None:
        self.found = str(found)[:20]
        super().__init__(f"it has format {self.found}, not {expected}")


def write_json(path: Path, content: Any) -> None:
    """Write one JSON document."""
    disk.write(path, (json.dumps(plain(content), indent=2, allow_nan=False) + "\n").encode())


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write one JSON document per line."""
    lines = (json.dumps(plain(row), allow_nan=False) + "\n" for row in rows)
    disk.write(path, "".join(lines).encode())


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


def write_sealed(path: Path, content: Mapping[str, Any]) -> None:
    """Write one JSON document with a digest of itself."""
    disk.write(path, seal(plain(content)).encode())


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


def read_sealed(path: Path, expected_format: int) -> dict[str, Any]:
    """The content of a document that `seal` rendered.

    Args:
      path: of the file.
      expected_format: the value that its entry `format` must have.

    Raises:
      ForeignFormat: it is whole, and of another format.
      ValueError: it cannot be read, has no format, or differs from the written text.
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
    if type(found) is not int or found != expected_format:
        raise ForeignFormat(found, expected_format)
    return content


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
        return bounded.read_npz(path)
    except ValueError as error:
        raise RunError(
            f"{path} cannot be read ({error}): restore it, or give the command that made it again"
        ) from error
