"""Ctrl-C and SIGTERM: finish the step, save, leave; after a grace, or at a second signal, at once.

A process that is somebody else's, a notebook's, is never ended: there a second signal raises.

Signals are read by a thread of their own, so that they count during a compilation too, when the
main thread runs no Python and no ordinary handler is called.
"""

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from types import FrameType

GRACE_SECONDS = 8.0  # from the first signal; machines that are taken away give some 10 to 30 s
INTERRUPTED = 130  # exit status


class Interrupted(Exception):
    """A run was asked to stop, has saved its state, and can be resumed."""


class StopRequest:
    """Whether a signal has asked the run to stop."""

    def __init__(self, *, ends_process: bool = True) -> None:
        self.received = self.raises = False  # the second one in the thread that trains
        self._ends_process = ends_process
        self.awaited = "no step ended"  # what the grace is for
        self._grace: threading.Timer | None = None

    def receive(self) -> None:
        """Note the first signal, and give it a grace; the second one ends the process."""
        if self.received and self._ends_process:
            leave_at_once("interrupted at once")
        self.raises = self.received and not self._ends_process
        first, self.received = not self.received, True
        if first and self._ends_process:
            self._grace = threading.Timer(GRACE_SECONDS, self._give_up)
            self._grace.daemon = True
            self._grace.start()

    def _give_up(self) -> None:
        leave_at_once(f"interrupted, and {self.awaited} within {GRACE_SECONDS:g} s")

    def done(self) -> None:
        """All is saved: the grace need not end the process."""
        if self._grace is not None:
            self._grace.cancel()


def leave_at_once(reason: str) -> None:
    """End the process without waiting for anything: what is on the disk is sound at any moment."""
    with contextlib.suppress(Exception):
        sys.stdout.flush()
        print(f"{reason}: the same command continues from the last checkpoint", file=sys.stderr)
        sys.stderr.flush()
    os._exit(INTERRUPTED)


@contextlib.contextmanager
def stop_on_signals(
    tell_others: Callable[[], None] = lambda: None, *, ends_process: bool = True
) -> Iterator[StopRequest]:
    """Within the block SIGINT and SIGTERM set the flag of the `StopRequest`.

    `tell_others` is called at each signal. Unless `ends_process`, the first signal is waited for as
    long as it takes, and a second one raises `KeyboardInterrupt`.
    """
    request = StopRequest(ends_process=ends_process)
    if threading.current_thread() is not threading.main_thread():
        yield request  # only the main thread may change what signals do
        return

    def act() -> None:
        request.receive()
        tell_others()

    def seen() -> None:
        if request.raises:
            raise KeyboardInterrupt

    with reading_signals((signal.SIGINT, signal.SIGTERM), act, seen):
        try:
            yield request
        finally:
            request.done()


@contextlib.contextmanager
def reading_signals(
    numbers: Sequence[int], act: Callable[[], None], seen: Callable[[], None] = lambda: None
) -> Iterator[None]:
    """Within the block `act` is called in a thread at each of these signals, then `seen` here."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    acted = threading.Semaphore(0)

    def read() -> None:
        while received := os.read(reading, 1):
            if received[0] in numbers:
                act()
                acted.release()

    def handle(number: int, frame: FrameType | None) -> None:
        """In the main thread, when it next runs Python: the flag is set when this returns."""
        acted.acquire(timeout=1)
        seen()

    thread = threading.Thread(target=read, name="signals", daemon=True)
    thread.start()
    before = signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    handlers = {number: signal.signal(number, handle) for number in numbers}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            # None: it was not Python's. What JAX had there belongs to a job that ends now.
            signal.signal(number, signal.SIG_DFL if handler is None else handler)
        signal.set_wakeup_fd(before)
        os.close(writing)  # ends the thread
        thread.join()
        os.close(reading)
