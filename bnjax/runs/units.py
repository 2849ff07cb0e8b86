"""The arms and seeds of an experiment as units of work, on which devices, and what if one fails."""

import queue
import threading
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple, TypeVar

from jax.sharding import Mesh

from bnjax.errors import RunError, UsageError
from bnjax.runs.interrupts import Interrupted

Unit = TypeVar("Unit")
Result = TypeVar("Result")


class Failure(NamedTuple):
    """A unit of work that ended with an error."""

    label: str
    error: Exception


def run_units(
    units: Sequence[Unit],
    work: Callable[[Unit, Mesh | None], Result],
    meshes: Sequence[Mesh | None],
    *,
    label: Callable[[Unit], str],
    stopped: Callable[[], bool],
    debug: bool = False,
) -> list[Result]:
    """Carry out units of work, one at a time on each mesh, in their order.

    A unit that fails does not stop the others; only what they all depend on, such as the disk, does
    (`RunError`), as does a wrong call (`UsageError`) and a request to stop.

    Args:
      units: independent of each other, each with a folder of its own.
      work: carries out one unit on the devices of a mesh.
      meshes: with one of them everything is done in this thread, else in a thread for each.
      label: how a message names a unit.
      stopped: whether to begin no further unit.
      debug: let an error pass as it is.

    Returns:
      The results, in the order of the units.

    Raises:
      Interrupted: asked to stop; all that is under way has been saved.
      RunError: units that failed, after all others are done.
    """
    waiting: queue.SimpleQueue[int] = queue.SimpleQueue()
    for number in range(len(units)):
        waiting.put(number)
    results: dict[int, Result] = {}
    failures: list[Failure] = []
    ended: list[BaseException] = []

    def take(mesh: Mesh | None) -> None:
        while not (ended or stopped()):
            try:
                number = waiting.get_nowait()
            except queue.Empty:
                return
            try:
                results[number] = work(units[number], mesh)
            except (Interrupted, RunError, UsageError) as error:
                ended.append(error)
            except Exception as error:  # whatever a network or a probe raises
                if debug:
                    ended.append(error)
                failures.append(Failure(label(units[number]), error))

    if len(meshes) == 1:
        take(meshes[0])
    else:
        threads = [threading.Thread(target=take, args=[mesh], daemon=True) for mesh in meshes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    if ended:
        raise ended[0]
    if len(results) + len(failures) < len(units):
        raise Interrupted(f"with {len(results)} of {len(units)} arms done")
    if failures:
        raise RunError(describe(failures, len(units))) from failures[0].error
    return [results[number] for number in range(len(units))]


def describe(failures: Sequence[Failure], count: int) -> str:
    """One line for the units that failed."""
    first = failures[0]
    reason = " ".join(str(first.error).split())[:500]
    more = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
    return (
        f"{len(failures)} of {count} arms failed: {first.label}{more}: "
        f"{type(first.error).__name__}: {reason}: the others are done and kept, the same command "
        "tries again; --debug shows where"
    )


def is_out_of_memory(error: Any) -> bool:
    """Whether an error of the runtime says that memory was not enough."""
    return "RESOURCE_EXHAUSTED" in str(error) or "out of memory" in str(error).lower()
