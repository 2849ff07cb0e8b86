"""The events of a run: a listener is told of arms, steps, probes, verdicts and figures.

Displays and TensorBoard's event files are listeners. Give your own to `bnjax.start`.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bnjax.frame.arm import Arm
from bnjax.frame.records import Record


class Listener:
    """Methods that are called when something happens in a run; here they do nothing.

    Records hold all that an arm has measured so far, `<probe>_<field>` with NaN for what has not
    arrived. They must not be changed.
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


class Listeners(Listener):
    """Several listeners as one."""

    def __init__(self, *listeners: Listener) -> None:
        self.listeners = listeners

    def advance(self, arm: Arm, done: int, record: Record) -> None:
        for listener in self.listeners:
            listener.advance(arm, done, record)

    def advance_rows(self, arm: Arm, sweep: str, done: int, rows: int) -> None:
        for listener in self.listeners:
            listener.advance_rows(arm, sweep, done, rows)

    def finish(self, arm: Arm, record: Record) -> None:
        for listener in self.listeners:
            listener.finish(arm, record)

    def judge(self, verdicts: Sequence[Any]) -> None:
        for listener in self.listeners:
            listener.judge(verdicts)

    def draw(self, name: str, files: Sequence[Path]) -> None:
        for listener in self.listeners:
            listener.draw(name, files)


SILENT = Listener()
