"""The events of a run: a listener is told of arms, steps, probes, verdicts and figures.

Displays and TensorBoard's event files are listeners. Give your own to `bnjax.start`. Arms that
train at the same time call it from their threads, one event at a time.
"""

import contextlib
import functools
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
from rich.console import RenderableType
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column
from rich.text import Text

from bnjax.errors import UsageError
from bnjax.frame.arm import Arm
from bnjax.frame.records import Layout, Record, field_axes


class Listener:
    """Methods that are called when something happens in a run; here they do nothing.

    Records hold all that an arm has measured so far, `<probe>_<field>` with NaN for what has not
    arrived. They must not be changed.
    """

    def begin(self, arm: Arm, step: int, loss: float) -> None:
        """On a CPU: the first gradient of this process is there, at a step with a minibatch loss.

        What is measured at that step follows, and takes its own compilation.
        """

    def advance(self, arm: Arm, done: int, record: Record) -> None:
        """`done` steps of an arm are done, or under way."""

    def advance_rows(self, arm: Arm, sweep: str, done: int, rows: int) -> None:
        """After training, `done` of the rows of a sweep are done."""

    def finish(self, arm: Arm, record: Record) -> None:
        """All of an arm is done."""

    def judge(self, verdicts: Sequence[Any]) -> None:
        """The claims of the finished run are judged."""

    def draw(self, name: str, files: Sequence[Path]) -> None:
        """A figure of the finished run is drawn into these files."""


class Meanwhile(Listener):
    """Does something once, in a thread of its own, when the first arm has begun to train."""

    def __init__(self, act: Callable[[], Any]) -> None:
        thread = threading.Thread(target=act, daemon=True)
        self._start = functools.cache(thread.start)

    def begin(self, arm: Arm, step: int, loss: float) -> None:
        self._start()

    def advance(self, arm: Arm, done: int, record: Record) -> None:
        self._start()


def together(*listeners: Listener) -> Any:
    one_at_a_time = threading.Lock()

    def tell(event: str, *arguments: Any) -> None:
        with one_at_a_time:
            for listener in listeners:
                getattr(listener, event)(*arguments)

    events = [name for name in vars(Listener) if not name.startswith("_")]
    return SimpleNamespace(**{event: functools.partial(tell, event) for event in events})


SILENT = Listener()


LINES_PER_ARM = 10
ROW_LINES = 4  # of each sweep after training
MANY_JOBS = 5  # more arms than this: their number is shown too
REFRESH = 0.1  # seconds
BLOCKS = "▁▂▃▄▅▆▇█"
CURVE_WIDTH = 32  # characters
MOST_VALUES = 4  # of each probe


def newest_step(record: Record, done: int) -> str:
    """Loss and accuracy of the newest step whose numbers have arrived.

    On an accelerator these are a block of steps behind.

    Example:
      >>> train = {"train_finite": np.array([1, 1, np.nan]), "train_loss": np.array([3, 2, np.nan])}
      >>> newest_step({**train, "train_accuracy": np.array([0.25, 0.5, np.nan])}, 3)
      'minibatch loss 2.0000, accuracy 0.500'
    """
    arrived = np.flatnonzero(~np.isnan(record["train_finite"][:done]))
    if not len(arrived):
        return "first numbers under way"
    loss, accuracy = (record[f"train_{name}"][arrived[-1]] for name in ("loss", "accuracy"))
    text = f"minibatch loss {loss:.4f}"
    return text if np.isnan(accuracy) else f"{text}, accuracy {accuracy:.3f}"


def sparkline(values: np.ndarray) -> str:
    """A curve in a line of text, on a logarithmic scale; blank where not positive and finite.

    Example:
      >>> sparkline(np.array([4.0, 2.0, np.nan, 1.0]))
      '█▅ ▁'
    """
    if not len(values):
        return ""
    parts = np.array_split(np.asarray(values, dtype=np.float64), min(len(values), CURVE_WIDTH))
    last = np.array([part[-1] for part in parts])
    drawn = np.isfinite(last) & (last > 0)
    height = np.log(np.where(drawn, last, 1.0))
    low, high = (np.min(height[drawn]), np.max(height[drawn])) if drawn.any() else (0.0, 0.0)
    level = np.rint((height - low) / ((high - low) or 1.0) * (len(BLOCKS) - 1))
    return "".join(
        BLOCKS[int(rank)] if here else " " for rank, here in zip(level, drawn, strict=True)
    )


