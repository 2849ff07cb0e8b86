"""How far a run is: bars on a terminal, plain lines in a pipe."""

import contextlib
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from rich.console import RenderableType
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column
from rich.text import Text

from bnjax.frame.arm import Arm
from bnjax.frame.listener import SILENT, Listener
from bnjax.frame.records import Record

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

    Args:
      record: of one arm.
      done: steps that are done or under way.

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
    """A curve in a line of text, on a logarithmic scale, for the eye alone.

    Args:
      values: `[n]`; what is not positive and finite is left blank.

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


def curve(record: Record, done: int) -> list[str]:
    """The training loss so far."""
    return [f"loss {sparkline(record['train_loss'][: max(1, done - 1)])}"]


def newest_probes(record: Record, shown: Sequence[str] = ()) -> list[str]:
    """The newest values of some measurements, a line each; of several values least and greatest.

    Args:
      record: of one arm.
      shown: names, e.g. `line_smoothness`; empty: the first few of each probe.
    """
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

    def advance(self, arm: Arm, done: int, record: Record) -> None:
        """Print a line now and then."""
        steps = len(record["train_finite"])
        if done % max(1, steps // LINES_PER_ARM) == 0 or done == steps:
            elapsed = time.monotonic() - self.started
            print(
                f"{arm.label}: step {done}/{steps}, {newest_step(record, done)}, {elapsed:.0f} s",
                flush=True,
            )

    def advance_rows(self, arm: Arm, sweep: str, done: int, rows: int) -> None:
        """Print a line now and then."""
        if done % max(1, rows // ROW_LINES) == 0 or done == rows:
            elapsed = time.monotonic() - self.started
            print(f"{arm.label}: {sweep}, row {done}/{rows}, {elapsed:.0f} s", flush=True)

    def finish(self, arm: Arm, record: Record) -> None:
        """Print how many arms are done, where there are many."""
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

    def advance(self, arm: Arm, done: int, record: Record) -> None:
        """Move the arm's bar."""
        steps = len(record["train_finite"])
        if arm.label not in self.tasks:
            self.begun[arm.label] = (done - 1) / steps
            self.tasks[arm.label] = self.bars.add_task(
                arm.label, total=steps, completed=done - 1, count=""
            )
        if time.monotonic() < self.latest + REFRESH and done < steps:
            return  # no eye follows faster
        self.latest = time.monotonic()
        lines = [newest_step(record, done), *curve(record, done)]
        lines += newest_probes(record, self.shown)
        below = "\n".join(f"  {line}" for line in lines)
        self.bars.update(
            self.tasks[arm.label], completed=done, count=f"{done}/{steps}", below=below
        )
        self._move_all(arm.label, done / steps)

    def advance_rows(self, arm: Arm, sweep: str, done: int, rows: int) -> None:
        """Move the bar of the arm's sweep."""
        name = f"{arm.label}: {sweep}"
        if name not in self.tasks:
            self.tasks[name] = self.bars.add_task(name, total=rows, count="")
        self.bars.update(self.tasks[name], completed=done, count=f"{done}/{rows}")

    def finish(self, arm: Arm, record: Record) -> None:
        """Move the bar of all arms; of many, only those under way keep a bar of their own."""
        self.finished.add(arm.label)
        self.begun.setdefault(arm.label, 1.0)  # it was done before
        self._move_all(arm.label, 1.0)
        if self.jobs > MANY_JOBS:
            for name, task in self.tasks.items():
                if name == arm.label or name.startswith(f"{arm.label}: "):
                    self.bars.update(task, visible=False)

    def _move_all(self, label: str, share: float) -> None:
        """The bar of the whole run; what was done before tells nothing of the time left."""
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

    Args:
      jobs: arms, counted for each seed.
      silent: show nothing; another process of the job shows the same.
      plain: lines on a terminal, too; another process of the job has its bars there.
      shown: names of the measured arrays whose newest values are shown; empty: some of each probe.
    """
    if silent:
        yield SILENT
        return
    if plain or not sys.stdout.isatty():
        yield PlainDisplay(jobs)
        return
    with Bars() as bars:
        yield RichDisplay(bars, jobs, shown)
