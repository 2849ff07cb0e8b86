"""How the processes of a job wait for each other, and what they say when one does not come.

JAX ends all processes of a job when one has died, without a word to Python; here each of them says
so in a line, and a job in which nothing moves any more ends itself.
"""

import contextlib
import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from typing import TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from bnjax.errors import RunError
from bnjax.frame import processes
from bnjax.frame.interrupts import Interrupted
from bnjax.frame.messages import complain

HEARTBEATS_TO_STALL = 60.0
Outcome = TypeVar("Outcome")


class Watch:
    """Ends a process of a job in which nothing moves: a rank that is stuck holds up all others."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.moved = time.monotonic()
        self.rests = False

    def move(self) -> None:
        """Something was done."""
        self.moved = time.monotonic()

    @contextlib.contextmanager
    def resting(self) -> Iterator[None]:
        """Within the block this process waits for others, each of which has its own watch."""
        self.rests = True
        try:
            yield
        finally:
            self.move()
            self.rests = False

    def run(self, ended: threading.Event) -> None:
        """Look now and then."""
        while not ended.wait(min(5.0, self.seconds / 4)):
            still = time.monotonic() - self.moved
            if still > self.seconds and not self.rests:
                complain(
                    f"nothing has moved for {still:.0f} s, some process is stuck: {processes.AGAIN}"
                )
                os._exit(1)


@contextlib.contextmanager
def watched(heartbeat_seconds: int) -> Iterator[Watch]:
    """Within the block a job that stands still ends, and a process that is ended says why.

    Args:
      heartbeat_seconds: as given to `join`; a job may stand still for 60 times as long, which a
        large compilation may need.
    """
    watch = Watch(HEARTBEATS_TO_STALL * heartbeat_seconds)
    if not processes.several():
        yield watch
        return
    # Nothing in this process can speak once JAX has aborted it; a shell that waits for it can.
    last_words = (
        f"error: process {jax.process_index()} of {jax.process_count()} was ended before its time, "
        f"by a signal or because another process of the job died: {processes.AGAIN}"
    )
    shell = subprocess.Popen(
        ["/bin/sh", "-c", 'trap "" INT TERM; read -r line || echo "$0" >&2', last_words],
        stdin=subprocess.PIPE,
    )
    ended = threading.Event()
    threading.Thread(target=watch.run, args=[ended], name="watch", daemon=True).start()
    try:
        yield watch
    finally:
        ended.set()
        with contextlib.suppress(OSError):
            shell.communicate(b"ended in order\n")


def all_do(
    act: Callable[[], Outcome], watch: Watch, stopped: Callable[[], bool] = lambda: False
) -> Outcome:
    """Have every process do a part of its own, and wait until all have.

    A process that cannot, or was asked to stop, waits as well: leaving would end the others.

    Args:
      act: what this process does.
      watch: does not look at this process while it waits.
      stopped: whether this process was asked to stop.

    Returns:
      What `act` returns.

    Raises:
      Interrupted: asked to stop while it waited, as was another process.
      RunError: another process failed; what `act` raises, if it did here.
    """
    if not processes.several():
        return act()
    failure: Exception | None = None
    try:
        outcome = act()
    except Exception as error:  # raised below, when the others have ended too
        failure = error
    with watch.resting():
        failed = multihost_utils.process_allgather(np.int32(failure is not None))
    if failure is not None:
        raise failure
    if np.any(failed) and stopped():
        raise Interrupted("after its part was done")
    if np.any(failed):
        numbers = " ".join(map(str, np.flatnonzero(failed)))
        raise RunError(
            f"process {numbers} did not end its part: see what it says, and {processes.AGAIN}"
        )
    return outcome


def wait_for_all(name: str, watch: Watch) -> None:
    """Wait until every process is here."""
    if processes.several():
        with watch.resting():
            multihost_utils.sync_global_devices(name)
