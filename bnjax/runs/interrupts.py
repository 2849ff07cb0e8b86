"""Ctrl-C and SIGTERM: finish the step, save, leave; a second signal leaves at once."""

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType


class Interrupted(Exception):
    """A run was asked to stop, has saved its state, and can be resumed."""


class StopRequest:
    """Whether a signal has asked the run to stop."""

    def __init__(self) -> None:
        self.received = False

    def handle(self, number: int, frame: FrameType | None) -> None:
        """Note the first signal; let the second one interrupt at once."""
        if self.received:
            raise KeyboardInterrupt
        self.received = True


@contextlib.contextmanager
def stop_on_signals() -> Iterator[StopRequest]:
    """Within the block SIGINT and SIGTERM set the flag of the `StopRequest`."""
    request = StopRequest()
    previous = {
        number: signal.signal(number, request.handle) for number in (signal.SIGINT, signal.SIGTERM)
    }
    try:
        yield request
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
