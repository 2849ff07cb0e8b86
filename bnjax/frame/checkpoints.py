"""Checkpoints of one arm: its training state and everything it measured so far.

A checkpoint is a folder named by its step. `state.npz` holds the arrays, named by their paths in
the pytree; `MANIFEST.json` holds digests of that file and of each array, and a copy of the run's
`config.json`. The folder gets its name when both are on the disk. `restore` takes the newest sound
checkpoint; a damaged one is reported and renamed, never deleted.
"""

import contextlib
import hashlib
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import numpy as np

from bnjax.errors import RunError, told
from bnjax.frame import disk, files
from bnjax.frame.messages import warn

FORMAT = 3
STATE, MANIFEST = "state.npz", "MANIFEST.json"
# The flag of a record, and the digest of its value when the arm is done.
COMPLETE = "record/complete"
DONE = hashlib.sha256(np.ones(()).tobytes()).hexdigest()


class Checkpoints(NamedTuple):
    """The place of an arm's checkpoints."""

    folder: Path
    run: str  # name of the arm and its configuration
    say: Callable[[str], None] = warn  # reports each damaged checkpoint
    kept: int = 2  # an older one serves if the newest is damaged
    config: Mapping[str, Any] = MappingProxyType({})  # content of the run's `config.json`
    begun: Mapping[str, Any] = MappingProxyType({})  # what of its fingerprint decides numbers


class Manifest(NamedTuple):
    """The content of `MANIFEST.json`."""

    run: str  # arm and configuration: a checkpoint of another run is not taken for this one's
    step: int
    files: dict[str, dict[str, Any]]  # by relative path: size in bytes, SHA-256
    arrays: dict[str, dict[str, Any]]  # by name: shape, dtype, SHA-256 of the C-ordered bytes
    config: dict[str, Any]  # content of the run's `config.json` when it was saved


def save(checkpoints: Checkpoints, step: int, tree: Any) -> None:
    """Save a pytree of arrays under a step, and delete all but the last few checkpoints.

    An array that is spread over several devices is whole on each. After a `RunError` the earlier
    checkpoints are unchanged.
    """
    arrays = host_arrays(tree)
    final = checkpoints.folder / str(step)
    temporary = disk.temporary_name(final)
    try:
        disk.make_folder(checkpoints.folder)
        disk.remove_leftovers(checkpoints.folder)
        disk.make_directory(temporary)
        write_files(temporary, checkpoints, step, arrays)
        if final.exists():  # of an attempt before the run went back to an older checkpoint
            disk.set_aside(final)
        disk.publish(temporary, final)
        for old in steps(checkpoints.folder)[checkpoints.kept :]:
            disk.remove(checkpoints.folder / str(old))
    except OSError as error:
        with contextlib.suppress(OSError):
            disk.delete(temporary)
        raise RunError(
            f"cannot save step {step} in {checkpoints.folder} ({told(error)}): make room or mend "
            "the disk; the same command then continues from the checkpoint before"
        ) from error


def write_files(
    folder: Path, checkpoints: Checkpoints, step: int, arrays: dict[str, np.ndarray]
) -> None:
    state = files.pack({name: storable(array) for name, array in arrays.items()})
    entry = {"size": len(state), "sha256": hashlib.sha256(state).hexdigest()}
    config = dict(checkpoints.config)
    manifest = Manifest(checkpoints.run, step, {STATE: entry}, describe(arrays), config)
    disk.write_file(folder / STATE, state)
    sealed = files.seal({"format": FORMAT, **manifest._asdict()})
    disk.write_file(folder / MANIFEST, sealed.encode())


def restore(checkpoints: Checkpoints, template: Any) -> tuple[int, Any]:
    """The newest sound checkpoint, or step 0 and the template itself if there is none.

    Older ones are looked at, too, so that all damage is said.

    Where the template has numpy arrays the tree has writable numpy arrays; elsewhere jax arrays
    with the sharding of the template. A sound checkpoint that does not fit it is a `RunError`.
    """
    expected = host_arrays(template)
    found: tuple[int, Any] | None = None
    for step in steps(checkpoints.folder):
        folder = checkpoints.folder / str(step)
        try:
            manifest = check(folder, checkpoints.run, checkpoints.begun)
            if found is not None:
                continue
            check_fit(folder, manifest.arrays, expected)
            arrays = read_arrays(folder, manifest, expected)
        except files.ForeignFormat as error:  # not ours to rename
            raise RunError(
                f"{folder}: {error}: go on with that version, or begin anew with --fresh"
            ) from error
        except ValueError as damage:
            try:
                aside = disk.set_aside(folder)
            except OSError as error:
                raise RunError(
                    f"{folder} is damaged ({damage}) and cannot be moved: {error}"
                ) from error
            checkpoints.say(f"checkpoint {folder} is damaged: {damage}; it is now {aside.name}")
        else:
            import jax  # what only lists checkpoints has no need of it

            leaves, structure = jax.tree.flatten(template)
            placed = [place(*pair) for pair in zip(arrays.values(), leaves, strict=True)]
            found = step, jax.tree.unflatten(structure, placed)
    return found or (0, template)


