"""How far a run is: bars on a terminal, plain lines in a pipe."""

import contextlib
import sys
import time
from collections.abc import Iterator, Sequence
from typing import Any

from rich.console import RenderableType
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Column
from rich.text import Text

from bnjax.frame import readings
from bnjax.frame.arms import Arm
from bnjax.frame.records import Record

LINES_PER_ARM = 10
ROW_LINES = 4  # of each sweep after training
MANY_UNITS = 5  # more arms than this: their number is shown too
REFRESH = 0.1  # seconds


class PlainDisplay:
    """About ten lines for each arm, for pipes and logs."""

    def __init__(self, units: int) -> None:
        self.started = time.monotonic()
        self.units = units
        self.finished: set[str] = set()

    def advance(self, arm: Arm, done: int, record: Record) -> None:
        """Print a line now and then."""
        steps = len(record["train.finite"])
        if done % max(1, steps // LINES_PER_ARM) == 0 or done == steps:
            elapsed = time.monotonic() - self.started
            print(
                f"{arm.label}: step {done}/{steps}, {readings.newest_step(record, done)}, "
                f"{elapsed:.0f} s",
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
        if self.units > MANY_UNITS:
            print(f"{len(self.finished)} of {self.units} arms done", flush=True)


class SilentDisplay:
    """Nothing."""

    def advance(self, arm: Arm, done: int, record: Record) -> None:
        """Show nothing."""

    def advance_rows(self, arm: Arm, sweep: str, done: int, rows: int) -> None:
        """Show nothing."""

    def finish(self, arm: Arm, record: Record) -> None:
        """Show nothing."""


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


class RichDisplay:
    """A bar for the whole run and one for each arm that is under way, on a terminal."""

    def __init__(self, bars: Bars, units: int, shown: Sequence[str] = ()) -> None:
        self.bars, self.units, self.shown = bars, units, shown
        self.tasks: dict[str, Any] = {}
        self.begun: dict[str, float] = {}  # share of each arm that was done before
        self.shares: dict[str, float] = {}  # and that is done now
        self.finished: set[str] = set()
        self.all = bars.add_task("all arms", total=units, count=f"0/{units}")
        self.latest = 0.0

    def advance(self, arm: Arm, done: int, record: Record) -> None:
        """Move the arm's bar."""
        steps = len(record["train.finite"])
        if arm.label not in self.tasks:
            self.begun[arm.label] = (done - 1) / steps
            self.tasks[arm.label] = self.bars.add_task(
                arm.label, total=steps, completed=done - 1, count=""
            )
        if time.monotonic() < self.latest + REFRESH and done < steps:
            return  # no eye follows faster
        self.latest = time.monotonic()
        lines = [readings.newest_step(record, done), *readings.curve(record, done)]
        lines += readings.newest_probes(record, self.shown)
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
        if self.units > MANY_UNITS:
            for name, task in self.tasks.items():
                if name == arm.label or name.startswith(f"{arm.label}: "):
                    self.bars.update(task, visible=False)

    def _move_all(self, label: str, share: float) -> None:
        """The bar of the whole run; what was done before tells nothing of the time left."""
        self.shares[label] = share
        before = sum(self.begun.values())
        self.bars.update(
            self.all,
            total=max(self.units - before, 1e-9),
            completed=sum(self.shares.values()) - before,
            count=f"{len(self.finished)}/{self.units}",
        )


@contextlib.contextmanager
def display(
    units: int, *, silent: bool = False, plain: bool = False, shown: Sequence[str] = ()
) -> Iterator[Any]:
    """Progress bars on a terminal, plain lines otherwise.

    Args:
      units: arms, counted for each seed.
      silent: show nothing; another process of the job shows the same.
      plain: lines on a terminal, too; another process of the job has its bars there.
      shown: names of the measured arrays whose newest values are shown; empty: some of each probe.
    """
    if silent:
        yield SilentDisplay()
        return
    if plain or not sys.stdout.isatty():
        yield PlainDisplay(units)
        return
    with Bars() as bars:
        yield RichDisplay(bars, units, shown)
