"""Files of the kinds that a run writes, each whole or not at all, and their reading."""

import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np

from bnjax.errors import RunError
from bnjax.frame import bounded, disk, sealed


def write_json(path: Path, content: Any) -> None:
    """Write one JSON document."""
    with disk.replacing(path) as temporary:
        temporary.write_text(json.dumps(plain(content), indent=2, allow_nan=False) + "\n")


def write_sealed(path: Path, content: Mapping[str, Any]) -> None:
    """Write one JSON document that carries its own digest."""
    with disk.replacing(path) as temporary:
        temporary.write_text(sealed.render(plain(content)))


def write_jsonl(path: Path, rows: Iterable[Mapping[str, Any]]) -> None:
    """Write one JSON document a line."""
    with disk.replacing(path) as temporary, open(temporary, "w") as file:
        file.writelines(json.dumps(plain(row), allow_nan=False) + "\n" for row in rows)


def write_npz(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write named arrays; none of them may need pickling.

    Raises:
      ValueError: one would.
    """
    # numpy 2.0's `savez` pickles whatever needs it, and cannot be told not to.
    if objects := [name for name, array in arrays.items() if np.asarray(array).dtype.hasobject]:
        raise ValueError(f"{' '.join(objects)}: arrays of Python objects are not written")
    buffer = io.BytesIO()
    np.savez(buffer, **cast(dict[str, Any], arrays))
    with disk.replacing(path) as temporary:
        temporary.write_bytes(buffer.getvalue())


def plain(value: Any) -> Any:
    """JSON has no NaN and no infinity: they become the strings that say so."""
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.generic):
        return plain(value.item())
    if isinstance(value, float) and not np.isfinite(value):
        return "NaN" if np.isnan(value) else "Infinity" if value > 0 else "-Infinity"
    if isinstance(value, Path):
        return str(value)
    return value


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
