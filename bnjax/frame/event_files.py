"""What a run measures, as event files that TensorBoard shows while it runs."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bnjax.errors import UsageError
from bnjax.frame.arm import Arm
from bnjax.frame.listener import Listener
from bnjax.frame.records import Layout, Record, field_axes

FOLDER = "tensorboard"
STEPS = ("step", "test_step", "probe_step")
FLUSH_SECONDS = 5
NUMBER = (float, np.floating)
MOST_VALUES = 16  # of one measurement that get a curve each; of more, the mean and the extremes


class EventFiles(Listener):
    """Writes `<run>/tensorboard/<arm>/events…`, which `tensorboard --logdir` shows.

    After a stop all of them are written anew, from the record of the checkpoint, and TensorBoard
    drops what an earlier process wrote. What is measured after training is not among them.
    """

    def __init__(self, folder: Path) -> None:
        """Begin.

        Args:
          folder: of the run.

        Raises:
          UsageError: the package that writes such files is not installed.
        """
        self.writer = import_writer()
        self.folder = folder
        self.tags: dict[str, tuple[str, tuple[str, ...]]] = {}  # by measurement: tag and axes
        self.axes: Mapping[str, np.ndarray] = {}
        self.writers: dict[str, Any] = {}
        self.next_rows: dict[str, dict[str, int]] = {}

    def describe(self, layout: Layout, axes: Mapping[str, np.ndarray]) -> None:
        """Learn what is measured, along which axes; before the first step."""
        self.axes = axes
        self.tags = {
            f"{probe}_{field}": (f"{probe}/{field}", field_axes(probe, group, field))
            for probe, group in layout.items()
            if group.axes[0] in STEPS and not probe.startswith("_")
            for field in group.shapes._fields
        }

    def advance(self, arm: Arm, done: int, record: Record) -> None:
        """Write what has arrived since."""
        self.write(arm, done - 1, record)

    def finish(self, arm: Arm, record: Record) -> None:
        """Write the rest."""
        if arm.folder in self.writers:
            self.write(arm, len(record["train_finite"]) + 1, record)
            self.writers.pop(arm.folder).close()

    def write(self, arm: Arm, before: int, record: Record) -> None:
        """Write all rows of steps below `before` that are not written yet."""
        if arm.folder not in self.writers:
            place = self.folder / FOLDER / arm.folder
            purge = 0 if place.exists() else None
            self.writers[arm.folder] = self.writer(
                str(place), purge_step=purge, flush_secs=FLUSH_SECONDS
            )
            self.next_rows[arm.folder] = dict.fromkeys(self.tags, 0)
        writer, rows = self.writers[arm.folder], self.next_rows[arm.folder]
        for name, (tag, axes) in self.tags.items():
            steps = self.axes[axes[0]]
            while rows[name] < len(steps) and steps[rows[name]] < before:
                values = np.asarray(record[name][rows[name]])
                for curve, value in curves(tag, axes[1:], values, self.axes):
                    writer.add_scalar(curve, value, int(steps[rows[name]]))
                rows[name] += 1


def curves(
    tag: str, dims: Sequence[str], values: np.ndarray, axes: Mapping[str, np.ndarray]
) -> list[tuple[str, float]]:
    """The curves to which one measurement adds a point, with the point; none for what is NaN.

    Example:
      >>> axes = {"step_size": np.array([0.1, 0.2])}
      >>> curves("line/losses", ["step_size"], np.array([2.0, 1.0]), axes)
      [('line/losses/step_size 0.1', 2.0), ('line/losses/step_size 0.2', 1.0)]
    """
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
