"""How many trials each promise gets, and a log of how they went.

`BNJAX_TRIALS=ci` (the default) is what each change must pass, `BNJAX_TRIALS=full` what
`make test-all` runs.
"""

import contextlib
import json
import os
from collections.abc import Iterator
from typing import NamedTuple

COLUMN, LOG = "BNJAX_TRIALS", "BNJAX_TRIALS_LOG"


class Trials(NamedTuple):
    """The number of trials of one promise in each column."""

    ci: int
    full: int


PROMISED = {
    "kill": Trials(25, 1000),
    "points": Trials(40, 400),
    "damage": Trials(200, 5000),
    "locks": Trials(10, 200),
    "signals": Trials(10, 200),
    "disk": Trials(12, 100),
    "memory": Trials(8, 50),
    "resume": Trials(21, 84),
    "inputs": Trials(100, 1000),  # of each kind: command lines, folders, archives, tables
    "layouts": Trials(9, 16),
    "processes": Trials(6, 100),
    "power": Trials(200, 5000),
    "mixing": Trials(8, 30),
    "drawing": Trials(54, 272),  # studies × kinds of odd arrays
    "soak": Trials(0, 7200),  # seconds, beyond 2,000 steps
}


def number(promise: str) -> int:
    """How many trials a promise gets in this session."""
    column = os.environ.get(COLUMN, "ci")
    if column not in Trials._fields:
        raise ValueError(f"{COLUMN}={column}: must be ci or full")
    return getattr(PROMISED[promise], column)


@contextlib.contextmanager
def counted(promise: str, count: int = 1) -> Iterator[None]:
    """Note in `$BNJAX_TRIALS_LOG`, where it is set, that trials of a promise held or failed."""
    failed = True
    try:
        yield
        failed = False
    finally:
        if place := os.environ.get(LOG):
            line = json.dumps({"promise": promise, "trials": count, "failed": int(failed)})
            with open(place, "a") as file:  # one short write: whole lines from several processes
                file.write(line + "\n")
