"""What files a folder holds, with sizes and digests, and what has become of them since."""

import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, TypeAlias

from bnjax.errors import RunError
from bnjax.frame import disk
from bnjax.frame.bounded import LARGEST_ARRAYS

Inventory: TypeAlias = Mapping[str, Mapping[str, Any]]  # by relative path: size, sha256


def take(folder: Path, names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Size in bytes and SHA-256 of some files of a folder, by their relative paths."""
    return {
        name: {
            "size": (folder / name).stat().st_size,
            "sha256": disk.file_digest(folder / name),
        }
        for name in names
    }


def names(folder: Path) -> list[str]:
    """The relative paths of all that is in a folder and is no folder, links included."""
    return sorted(path.relative_to(folder).as_posix() for path in entries(folder) if is_leaf(path))


def entries(folder: Path) -> Iterator[Path]:
    """All that is in a folder and in the folders in it; what is behind links is not."""
    for place, inner, files in os.walk(folder):
        yield from (Path(place) / name for name in (*inner, *files))


def is_leaf(path: Path) -> bool:
    """Whether a path is no folder; a link to one is none."""
    return path.is_symlink() or not path.is_dir()


def is_inventory(value: Any) -> bool:
    """Whether a value from a file is one, of names that do not leave their folder."""
    return isinstance(value, dict) and all(
        is_inside(name)
        and isinstance(entry, dict)
        and type(entry.get("size")) is int
        and isinstance(entry.get("sha256"), str)
        for name, entry in value.items()
    )


def is_inside(name: str) -> bool:
    """Whether a relative path stays in its folder."""
    parts = name.split("/")
    return "\0" not in name and not any(part in ("", ".", "..") for part in parts)


def find_damage(folder: Path, expected: Inventory, *, read: bool = True) -> dict[str, str]:
    """What is wrong with the files of a folder, by name; empty if nothing is.

    A file of another size is not read, nor one that is larger than any that a run writes: a huge
    one costs nothing.

    Args:
      folder: that of the inventory.
      expected: from `take`, or `is_inventory` where a file told it.
      read: False looks at names and sizes alone.
    """
    found = {name: file_damage(folder / name, entry, read) for name, entry in expected.items()}
    return {name: damage for name, damage in found.items() if damage}


def file_damage(path: Path, expected: Mapping[str, Any], read: bool) -> str:
    """What is wrong with one file; empty if nothing is."""
    try:
        info = path.lstat()
        if not stat.S_ISREG(info.st_mode):
            return "is not a plain file"
        if info.st_size != expected["size"]:
            return f"has {info.st_size} bytes, of {expected['size']} that were written"
        if info.st_size > LARGEST_ARRAYS:
            return f"has {info.st_size} bytes, more than a run writes ({LARGEST_ARRAYS})"
        if read and disk.file_digest(path) != expected["sha256"]:
            return "is not what was written"
    except FileNotFoundError:
        return "is missing"
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    return ""


def refuse_links(folder: Path, *, deep: bool = True) -> None:
    """Refuse a folder in which anything is a symbolic link: writing could go anywhere.

    Args:
      folder: of a run; itself no link either. It need not exist.
      deep: look at what is in it too.

    Raises:
      RunError: naming the link.
    """
    for path in (folder, *(entries(folder) if deep else ())):
        if path.is_symlink():
            raise RunError(
                f"{path} is a symbolic link, and could lead anywhere: put what it points to in "
                "its place, or give another --out"
            )
