"""Checkpoints of one arm: its whole training state and everything measured so far (Orbax)."""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

from bnjax.errors import RunError


@contextlib.contextmanager
def manager(folder: Path) -> Iterator[Any]:
    """An Orbax manager of `folder` that saves synchronously and keeps the last two steps.

    States are a few MB and a save takes some 20 ms: waiting for it is better than learning of a
    full disk two saves later.
    """
    import orbax.checkpoint as ocp  # imported late: it costs half a second

    options = ocp.CheckpointManagerOptions(
        max_to_keep=2, enable_async_checkpointing=False, cleanup_tmp_directories=True
    )
    with ocp.CheckpointManager(folder.resolve(), options=options) as checkpoints:
        yield checkpoints


def save(checkpoints: Any, step: int, tree: Any) -> None:
    """Save a pytree of arrays under a step.

    Raises:
      RunError: Orbax did not save it.
    """
    import orbax.checkpoint as ocp

    try:
        saved = checkpoints.save(step, args=ocp.args.StandardSave(tree), force=True)
    except OSError as error:
        raise RunError(f"cannot save step {step} in {checkpoints.directory} ({error})") from error
    if not saved:
        raise RunError(
            f"step {step} was not saved in {checkpoints.directory}: is it there already?"
        )


def restore(checkpoints: Any, template: Any) -> tuple[int, Any]:
    """The newest checkpoint, or step 0 and the template itself where there is none.

    Args:
      checkpoints: the manager.
      template: a pytree of arrays of the same structure, shapes, dtypes and shardings.

    Returns:
      `(step, tree)`; arrays that are numpy's in the template are, and can be written to.

    Raises:
      RunError: the checkpoint cannot be read or does not fit the template.
    """
    import orbax.checkpoint as ocp

    step = checkpoints.latest_step()
    if step is None:
        return 0, template
    try:
        tree = checkpoints.restore(step, args=ocp.args.StandardRestore(template))
    except Exception as error:  # Orbax and tensorstore raise errors of many kinds
        reason = " ".join(str(error).split())[:200]
        raise RunError(
            f"the checkpoint {checkpoints.directory / str(step)} cannot be read ({reason}): "
            "remove it to go on from the one before, or begin anew with --fresh"
        ) from error
    return step, jax.tree.map(
        lambda like, leaf: np.array(leaf) if isinstance(like, np.ndarray) else leaf, template, tree
    )