def steps(folder: Path) -> list[int]:
    """The steps with a checkpoint, sound or not, the newest first."""
    if not folder.is_dir():
        return []
    names = (path.name for path in folder.iterdir() if path.is_dir())
    numbers = (name for name in names if name.isascii() and name.isdigit())
    return sorted((int(name) for name in numbers if str(int(name)) == name), reverse=True)


def find_damage(folder: Path, run: str, begun: Mapping[str, Any] = MappingProxyType({})) -> str:
    """The damage of a checkpoint, judged by its files; empty if it is sound."""
    try:
        check(folder, run, begun)
    except ValueError as error:
        return str(error)
    return ""


def check(folder: Path, run: str, begun: Mapping[str, Any]) -> Manifest:
    """The manifest of a checkpoint whose files are sound; a damaged one is a `ValueError`.

    So is one of a run that was begun under other data, code, settings or versions than `begun`.
    """
    manifest = read_manifest(folder)
    if manifest.run != run:
        raise ValueError(f"it belongs to the run {manifest.run}, not to {run}")
    found = manifest.config.get("fingerprint")
    theirs: dict[str, Any] = found if isinstance(found, dict) else {}
    for name in begun.keys() & theirs.keys():
        if theirs[name] != begun[name]:
            raise ValueError(f"its run was begun under {name} {theirs[name]}"[:200])
    if str(manifest.step) != folder.name:
        raise ValueError(f"it is of step {manifest.step}")
    if different := {*files.names(folder)} ^ {*manifest.files, MANIFEST}:
        raise ValueError(f"files are missing or foreign: {' '.join(sorted(different))}")
    if damage := files.find_damage(folder, manifest.files):
        raise ValueError("; ".join(f"{name} {what}" for name, what in damage.items()))
    return manifest


def read_manifest(folder: Path) -> Manifest:
    try:
        found = files.read_sealed(folder / MANIFEST, FORMAT, Manifest)
        if not files.is_inventory(found.files) or not all(
            isinstance(entry, dict) for entry in found.arrays.values()
        ):
            raise ValueError("it has other entries than ours")
    except files.ForeignFormat:
        raise
    except ValueError as error:
        raise ValueError(f"its {MANIFEST} does not serve: {error}") from error
    return found


def is_complete(manifest: Manifest) -> bool:
    return manifest.arrays.get(COMPLETE, {}).get("sha256") == DONE


def check_fit(folder: Path, saved: dict[str, Any], expected: dict[str, np.ndarray]) -> None:
    """Refuse a checkpoint of other arrays than this program has; nothing is cast."""
    here = {name: f"{entry.get('dtype')} {entry.get('shape')}" for name, entry in saved.items()}
    there = {name: f"{array.dtype} {list(array.shape)}" for name, array in expected.items()}
    for name in sorted(here.keys() | there.keys()):
        if here.get(name) != there.get(name):
            raise RunError(
                f"{folder} holds {name} as {here.get(name, 'nothing')}, this program has it as "
                f"{there.get(name, 'nothing')}: what is measured was changed; begin anew with "
                "--fresh"
            )


def read_arrays(
    folder: Path, manifest: Manifest, expected: dict[str, np.ndarray]
) -> dict[str, np.ndarray]:
    found = files.read_arrays(folder / STATE)
    if found.keys() == expected.keys():
        with contextlib.suppress(ValueError):  # another size of its elements
            arrays = {name: found[name].view(like.dtype) for name, like in expected.items()}
            if describe(arrays) == manifest.arrays:
                return arrays
    raise ValueError("its arrays are not those that were saved")


def host_arrays(tree: Any) -> dict[str, np.ndarray]:
    """The leaves of a pytree by name, as numpy arrays; typed PRNG keys as their data."""
    import jax

    from bnjax.arithmetic import trees

    data = jax.tree.map(lambda leaf: jax.random.key_data(leaf) if is_key(leaf) else leaf, tree)
    named = trees.named_leaves(jax.device_get(data))
    if len(named) != len(jax.tree.leaves(data)):
        raise ValueError("two arrays of the state have one name")
    return {name: np.asarray(leaf) for name, leaf in named.items()}


def storable(array: np.ndarray) -> np.ndarray:
    """The array, or its bits as integers where numpy does not know its type (bfloat16)."""
    return array if array.dtype.kind in files.KINDS else array.view(f"u{array.dtype.itemsize}")


def describe(arrays: dict[str, np.ndarray]) -> dict[str, dict[str, Any]]:
    return {
        name: {
            "shape": list(array.shape),
            "dtype": str(array.dtype),
            "sha256": hashlib.sha256(array.tobytes()).hexdigest(),
        }
        for name, array in arrays.items()
    }


def place(array: np.ndarray, like: Any) -> Any:
    if isinstance(like, np.ndarray):
        return array
    import jax

    leaf = jax.numpy.asarray(array)
    if is_key(like):
        leaf = jax.random.wrap_key_data(leaf, impl=jax.random.key_impl(like))
    return jax.device_put(leaf, like.sharding)


def is_key(leaf: Any) -> bool:
    import jax

    return isinstance(leaf, jax.Array) and jax.dtypes.issubdtype(leaf.dtype, jax.dtypes.prng_key)
