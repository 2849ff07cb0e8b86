"""The manifest of a checkpoint: what is in it, with digests, so that damage is never restored.

Orbax restores flipped bits without a word. A checkpoint counts only with a manifest, which is
written after everything else, and only if every file and every array is what it says.
"""

import hashlib
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from bnjax.arithmetic import trees
from bnjax.frame import inventory, sealed

FORMAT = 1
NAME = "MANIFEST.json"
# A record's flag, and the digest of its value when its arm is done.
COMPLETE = "record/complete"
DONE = hashlib.sha256(np.ones(()).tobytes()).hexdigest()


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
    names = [name for name in inventory.names(folder) if name != NAME]
    return Manifest(FORMAT, run, step, inventory.take(folder, names), describe(tree))


def describe(tree: Any) -> dict[str, dict[str, Any]]:
    """Shape, dtype and digest of every array of a pytree, by its name."""
    return {
        name: {
            "shape": list(np.shape(leaf)),
            "dtype": str(np.asarray(leaf).dtype),
            "sha256": hashlib.sha256(np.ascontiguousarray(leaf).tobytes()).hexdigest(),
        }
        for name, leaf in trees.named_leaves(jax.device_get(tree)).items()
    }


def describe_shapes(tree: Any) -> dict[str, dict[str, Any]]:
    """Shape and dtype of every array of a pytree, by its name."""
    return {
        name: {"shape": list(leaf.shape), "dtype": str(leaf.dtype)}
        for name, leaf in trees.named_leaves(tree).items()
    }


def write(folder: Path, manifest: Manifest) -> None:
    """Write a manifest into the folder that it describes."""
    (folder / NAME).write_text(render(manifest))


def render(manifest: Manifest) -> str:
    """The one text of a manifest, sealed."""
    return sealed.render(manifest._asdict())


def read(folder: Path) -> Manifest:
    """The manifest in a folder.

    Raises:
      ForeignFormat: it is whole, but of another format.
      ValueError: there is none, or it is damaged.
    """
    try:
        content = sealed.read(folder / NAME, FORMAT)
    except sealed.ForeignFormat as error:
        raise sealed.ForeignFormat(f"its {NAME} does not serve: {error}") from error
    except ValueError as error:
        raise ValueError(f"its {NAME} does not serve: {error}") from error
    if set(content) != set(Manifest._fields):
        raise ValueError(f"its {NAME} does not have just {', '.join(Manifest._fields)}")
    found = Manifest(**content)
    if not (
        isinstance(found.run, str)
        and type(found.step) is int
        and inventory.is_inventory(found.files)
        and isinstance(found.arrays, dict)
        and all(isinstance(entry, dict) for entry in found.arrays.values())
    ):
        raise ValueError(f"its {NAME} has values of other types than ours")
    return found


def is_complete(manifest: Manifest) -> bool:
    """Whether the arm whose checkpoint this is has nothing left to do."""
    return manifest.arrays.get(COMPLETE, {}).get("sha256") == DONE


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
    found = {name for name in inventory.names(folder) if name != NAME}
    if found != set(manifest.files):
        different = " ".join(sorted(found ^ set(manifest.files)))
        return f"files are missing or foreign: {different}"
    damage = inventory.find_damage(folder, manifest.files)
    return "; ".join(f"{name} {what}" for name, what in damage.items())
