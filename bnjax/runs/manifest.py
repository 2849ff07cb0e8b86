"""The manifest of a checkpoint: what is in it, with digests, so that damage is never restored.

Orbax restores flipped bits without a word. A checkpoint counts only with a manifest, which is
written after everything else, and only if every file and every array is what it says.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from bnjax.arithmetic import trees
from bnjax.runs import disk

FORMAT = 1
NAME = "MANIFEST.json"
LARGEST = 64 * 2**20  # bytes; a manifest beyond this is none of ours


class Manifest(NamedTuple):
    """What a checkpoint holds."""

    format: int
    run: str  # which arm of which configuration, so that no other run's is taken for it
    step: int
    files: dict[str, dict[str, Any]]  # by relative path: size in bytes, SHA-256
    arrays: dict[str, dict[str, Any]]  # by name: shape, dtype, SHA-256 of the C-ordered bytes


def make(folder: Path, run: str, step: int, tree: Any) -> Manifest:
    """The manifest of a folder of files that hold a pytree of arrays.

    Args:
      folder: all its files count.
      run: name of the arm and its configuration.
      step: training steps that are done.
      tree: what the files hold.
    """
    files = {
        path.relative_to(folder).as_posix(): {
            "size": path.stat().st_size,
            "sha256": disk.file_digest(path),
        }
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != NAME
    }
    return Manifest(FORMAT, run, step, files, describe(tree))


def describe(tree: Any) -> dict[str, dict[str, Any]]:
    """Shape, dtype and digest of every array of a pytree, by its name."""
    leaves = jax.device_get(jax.tree.leaves(tree))
    return {
        name: {
            "shape": list(np.shape(leaf)),
            "dtype": str(np.asarray(leaf).dtype),
            "sha256": hashlib.sha256(np.ascontiguousarray(leaf).tobytes()).hexdigest(),
        }
        for name, leaf in zip(trees.leaf_names(tree), leaves, strict=True)
    }


def describe_shapes(tree: Any) -> dict[str, dict[str, Any]]:
    """Shape and dtype of every array of a pytree, by its name."""
    return {
        name: {"shape": list(leaf.shape), "dtype": str(leaf.dtype)}
        for name, leaf in zip(trees.leaf_names(tree), jax.tree.leaves(tree), strict=True)
    }


def write(folder: Path, manifest: Manifest) -> None:
    """Write a manifest into the folder that it describes."""
    (folder / NAME).write_text(render(manifest))


def render(manifest: Manifest) -> str:
    """The one text of a manifest, whose last entry is the digest of all others."""
    content = manifest._asdict()
    text = json.dumps(content, sort_keys=True)
    content["~sha256"] = hashlib.sha256(text.encode()).hexdigest()
    return json.dumps(content, indent=1, sort_keys=True) + "\n"


def read(folder: Path) -> Manifest:
    """The manifest in a folder.

    Raises:
      ValueError: there is none, or it is not one of this format.
    """
    path = folder / NAME
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError(f"its {NAME} is {path.stat().st_size} bytes long")
        text = path.read_text()
        content = json.loads(text)
    except OSError as error:
        raise ValueError(f"its {NAME} cannot be read ({error.strerror})") from error
    except (ValueError, RecursionError) as error:
        raise ValueError(f"its {NAME} is damaged ({error})") from error
    if not isinstance(content, dict):
        raise ValueError(f"its {NAME} is damaged (no object)")
    if content.get("format", FORMAT) != FORMAT:
        raise ValueError(f"it has format {content['format']!r}, not {FORMAT}")
    if not set(Manifest._fields) < set(content):
        raise ValueError(f"its {NAME} lacks some of {', '.join(Manifest._fields)}")
    found = Manifest(*(content[field] for field in Manifest._fields))
    if render(found) != text:
        raise ValueError(f"its {NAME} is not what was written")
    return found


def find_damage(folder: Path, run: str) -> str:
    """What is wrong with a checkpoint, judged by its files alone; empty if nothing is.

    Args:
      folder: of the checkpoint, named by its step.
      run: name of the arm and its configuration.
    """
    try:
        manifest = read(folder)
    except ValueError as error:
        return str(error)
    if manifest.run != run:
        return f"it belongs to the run {manifest.run}, not to {run}"
    if str(manifest.step) != folder.name:
        return f"it is of step {manifest.step}"
    found = {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and path.name != NAME
    }
    if found != set(manifest.files):
        return f"files are missing or foreign: {' '.join(sorted(found ^ set(manifest.files)))}"
    for name, expected in manifest.files.items():
        path = folder / name
        if not isinstance(expected, Mapping) or path.stat().st_size != expected.get("size"):
            return f"{name} has {path.stat().st_size} bytes, not what the manifest says"
        if disk.file_digest(path) != expected.get("sha256"):
            return f"{name} is not what was written"
    return ""
