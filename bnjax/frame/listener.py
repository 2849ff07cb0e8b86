"""The events of a run: a listener is told of arms, steps, probes, verdicts and figures.

Displays, in a terminal, a notebook or a log, and TensorBoard's event files are listeners. Give your
own to `bnjax.start`. Arms that train at the same time call it from their threads, one event at a
time.
"""

import contextlib
import functools
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

import numpy as np
from rich.console import RenderableType
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column
from rich.text import Text

from bnjax.errors import UsageError
from bnjax.frame.arm import Arm
from bnjax.frame.folder import NOT_IN_DIGEST
from bnjax.frame.records import Layout, Record, ended_at, field_axes


class Listener:
    """Methods that are called when something happens in a run; here they do nothing.

    Records hold all that an arm has measured so far, `<probe>_<field>` with NaN for what has not
    arrived. They must not be changed.
    """

    def describe(self, layout: Layout, axes: Mapping[str, np.ndarray]) -> None:
        """What is measured, along which axes; before the first step."""

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
    """Does something once, in a thread of its own, when the first arm has begun to train.

    This happens ahead of time. An error is silent here: the same work raises it later, where it is
    needed.
    """

    def __init__(self, act: Callable[[], Any]) -> None:
        def attempt() -> None:
            with contextlib.suppress(Exception):
                act()

        thread = threading.Thread(target=attempt, daemon=True)
        self._start = functools.cache(thread.start)

    def begin(self, arm: Arm, step: int, loss: float) -> None:
        self._start()

    def advance(self, arm: Arm, done: int, record: Record) -> None:
        self._start()


EVENTS = tuple(name for name in vars(Listener) if not name.startswith("_"))


def hearing(**acts: Callable[..., None]) -> Listener:
    """A listener that calls a function at each of some events."""
    made = Listener()
    vars(made).update(acts)
    return made


def together(*listeners: Listener) -> Listener:
    one_at_a_time = threading.Lock()

    def tell(event: str, *arguments: Any) -> None:
        with one_at_a_time:
            for listener in listeners:
                getattr(listener, event)(*arguments)

    return hearing(**{event: functools.partial(tell, event) for event in EVENTS})


SILENT = Listener()


LINES_PER_ARM = 10
ROW_LINES = 4  # of each sweep after training
MANY_JOBS = 5  # more arms than this: their number is shown too
REFRESH, NOTEBOOK_REFRESH = 0.1, 0.25  # seconds
BLOCKS = "▁▂▃▄▅▆▇█"
CURVE_WIDTH = 32  # characters
MOST_VALUES = 4  # of each probe
STEPS = ("step", "test_step", "probe_step", "watch_step")  # axes along training


def arrived(record: Record) -> int:
    """The number of steps whose numbers have arrived: one, or a block, behind those under way."""
    known = np.flatnonzero(~np.isnan(record["train_finite"]))
    return int(known[-1]) + 1 if len(known) else 0


def newest_step(record: Record) -> str:
    """Loss and accuracy of the newest step whose numbers have arrived.

    Example:
      >>> train = {"train_finite": np.array([1, 1, np.nan]), "train_loss": np.array([3, 2, np.nan])}
      >>> newest_step({**train, "train_accuracy": np.array([0.25, 0.5, np.nan])})
      'minibatch loss 2.0000, accuracy 0.500'
    """
    steps = arrived(record)
    if not steps:
        return "first numbers under way"
    if ended_at(record) is not None:
        return "diverged"
    loss, accuracy = (record[f"train_{name}"][steps - 1] for name in ("loss", "accuracy"))
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


def newest_probes(
    record: Record,
    shown: Sequence[str] = (),
    steps: Mapping[str, np.ndarray] = MappingProxyType({}),
) -> list[str]:
    """The newest values of measurements, a line each; by default of the first few of each probe.

    `steps` has the training steps of the rows of measurements made along training.
    """
    probes: dict[str, int] = {}
    lines = []
    for name in shown or record:
        probe = name.partition("_")[0]
        if name not in record or probe in ("train", "test", "complete", ""):
            continue
        rows = record[name].reshape(len(record[name]), -1)
        measured = np.flatnonzero(np.isfinite(rows).any(axis=1))
        probes[probe] = probes.get(probe, 0) + 1
        if len(measured) and probes[probe] <= MOST_VALUES:
            last = rows[measured[-1]][np.isfinite(rows[measured[-1]])]
            low, high = f"{last.min():.3g}", f"{last.max():.3g}"
            value = low if low == high else f"{low} … {high}"
            when = f" at step {steps[name][measured[-1]]}" if name in steps else ""
            lines.append(f"{name.replace('_', ' ')} {value}{when}")
    return lines


