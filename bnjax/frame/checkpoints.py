"""Checkpoints of one arm: its whole training state and everything measured so far (Orbax).

A checkpoint is a folder named by its step: Orbax's files in `state/`, and a manifest with their
digests. It gets its name when all of it is on the disk. The newest one that is sound is restored;
one that is not is said and set aside, never deleted.
"""

import contextlib
import shutil
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np

from bnjax.errors import RunError
from bnjax.frame import disk, manifest, memory, sealed
from bnjax.frame.messages import warn

STATE = "state"
ONE_AT_A_TIME = threading.Lock()  # of the threads that carry out units of work


class Checkpoints(NamedTuple):
    """Where an arm's checkpoints are."""

    folder: Path
    run: str  # name of the arm and its configuration
    say: Callable[[str], None] = warn  # is told of each damaged checkpoint
    kept: int = 2  # the older ones are there for the case that the newest is damaged


def save(checkpoints: Checkpoints, step: int, tree: Any) -> None:
    """Save a pytree of arrays under a step, and drop all but the last few.

    States are a few MB and a save takes some 50 ms: waiting for it is better than learning of a
    full disk two saves later.

    Args:
      checkpoints: where to.
      step: training steps that are done.
      tree: pytree of jax or numpy arrays; those on several devices are whole on each.

    Raises:
      RunError: it could not be written; the checkpoints before are as they were.
    """
    final = checkpoints.folder / str(step)
    temporary = disk.temporary_name(final)
    tree = jax.device_get(tree)
    try:
        disk.make_folder(checkpoints.folder)
        disk.remove_leftovers(checkpoints.folder)
        temporary.mkdir()
        with orbax() as writer:
            writer.save((temporary / STATE).resolve(), args=arguments().StandardSave(tree))
        manifest.write(temporary, manifest.make(temporary, checkpoints.run, step, tree))
        if final.exists():  # of another attempt, after which the run went back further
            disk.set_aside(final)
        disk.publish(temporary, final)
        for old in steps(checkpoints.folder)[checkpoints.kept :]:
            disk.remove(checkpoints.folder / str(old))
    except Exception as error:  # Orbax and tensorstore raise errors of many kinds
        shutil.rmtree(temporary, ignore_errors=True)
        raise RunError(
            f"cannot save step {step} in {checkpoints.folder} ({one_line(error)}): make room or "
            "mend the disk; the same command then goes on from the checkpoint before"
        ) from error
    finally:
        memory.give_back()


def restore(checkpoints: Checkpoints, template: Any) -> tuple[int, Any]:
    """The newest sound checkpoint, or step 0 and the template itself where there is none.

    Args:
      checkpoints: where from.
      template: a pytree of arrays of the same structure, shapes, dtypes and shardings.

    Returns:
      `(step, tree)`; arrays that are numpy's in the template are, and can be written to.

    Raises:
      RunError: a sound checkpoint does not fit the template or is of another version, or a damaged
        one cannot be moved.
    """
    for step in steps(checkpoints.folder):
        folder = checkpoints.folder / str(step)
        refuse_foreign(folder)
        damage = manifest.find_damage(folder, checkpoints.run)
        if not damage:
            saved = manifest.read(folder).arrays
            check_fit(folder, saved, manifest.describe_shapes(template))
            tree, damage = read_state(folder, template)
            if not damage and manifest.describe(tree) != saved:
                damage = "its arrays are not those that were saved"
        if not damage:
            return step, tree
        try:
            aside = disk.set_aside(folder)
        except OSError as error:
            raise RunError(
                f"{folder} is damaged ({damage}) and cannot be moved: {error}"
            ) from error
        checkpoints.say(f"checkpoint {folder} is damaged: {damage}; it is now {aside.name}")
    return 0, template


def read_state(folder: Path, template: Any) -> tuple[Any, str]:
    """The arrays of a checkpoint, and what went wrong if anything did."""
    try:
        with orbax() as reader:
            tree = reader.restore(
                (folder / STATE).resolve(), args=arguments().StandardRestore(template)
            )
    except Exception as error:  # Orbax and tensorstore raise errors of many kinds
        return None, one_line(error)
    return jax.tree.map(
        lambda like, leaf: np.array(leaf) if isinstance(like, np.ndarray) else leaf, template, tree
    ), ""


def refuse_foreign(folder: Path) -> None:
    """Refuse a checkpoint that another version of bnjax wrote: it is not ours to set aside."""
    with contextlib.suppress(ValueError):  # damage, and found as such
        try:
            manifest.read(folder)
        except sealed.ForeignFormat as error:
            raise RunError(
                f"{folder} is of another version of bnjax ({error}): go on with that version, or "
                "begin anew with --fresh"
            ) from error


def check_fit(folder: Path, saved: dict[str, Any], expected: dict[str, Any]) -> None:
    """Refuse a checkpoint of other arrays: Orbax would cast some and fail on others."""
    for name in sorted({*saved, *expected}):
        here, there = (
            {key: entry.get(name, {}).get(key) for key in ("shape", "dtype")}
            for entry in (saved, expected)
        )
        if None in (here["dtype"], there["dtype"]):
            raise RunError(
                f"{folder} holds {'no ' if here['dtype'] is None else ''}{name}, this program has "
                f"{'it' if here['dtype'] is None else 'none'}: what is measured was changed; begin "
                "anew with --fresh"
            )
        if here != there:
            raise RunError(
                f"{folder} holds {name} as {here['dtype']} {here['shape']}, this program has it as "
                f"{there['dtype']} {there['shape']}: begin anew with --fresh"
            )


def steps(folder: Path) -> list[int]:
    """The steps that have a checkpoint, sound or not, the newest first."""
    if not folder.is_dir():
        return []
    names = (path.name for path in folder.iterdir() if path.is_dir())
    numbers = (name for name in names if name.isascii() and name.isdigit())
    return sorted((int(name) for name in numbers if str(int(name)) == name), reverse=True)


def one_line(error: Exception) -> str:
    """What an error says, without line breaks and the details of tensorstore; its end says why."""
    text = " ".join(str(error).split()).split(" [")[0] or type(error).__name__
    return text if len(text) <= 200 else f"{text[:60]} … {text[-140:]}"


@contextlib.contextmanager
def orbax() -> Iterator[Any]:
    """Orbax's synchronous writer and reader of pytrees, as if there were no other process.

    Left to itself, Orbax has all processes of a job wait for each other at every save, and writes
    numpy arrays in process 0 alone (0.12.8, `NumpyHandler`): the others' files would be empty.
    """
    import orbax.checkpoint as ocp  # imported late: it costs half a second

    with ONE_AT_A_TIME:
        if jax.process_count() == 1:
            yield ocp.Checkpointer(ocp.StandardCheckpointHandler())
            return
        from orbax.checkpoint._src.multihost import multihost

        alone = ocp.options.MultiprocessingOptions(primary_host=0, active_processes={0})
        handler = ocp.StandardCheckpointHandler(multiprocessing_options=alone)
        before = multihost.process_index
        multihost.process_index = lambda: 0
        try:
            yield ocp.Checkpointer(handler, multiprocessing_options=alone)
        finally:
            multihost.process_index = before


def arguments() -> Any:
    """Orbax's arguments."""
    import orbax.checkpoint as ocp

    return ocp.args
