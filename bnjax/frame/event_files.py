"""What a run measures, as event files that TensorBoard shows while it runs."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bnjax.errors import UsageError
from bnjax.frame.arms import Arm
from bnjax.frame.records import Record
from bnjax.frame.run_arm import Display

FOLDER = "tensorboard"
STEPS = ("step", "test_step", "probe_step")
FLUSH_SECONDS = 5
NUMBER = (float, np.floating)
MOST_VALUES = 16  # of one measurement that get a curve each; of more, the mean and the extremes


class EventFiles:
    """A display that writes `<run>/tensorboard/<arm>/events…` beside what another one shows.

    After a stop all of them are written anew, from the record of the checkpoint, and TensorBoard
    drops what an earlier process wrote. What is measured after training is not among them.
    """

    def __init__(
        self,
        shown: Display,
        folder: Path,
        dims: Callable[[str], Sequence[str]],
        axes: Mapping[str, np.ndarray],
    ) -> None:
        """Begin.

        Args:
          shown: the other display.
          folder: of the run.
          dims: of a measurement `<group>.<field>`, the names of its axes; the first one is that of
            its steps, and one that is not of steps is left out.
          axes: values of all axes.

        Raises:
          UsageError: the package that writes such files is not installed.
        """
        self.writer = import_writer()
        self.shown, self.folder, self.dims, self.axes = shown, folder, dims, axes
        self.writers: dict[str, Any] = {}
        self.next_rows: dict[str, dict[str, int]] = {}

    def advance(self, arm: Arm, done: int, record: Record) -> None:
        """Write what has arrived since."""
        self.shown.advance(arm, done, record)
        self.write(arm, done - 1, record)

    def advance_rows(self, arm: Arm, sweep: str, done: int, rows: int) -> None:
        """Only show it."""
        self.shown.advance_rows(arm, sweep, done, rows)

    def finish(self, arm: Arm, record: Record) -> None:
        """Write the rest."""
        self.shown.finish(arm, record)
        if arm.folder in self.writers:
            self.write(arm, len(record["train.finite"]) + 1, record)
            self.writers.pop(arm.folder).close()

    def write(self, arm: Arm, before: int, record: Record) -> None:
        """Write all rows of steps below `before` that are not written yet."""
        if arm.folder not in self.writers:
            place = self.folder / FOLDER / arm.folder
            purge = 0 if place.exists() else None
            self.writers[arm.folder] = self.writer(
                str(place), purge_step=purge, flush_secs=FLUSH_SECONDS
            )
            self.next_rows[arm.folder] = {
                name: 0
                for name in record
                if "." in name and name[0] != "_" and self.dims(name)[0] in STEPS
            }
        writer, rows = self.writers[arm.folder], self.next_rows[arm.folder]
        for name in rows:
            axes = self.dims(name)
            steps = self.axes[axes[0]]
            while rows[name] < len(steps) and steps[rows[name]] < before:
                values = np.asarray(record[name][rows[name]])
                for tag, value in curves(name, axes[1:], values, self.axes):
                    writer.add_scalar(tag, value, int(steps[rows[name]]))
                rows[name] += 1


def curves(
    name: str, dims: Sequence[str], values: np.ndarray, axes: Mapping[str, np.ndarray]
) -> list[tuple[str, float]]:
    """The curves to which one measurement adds a point, with the point; none for what is NaN.

    Example:
      >>> axes = {"step_size": np.array([0.1, 0.2])}
      >>> curves("line.losses", ["step_size"], np.array([2.0, 1.0]), axes)
      [('line/losses/step_size 0.1', 2.0), ('line/losses/step_size 0.2', 1.0)]
    """
    tag = name.replace(".", "/")
    if values.size > MOST_VALUES:
        finite = values[np.isfinite(values)]
        kinds: dict[str, Any] = {"mean": np.mean, "min": np.min, "max": np.max}
        return [
            (f"{tag}/{kind}", float(take(finite))) for kind, take in kinds.items() if len(finite)
        ]
    found = []
    for index in np.ndindex(values.shape):
        where = [
            f"{dim} {value:g}" if isinstance(value := axes[dim][i], NUMBER) else f"{dim} {value}"
            for dim, i in zip(dims, index, strict=True)
        ]
        if np.isfinite(values[index]):
            found.append(("/".join([tag, *where]), float(values[index])))
    return found


def import_writer() -> Any:
    """The class that writes event files."""
    try:
        from tensorboardX import SummaryWriter
    except ImportError as error:
        raise UsageError(
            "--tensorboard needs the package tensorboardX: pip install tensorboardX, or leave the "
            "option out"
        ) from error
    return SummaryWriter