def newest_probes(record: Record, shown: Sequence[str] = ()) -> list[str]:
    """The newest values of measurements, a line each; by default of the first few of each probe."""
    probes: dict[str, int] = {}
    lines = []
    for name in shown or record:
        probe = name.partition("_")[0]
        if name not in record or probe in ("train", "test", "complete", ""):
            continue
        rows = record[name].reshape(len(record[name]), -1)
        measured = rows[np.isfinite(rows).any(axis=1)]
        probes[probe] = probes.get(probe, 0) + 1
        if len(measured) and probes[probe] <= MOST_VALUES:
            last = measured[-1][np.isfinite(measured[-1])]
            low, high = f"{last.min():.3g}", f"{last.max():.3g}"
            value = low if low == high else f"{low} … {high}"
            lines.append(f"{name.replace('_', ' ')} {value}")
    return lines


class PlainDisplay(Listener):
    """About ten lines for each arm, for pipes and logs."""

    def __init__(self, jobs: int) -> None:
        self.started = time.monotonic()
        self.jobs = jobs
        self.finished: set[str] = set()

    def begin(self, arm: Arm, step: int, loss: float) -> None:
        elapsed = time.monotonic() - self.started
        print(
            f"{arm.label}: step {step} begins with minibatch loss {loss:.4f}, {elapsed:.0f} s",
            flush=True,
        )

    def advance(self, arm: Arm, done: int, record: Record) -> None:
        steps = len(record["train_finite"])
        if done == steps or done % max(1, steps // LINES_PER_ARM) == 0:
            elapsed = time.monotonic() - self.started
            print(
                f"{arm.label}: step {done}/{steps}, {newest_step(record, done)}, {elapsed:.0f} s",
                flush=True,
            )

    def advance_rows(self, arm: Arm, sweep: str, done: int, rows: int) -> None:
        if done % max(1, rows // ROW_LINES) == 0 or done == rows:
            elapsed = time.monotonic() - self.started
            print(f"{arm.label}: {sweep}, row {done}/{rows}, {elapsed:.0f} s", flush=True)

    def finish(self, arm: Arm, record: Record) -> None:
        self.finished.add(arm.label)
        if self.jobs > MANY_JOBS:
            print(f"{len(self.finished)} of {self.jobs} arms done", flush=True)


class Bars(Progress):
    """Short lines with a bar, a count and the time left, and text of any length below each."""

    def __init__(self, **options: Any) -> None:
        super().__init__(
            TextColumn("{task.description}", table_column=Column(no_wrap=True, width=24)),
            BarColumn(bar_width=12),
            TextColumn("{task.fields[count]}"),
            TimeRemainingColumn(compact=True),
            TextColumn("left"),
            **options,
        )

    def get_renderables(self) -> Iterator[RenderableType]:
        """All tasks in one table would make the text of one the width of every other."""
        for task in self.tasks:
            if task.visible:
                yield self.make_tasks_table([task])
                if below := task.fields.get("below"):
                    yield Text(below, overflow="fold")


class RichDisplay(Listener):
    """A bar for the whole run and one for each arm that is under way, on a terminal."""

    def __init__(self, bars: Bars, jobs: int, shown: Sequence[str] = ()) -> None:
        self.bars, self.jobs, self.shown = bars, jobs, shown
        self.tasks: dict[str, Any] = {}
        self.begun: dict[str, float] = {}  # share of each arm that was done before
        self.shares: dict[str, float] = {}  # and that is done now
        self.finished: set[str] = set()
        self.all = bars.add_task("all arms", total=jobs, count=f"0/{jobs}")
        self.latest = 0.0

    def begin(self, arm: Arm, step: int, loss: float) -> None:
        self._add(arm, step, arm.options.steps)
        below = f"  minibatch loss {loss:.4f}"
        self.bars.update(self.tasks[arm.label], below=below)

    def _add(self, arm: Arm, done: int, steps: int) -> None:
        if arm.label not in self.tasks:
            self.begun[arm.label] = done / steps
            self.tasks[arm.label] = self.bars.add_task(
                arm.label, total=steps, completed=done, count=""
            )

    def advance(self, arm: Arm, done: int, record: Record) -> None:
        steps = len(record["train_finite"])
        self._add(arm, done - 1, steps)
        if time.monotonic() < self.latest + REFRESH and done < steps:
            return  # no eye follows faster
        self.latest = time.monotonic()
        curve = sparkline(record["train_loss"][: max(1, done - 1)])
        lines = newest_step(record, done), f"loss {curve}", *newest_probes(record, self.shown)
        below = "\n".join(f"  {line}" for line in lines)
        self.bars.update(
            self.tasks[arm.label], completed=done, count=f"{done}/{steps}", below=below
        )
        self._move_all(arm.label, done / steps)

    def advance_rows(self, arm: Arm, sweep: str, done: int, rows: int) -> None:
        name = f"{arm.label}: {sweep}"
        if name not in self.tasks:
            self.tasks[name] = self.bars.add_task(name, total=rows, count="")
        self.bars.update(self.tasks[name], completed=done, count=f"{done}/{rows}")

    def finish(self, arm: Arm, record: Record) -> None:
        """Of many arms only those under way keep a bar of their own."""
        self.finished.add(arm.label)
        self.begun.setdefault(arm.label, 1.0)  # it was done before
        self._move_all(arm.label, 1.0)
        if self.jobs > MANY_JOBS:
            for name, task in self.tasks.items():
                if name == arm.label or name.startswith(f"{arm.label}: "):
                    self.bars.update(task, visible=False)

    def _move_all(self, label: str, share: float) -> None:
        """What was done before tells nothing of the time left."""
        self.shares[label] = share
        before = sum(self.begun.values())
        self.bars.update(
            self.all,
            total=max(self.jobs - before, 1e-9),
            completed=sum(self.shares.values()) - before,
            count=f"{len(self.finished)}/{self.jobs}",
        )


@contextlib.contextmanager
def display(
    jobs: int, *, silent: bool = False, plain: bool = False, shown: Sequence[str] = ()
) -> Iterator[Any]:
    """Progress bars on a terminal, plain lines otherwise.

    Where several processes show the same, one has bars; others are `silent` or `plain`.
    """
    if silent:
        yield SILENT
        return
    if plain or not sys.stdout.isatty():
        yield PlainDisplay(jobs)
        return
    with Bars() as bars:
        yield RichDisplay(bars, jobs, shown)


FOLDER = "tensorboard"
STEPS = ("step", "test_step", "probe_step")
FLUSH_SECONDS = 5
NUMBER = (float, np.floating)
MOST_CURVES = 16  # of one measurement; of more values, the mean and the extremes


class EventFiles(Listener):
    """Writes `<run>/tensorboard/<arm>/events…`, which `tensorboard --logdir` shows.

    After a stop all of them are written anew, from the record of the checkpoint, and TensorBoard
    drops what an earlier process wrote. What is measured after training is not among them.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise UsageError(
                "--tensorboard needs the package tensorboardX: pip install tensorboardX, or leave "
                "the option out"
            ) from error
        self.writer = SummaryWriter
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
        self.write(arm, done - 1, record)

    def finish(self, arm: Arm, record: Record) -> None:
        if arm.folder in self.writers:
            self.write(arm, len(record["train_finite"]) + 1, record)
            self.writers.pop(arm.folder).close()

    def write(self, arm: Arm, before: int, record: Record) -> None:
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
    if values.size > MOST_CURVES:
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