class PlainDisplay(Listener):
    """About ten lines for each arm, for pipes and logs."""

    def __init__(self, jobs: int) -> None:
        self.started = time.monotonic()
        self.jobs = jobs
        self.tenths: dict[str, int] = {}  # of the steps of each arm that have been told
        self.finished: set[str] = set()

    def say(self, text: str) -> None:
        print(f"{text}, {time.monotonic() - self.started:.0f} s", flush=True)

    def begin(self, arm: Arm, step: int, loss: float) -> None:
        self.say(f"{arm.label}: step {step} begins with minibatch loss {loss:.4f}")

    def tell(self, arm: Arm, record: Record) -> None:
        steps, known = len(record["train_finite"]), arrived(record)
        self.tenths[arm.label] = LINES_PER_ARM * known // steps
        self.say(f"{arm.label}: step {known}/{steps}, {newest_step(record)}")

    def advance(self, arm: Arm, done: int, record: Record) -> None:
        # A line tells of steps whose numbers are there, not of those under way.
        told = self.tenths.setdefault(arm.label, 0)
        if LINES_PER_ARM * arrived(record) // len(record["train_finite"]) > told:
            self.tell(arm, record)

    def advance_rows(self, arm: Arm, sweep: str, done: int, rows: int) -> None:
        if done % max(1, rows // ROW_LINES) == 0 or done == rows:
            self.say(f"{arm.label}: {sweep}, row {done}/{rows}")

    def finish(self, arm: Arm, record: Record) -> None:
        if self.tenths.get(arm.label, LINES_PER_ARM) < LINES_PER_ARM:  # not if done before
            self.tell(arm, record)
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
    """A bar for the whole run and one for each arm that is under way."""

    def __init__(self, bars: Bars, jobs: int, shown: Sequence[str] = ()) -> None:
        self.bars, self.jobs, self.shown = bars, jobs, shown
        self.steps: dict[str, np.ndarray] = {}  # of the rows of each measurement along training
        self.tasks: dict[str, Any] = {}
        self.begun: dict[str, float] = {}  # share of each arm that was done before
        self.shares: dict[str, float] = {}  # and that is done now
        self.finished: set[str] = set()
        self.all = bars.add_task("all arms", total=jobs, count=f"0/{jobs}")
        self.latest = 0.0

    def describe(self, layout: Layout, axes: Mapping[str, np.ndarray]) -> None:
        self.steps = {
            f"{probe}_{field}": axes[group.axes[0]]
            for probe, group in layout.items()
            if group.axes[0] in STEPS
            for field in group.shapes._fields
        }

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
        self._add(arm, arrived(record), len(record["train_finite"]))
        if time.monotonic() >= self.latest + REFRESH:  # no eye follows faster
            self.latest = time.monotonic()
            self._move(arm, record)

    def _move(self, arm: Arm, record: Record) -> None:
        steps, known = len(record["train_finite"]), arrived(record)
        lines = [newest_step(record), f"loss {sparkline(record['train_loss'][:known])}"]
        lines += newest_probes(record, self.shown, self.steps)
        below = "\n".join(f"  {line}" for line in lines)
        self.bars.update(
            self.tasks[arm.label], completed=known, count=f"{known}/{steps}", below=below
        )
        self._move_all(arm.label, known / steps)

    def advance_rows(self, arm: Arm, sweep: str, done: int, rows: int) -> None:
        name = f"{arm.label}: {sweep}"
        if name not in self.tasks:
            self.tasks[name] = self.bars.add_task(name, total=rows, count="")
        self.bars.update(self.tasks[name], completed=done, count=f"{done}/{rows}")

    def finish(self, arm: Arm, record: Record) -> None:
        """Of many arms only those under way keep a bar of their own."""
        self.finished.add(arm.label)
        if arm.label in self.tasks:
            self._move(arm, record)  # the numbers of its last step
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


class NotebookOutput:
    """Shows bars in one output of a notebook's cell, and replaces it as they move."""

    def __init__(self, bars: Bars) -> None:
        from IPython.display import display as show

        self.bars, self.latest = bars, time.monotonic()
        self.output: Any = show(bars, display_id=True)

    def renew(self, *event: Any) -> None:
        del event
        if time.monotonic() >= self.latest + NOTEBOOK_REFRESH:
            self.show()

    def show(self) -> None:
        self.latest = time.monotonic()
        self.output.update(self.bars)


def in_notebook() -> bool:
    """Whether a Jupyter kernel runs this: its front end replaces outputs, its stdout is a log."""
    python = sys.modules.get("IPython")
    return getattr(python and python.get_ipython(), "kernel", None) is not None


@contextlib.contextmanager
def display(
    jobs: int, *, silent: bool = False, plain: bool = False, shown: Sequence[str] = ()
) -> Iterator[Any]:
    """Progress bars on a terminal and in a notebook, plain lines otherwise.

    Where several processes show the same, one has bars; others are `silent` or `plain`.
    """
    if silent:
        yield SILENT
    elif not plain and in_notebook():
        bars = Bars(auto_refresh=False)
        output = NotebookOutput(bars)
        try:
            yield together(
                RichDisplay(bars, jobs, shown), hearing(**dict.fromkeys(EVENTS, output.renew))
            )
        finally:
            output.show()
    elif plain or not sys.stdout.isatty():
        yield PlainDisplay(jobs)
    else:
        with Bars() as bars:
            yield RichDisplay(bars, jobs, shown)


FOLDER = "tensorboard"
FLUSH_SECONDS = 5
NUMBER = (float, np.floating)
MOST_CURVES = 16  # of one measurement; of more values, the mean and the extremes
MAIN = ("train/loss", "train/accuracy", "test/loss", "test/accuracy")
Points: TypeAlias = list[tuple[int, float]]


class EventFiles(Listener):
    """Writes `<run>/tensorboard/`, which `tensorboard --logdir` shows.

    In `<arm>/events…` are the curves of an arm and its options as hyperparameters; in the folder
    itself the claims, as a text, and the figures. A curve is written when its second value comes:
    what never changes, such as the step sizes of a line, is no curve. Loss and accuracy are always
    written.

    After a stop all of them are written anew, from the record of the checkpoint, and TensorBoard
    drops what an earlier process wrote. What is measured after training is not among the curves.
    """

    def __init__(self, folder: Path) -> None:
        try:
            from tensorboardX import SummaryWriter
        except ImportError as error:
            raise UsageError(
                "--tensorboard needs the package tensorboardX: pip install "
                '"bnjax[tensorboard]", or leave the option out'
            ) from error
        self.writer = SummaryWriter
        self.folder = folder / FOLDER
        self.tags: dict[str, tuple[str, tuple[str, ...]]] = {}  # by measurement: tag and axes
        self.axes: Mapping[str, np.ndarray] = {}
        self.writers: dict[str, Any] = {}
        self.next_rows: dict[str, dict[str, int]] = {}
        self.constant: dict[str, dict[str, Points | None]] = {}  # of each curve, until it changes

    def describe(self, layout: Layout, axes: Mapping[str, np.ndarray]) -> None:
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

    def judge(self, verdicts: Sequence[Any]) -> None:
        heads = ("verdict", "claim", "measured", "published", "rule")
        rows = [
            (one["verdict"], one["sentence"], one["measured"], one["published"], one["rule"])
            for one in verdicts
        ]
        cells = [[cell.replace("|", "\\|") for cell in row] for row in (heads, "-" * 5, *rows)]
        table = "\n".join(f"| {' | '.join(row)} |" for row in cells)
        self.open("").add_text("claims", table, self.last_step)

    def draw(self, name: str, files: Sequence[Path]) -> None:
        from PIL import Image  # comes with matplotlib, which drew them

        for path in files:
            if path.suffix == ".png":
                with Image.open(path) as picture:
                    pixels = np.asarray(picture)
                self.open("").add_image(name, pixels, self.last_step, dataformats="HWC")

    def close(self) -> None:
        for writer in self.writers.values():
            writer.close()

    @property
    def last_step(self) -> int:
        return len(self.axes["step"])

    def open(self, name: str) -> Any:
        if name not in self.writers:
            place = self.folder / name
            purge = 0 if any(place.glob("events*")) else None
            self.writers[name] = self.writer(str(place), purge_step=purge, flush_secs=FLUSH_SECONDS)
        return self.writers[name]

    def write(self, arm: Arm, before: int, record: Record) -> None:
        if arm.folder not in self.writers:
            writer = self.open(arm.folder)
            for summary in self.hyperparameters(arm):
                writer.file_writer.add_summary(summary)
            self.next_rows[arm.folder] = dict.fromkeys(self.tags, 0)
            self.constant[arm.folder] = {}
        writer, rows = self.writers[arm.folder], self.next_rows[arm.folder]
        for name, (tag, axes) in self.tags.items():
            steps = self.axes[axes[0]]
            while rows[name] < len(steps) and steps[rows[name]] < before:
                values = np.asarray(record[name][rows[name]])
                for curve, value in curves(tag, axes[1:], values, self.axes):
                    for point in self.due(arm, curve, int(steps[rows[name]]), value):
                        writer.add_scalar(curve, point[1], point[0])
                rows[name] += 1

    def due(self, arm: Arm, curve: str, step: int, value: float) -> Points:
        """The points to write now: none of a curve that has not changed, then all of it."""
        known = self.constant[arm.folder]
        held = known.setdefault(curve, None if curve in MAIN else [])
        if held is None:
            return [(step, value)]
        held.append((step, value))
        if value == held[0][1]:
            return []
        known[curve] = None
        return held

    def hyperparameters(self, arm: Arm) -> Any:
        """The options that decide an arm's results, for TensorBoard's table of arms."""
        from tensorboardX.summary import hparams

        given = {k: v for k, v in vars(arm.options).items() if k not in NOT_IN_DIGEST}
        given |= {**arm.values, "seed": arm.seed}
        texts = {
            name: " ".join(map(str, value))
            for name, value in given.items()
            if isinstance(value, list | tuple)
        }
        plain = {k: v for k, v in given.items() if isinstance(v, bool | int | float | str)}
        return hparams({**plain, **texts}, dict.fromkeys(MAIN, 0.0))


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
