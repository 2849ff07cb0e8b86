"""The arms and seeds of an experiment as units of work, on which devices, and what if one fails."""

import itertools
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import jax
from jax.sharding import Mesh

from bnjax import data
from bnjax.errors import RunError, UsageError, told
from bnjax.frame import arms, checkpoints, disk, files, folder, records
from bnjax.frame.config import RunConfig
from bnjax.frame.experiment import Experiment
from bnjax.frame.interrupts import Interrupted
from bnjax.frame.messages import warn
from bnjax.frame.run_arm import Execution, run_arm
from bnjax.train import TrainState

Result = TypeVar("Result")


class Unit(NamedTuple):
    """One arm for one seed: independent of all others, with a folder of its own."""

    values: Mapping[str, Any]  # of the experiment's factors
    seed: int


def plan(config: RunConfig) -> list[Unit]:
    """The units of work: the values of all factors, and the seed, the last one fastest."""
    factors = config.arm_axes
    seeds = range(config.seed, config.seed + config.seeds)
    return [
        Unit(dict(zip(factors, chosen, strict=True)), seed)
        for *chosen, seed in itertools.product(*factors.values(), seeds)
    ]


def run_unit(
    experiment: Experiment,
    config: RunConfig,
    dataset: data.Dataset,
    path: Path,
    unit: Unit,
    execution: Execution,
) -> records.Record:
    """Carry out one arm for one seed; where memory is not enough, with fewer points at a time."""
    own, arm = make_arm(config, dataset, unit)
    saved = checkpoints.Checkpoints(
        path / folder.CHECKPOINTS / arm.folder,
        f"{path.name}/{arm.folder}",
        kept=config.checkpoints_kept,
    )
    while True:
        probes, after = experiment.probes(own, arm), experiment.after(own, arm)
        try:
            keep = keeper(experiment, own, arm, path)
            return run_arm(own, arm, probes, saved, execution, after, keep)
        except jax.errors.JaxRuntimeError as error:
            if execution.together or not is_out_of_memory(error):
                raise  # of processes in step none can try again by itself
            smaller = own.with_fewer_points()
            if smaller is None:
                raise MemoryError(
                    f"{own.batch_size} examples at a time are more than the memory holds: give a "
                    "smaller --batch-size or --width, or --microbatches"
                ) from None
        warn(
            f"{arm.label}: out of memory; from the last checkpoint on {smaller.chunk} points are "
            "probed at a time"
        )
        own = smaller


def make_arm(config: RunConfig, dataset: data.Dataset, unit: Unit) -> tuple[RunConfig, arms.Arm]:
    """The arm of a unit of work, and its own options."""
    own = config.for_arm(unit.values)
    model = own.build_model(unit.values.get("norm", own.norms[0]), dataset.num_classes)
    pipeline = data.make_pipeline(dataset, own.batch_size, augmented=own.augment)
    selection = own.select(model.shapes(dataset.train.pixels.shape[1:])["params"], unit.seed)
    return own, arms.Arm(unit.values, unit.seed, model, dataset, pipeline, selection)


def keeper(
    experiment: Experiment, config: RunConfig, arm: arms.Arm, path: Path
) -> Callable[[TrainState], None]:
    """What writes an arm's trained network, if the experiment keeps any."""

    def write(state: TrainState) -> None:
        if experiment.keep is not None:
            disk.make_folder(path / folder.MODELS)
            arrays = experiment.keep(config, arm, state)
            files.write_npz(path / folder.MODELS / f"{arm.folder}.npz", arrays)

    return write


class Failure(NamedTuple):
    """A unit of work that ended with an error."""

    label: str
    error: Exception


def run_units(
    units: Sequence[Unit],
    work: Callable[[Unit, Mesh | None], Result],
    meshes: Sequence[Mesh | None],
    *,
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
                failures.append(Failure(arms.label_of(*units[number]), error))

    if len(meshes) == 1:
        take(meshes[0])
    else:
        working: list[threading.Event] = []

        def take_and_say(mesh: Mesh | None) -> None:
            working.append(over := threading.Event())
            try:
                take(mesh)
            finally:
                over.set()

        threads = [
            threading.Thread(target=take_and_say, args=[mesh], daemon=True) for mesh in meshes
        ]
        try:
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
        except KeyboardInterrupt:  # at a second signal: they save what they are at, and write here
            # Not by `join`: before Python 3.13 a thread whose join was interrupted counts as ended.
            for over in working:
                over.wait()
            raise
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
    more = f" (and {len(failures) - 1} more)" if len(failures) > 1 else ""
    return (
        f"{len(failures)} of {count} arms failed: {first.label}{more}: "
        f"{type(first.error).__name__}: {told(first.error, 500)}: the others are done and kept, "
        "the same command tries again; --debug shows where"
    )


def is_out_of_memory(error: Any) -> bool:
    """Whether an error of the runtime says that memory was not enough."""
    return "RESOURCE_EXHAUSTED" in str(error) or "out of memory" in str(error).lower()
