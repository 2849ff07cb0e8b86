"""How far a run is: bars on a terminal, plain lines in a pipe."""

import contextlib
import sys
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from bnjax.runs.arms import Arm
from bnjax.runs.records import Record

LINES_PER_ARM = 10
ROW_LINES = 4  # of each sweep after training
MANY_UNITS = 5  # more arms than this: their number is shown too
BLOCKS = "▁▂▃▄▅▆▇█"
CURVE_WIDTH = 32  # characters
MOST_VALUES = 4  # of each probe
REFRESH = 0.1  # seconds
COLUMNS = (
    TextColumn("{task.description}"),
    BarColumn(bar_width=20),
    TextColumn("{task.completed}/{task.total}"),
    TimeRemainingColumn(),
)


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
                f"{arm.label}: step {done}/{steps}, {summary(record, done)}, {elapsed:.0f} s",
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


class RichDisplay:
    """A progress bar for all arms and one for each that is under way, on a terminal."""

    def __init__(self, progress: Progress, units: int) -> None:
        self.progress = progress
        self.tasks: dict[str, Any] = {}
        self.finished: set[str] = set()
        self.all = progress.add_task("arms done", total=units)
        self.shown = 0.0

    def advance(self, arm: Arm, done: int, record: Record) -> None:
        """Move the arm's bar."""
        if arm.label not in self.tasks:
            total = len(record["train.finite"])
            self.tasks[arm.label] = self.progress.add_task(arm.label, total=total)
        if time.monotonic() < self.shown + REFRESH and done < len(record["train.finite"]):
            return  # no eye follows faster
        self.shown = time.monotonic()
        curve = sparkline(record["train.loss"][: max(1, done - 1)])
        lines = [f"{arm.label}: {summary(record, done)}", f"  loss {curve}", *newest(record)]
        self.progress.update(self.tasks[arm.label], completed=done, description="\n".join(lines))

    def advance_rows(self, arm: Arm, sweep: str, done: int, rows: int) -> None:
        """Move the bar of the arm's sweep."""
        name = f"{arm.label}: {sweep}"
        if name not in self.tasks:
            self.tasks[name] = self.progress.add_task(name, total=rows)
        self.progress.update(self.tasks[name], completed=done)

    def finish(self, arm: Arm, record: Record) -> None:
        """Move the bar of all arms; of many, only those under way keep a bar of their own."""
        self.finished.add(arm.label)
        self.progress.update(self.all, completed=len(self.finished))
        if (self.progress.tasks[self.all].total or 0) > MANY_UNITS:
            for name, task in self.tasks.items():
                if name == arm.label or name.startswith(f"{arm.label}: "):
                    self.progress.update(task, visible=False)


@contextlib.contextmanager
def display(units: int, *, silent: bool = False, plain: bool = False) -> Iterator[Any]:
    """Progress bars on a terminal, plain lines otherwise.

    Args:
      units: arms, counted for each seed.
      silent: show nothing; another process of the job shows the same.
      plain: lines on a terminal, too; another process of the job has its bars there.
    """
    if silent:
        yield SilentDisplay()
        return
    if plain or not sys.stdout.isatty():
        yield PlainDisplay(units)
        return
    with Progress(*COLUMNS) as progress:
        yield RichDisplay(progress, units)


def summary(record: Record, done: int) -> str:
    """Loss and accuracy of the newest step whose numbers have arrived."""
    loss, accuracy = (record[f"train.{name}"][max(0, done - 2)] for name in ("loss", "accuracy"))
    return f"minibatch loss {loss:.4f}, accuracy {accuracy:.3f}"


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


def newest(record: Record) -> list[str]:
    """The newest values of each probe, each a mean over what was measured at that step."""
    groups: dict[str, list[str]] = {}
    for name, values in record.items():
        group, _, field = name.partition(".")
        if group in ("train", "test", "complete") or group.startswith("_"):
            continue
        rows = values.reshape(len(values), -1)
        measured = rows[np.isfinite(rows).any(axis=1)]
        if len(measured) and len(groups.setdefault(group, [])) < MOST_VALUES:
            last = measured[-1]
            groups[group].append(f"{field} {np.mean(last[np.isfinite(last)]):.3g}")
    return [f"  {group}: {', '.join(fields)}" for group, fields in groups.items() if fields]
