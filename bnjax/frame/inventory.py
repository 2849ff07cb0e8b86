"""The files of a folder with sizes and digests, and the differences that are found later."""

import hashlib
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from bnjax.errors import RunError
from bnjax.frame.bounded import LARGEST_ARRAYS

Inventory: TypeAlias = Mapping[str, Mapping[str, Any]]  # by relative path: size, sha256


def take(folder: Path, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Size in bytes and SHA-256 of some files of a folder, by their relative paths."""
    return {
        name: {"size": (folder / name).stat().st_size, "sha256": file_digest(folder / name)}
        for name in names
    }


def file_digest(path: Path) -> str:
    """The SHA-256 of a file's content, in hexadecimal digits."""
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
    """Whether a relative path stays in its folder."""
    return "\0" not in name and not any(part in ("", ".", "..") for part in name.split("/"))


def find_damage(folder: Path, expected: Inventory, *, read: bool = True) -> dict[str, str]:
    """The damage of each damaged file of a folder, by name.

    A file of another size is not read, nor a file larger than a run writes: a huge one costs
    nothing.

    Args:
      folder: of the inventory.
      expected: from `take`, or from a file if `is_inventory`.
      read: False looks at names and sizes only.
    """
    found = {name: file_damage(folder / name, entry, read) for name, entry in expected.items()}
    return {name: damage for name, damage in found.items() if damage}


def file_damage(path: Path, expected: Mapping[str, Any], read: bool) -> str:
    """The damage of one file; empty if it is sound."""
    try:
        info = path.lstat()
        if not stat.S_ISREG(info.st_mode):
            return "is not a plain file"
        if info.st_size != expected["size"]:
            return f"has {info.st_size} bytes, of {expected['size']} that were written"
        if info.st_size > LARGEST_ARRAYS:
            return f"has {info.st_size} bytes, more than a run writes ({LARGEST_ARRAYS})"
        if read and file_digest(path) != expected["sha256"]:
            return "is not what was written"
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return ""


def refuse_links(folder: Path, *, deep: bool = True) -> None:
    """Refuse a folder that is or holds a symbolic link, through which writing could go anywhere.

    Args:
      folder: of a run; it need not exist.
      deep: look at its content too.

    Raises:
      RunError: names the link.
    """
    for path in (folder, *(entries(folder) if deep else ())):
        if path.is_symlink():
            raise RunError(
                f"{path} is a symbolic link, and could lead anywhere: put what it points to in "
                "its place, or give another --out"
            )
