"""Signals in a process of one's own, and in one that is somebody else's."""

import os
import signal
import threading
import time

import pytest

from bnjax.frame import interrupts


@pytest.fixture
def left(monkeypatch):
    """Why the process would have been ended; here it is not, and it is asked at once."""
    reasons = []
    monkeypatch.setattr(interrupts, "leave_at_once", reasons.append)
    monkeypatch.setattr(interrupts, "GRACE_SECONDS", 0.05)
    # Elsewhere signals are left alone, and those that follow would end the tests.
    assert threading.current_thread() is threading.main_thread()
    return reasons


def wait_for(reasons):
    """The grace is over."""
    deadline = time.monotonic() + 5
    while not reasons and time.monotonic() < deadline:
        time.sleep(0.01)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_process_of_its_own_is_ended_after_the_grace_or_at_a_second_signal(left, number):
    with interrupts.stop_on_signals() as stop:
        os.kill(os.getpid(), number)
        assert stop.received
        wait_for(left)
        assert left == ["interrupted, and no step ended within 0.05 s"]
        os.kill(os.getpid(), number)
    assert left[1:] == ["interrupted at once"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_notebooks_process_is_never_ended(left, number):
    before = signal.getsignal(number)
    with interrupts.stop_on_signals(ends_process=False) as stop:
        os.kill(os.getpid(), number)
        assert stop.received
        time.sleep(0.2)  # four times the grace
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
    assert left == []
    assert signal.getsignal(number) == before
