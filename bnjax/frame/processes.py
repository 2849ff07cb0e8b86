"""Several processes, on one or many hosts, as one job (`jax.distributed`).

JAX ends all processes of a job when one has died, without a word to Python; here each of them says
so in a line, and a job in which nothing moves any more ends itself.
"""

import contextlib
import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

import jax
import numpy as np
from jax.experimental import multihost_utils

from bnjax.errors import RunError, UsageError, told
from bnjax.frame.interrupts import Interrupted
from bnjax.frame.messages import complain
from bnjax.types import PyTree

HEARTBEATS_TO_STALL = 60.0
Outcome = TypeVar("Outcome")
AGAIN = "start all processes again: the job continues from the last checkpoint"


def join(heartbeat_seconds: int) -> None:
    """Make this process part of a job; before anything else is done with JAX.

    Where the job is described by SLURM, Open MPI, GKE or a TPU pod, JAX finds it. Elsewhere the
    variables `JAX_COORDINATOR_ADDRESS` (host:port of process 0), `JAX_NUM_PROCESSES` and
    `JAX_PROCESS_ID` describe it.
    """
    given: dict[str, Any] = {}
    names = ("JAX_NUM_PROCESSES", "JAX_PROCESS_ID")
    if "JAX_COORDINATOR_ADDRESS" in os.environ and all(name in os.environ for name in names):
        count, own = (os.environ[name] for name in names)
        if not (count.isdecimal() and own.isdecimal() and int(own) < int(count)):
            raise UsageError(
                f"JAX_NUM_PROCESSES={count} JAX_PROCESS_ID={own}: must be a number of processes "
                "and one from 0 up to it"
            )
        host, _, port = os.environ["JAX_COORDINATOR_ADDRESS"].rpartition(":")
        if not (host and port.isdecimal() and 0 < int(port) < 65536):
            raise UsageError(
                f"JAX_COORDINATOR_ADDRESS={os.environ['JAX_COORDINATOR_ADDRESS']}: must be "
                "host:port of process 0, e.g. localhost:1234"
            )
        if int(own):
            await_coordinator(host, int(port), float(max(60, heartbeat_seconds)))
        given = {
            "coordinator_address": os.environ["JAX_COORDINATOR_ADDRESS"],
            "num_processes": int(count),
            "process_id": int(own),
            "cluster_detection_method": "deactivate",
        }
    try:
        jax.distributed.initialize(
            **given,
            initialization_timeout=max(60, heartbeat_seconds),
            heartbeat_timeout_seconds=heartbeat_seconds,
            shutdown_timeout_seconds=heartbeat_seconds,
        )
    except ValueError as error:
        raise UsageError(
            f"--distributed finds no job here ({error}): start it under SLURM, Open MPI, GKE or on "
            "a TPU pod, or set JAX_COORDINATOR_ADDRESS, JAX_NUM_PROCESSES and JAX_PROCESS_ID"
        ) from error
    except RuntimeError as error:
        place = os.environ.get("JAX_COORDINATOR_ADDRESS", "found by JAX")
        raise RunError(
            f"--distributed cannot join the job (JAX_COORDINATOR_ADDRESS={place}: "
            f"{told(error, 300)}): {AGAIN}"
        ) from error


def await_coordinator(host: str, port: int, seconds: float) -> None:
    """Wait until process 0 listens: where it does not, JAX aborts the process without an error."""
    latest = time.monotonic() + seconds
    while True:
        try:
            socket.create_connection((host.strip("[]"), port), timeout=5).close()
            return
        except OSError as error:
            if time.monotonic() > latest:
                raise RunError(
                    f"JAX_COORDINATOR_ADDRESS={host}:{port}: process 0 has not answered for "
                    f"{seconds:g} s ({error.strerror or error}): start it, or give its address"
                ) from error
        time.sleep(0.2)


def several() -> bool:
    """Whether this process is one of several; asks JAX nothing that would start it."""
    return bool(jax.distributed.is_initialized()) and jax.process_count() > 1


def leave(status: int) -> None:
    """Leave the job: in order if all went well, else at once, which ends the others too."""
    if not jax.distributed.is_initialized():
        return
    if status == 0:
        jax.distributed.shutdown()
        return
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def told_to_stop(poll: int) -> bool:
    """Whether all processes save and leave now, as one got a SIGTERM; each asks equally often."""
    return bool(multihost_utils.reached_preemption_sync_point(poll))


def find_stop_teller() -> Callable[[], None]:
    """What has JAX tell all processes of the job to stop, as if this one had got a SIGTERM.

    When a job is joined JAX puts a handler of its own, in C, in the place of SIGTERM's; it notes
    the signal for a thread that tells the others. To be found before that handler is replaced.
    """
    change = ctypes.CDLL(None).signal
    change.restype, change.argtypes = ctypes.c_void_p, [ctypes.c_int, ctypes.c_void_p]
    place = change(
        signal.SIGTERM, None
    )  # C's `signal` tells what was there only when it changes it
    change(signal.SIGTERM, place)
    if place is None or place == int(signal.SIG_IGN):
        raise RunError("JAX's preemption service is off: unset JAX_ENABLE_PREEMPTION_SERVICE")
    handler = ctypes.CFUNCTYPE(None, ctypes.c_int)(place)
    return lambda: handler(signal.SIGTERM)


def agree(act: Callable[[], int]) -> int:
    """Have process 0 do something that the others wait for, and tell them what came of it.

    Every process gets its number, from 0 up; if it failed, process 0 raises its own error and the
    others a `RunError`.
    """
    if not several():
        return act()
    outcome, failure = -1, None
    if jax.process_index() == 0:
        try:
            outcome = act()
        except Exception as error:  # raised below, when the others know
            failure = error
    outcome = int(multihost_utils.broadcast_one_to_all(np.int32(outcome)))
    if failure is not None:
        raise failure
    if outcome < 0:
        raise RunError("process 0 cannot go on: see what it says")
    return outcome


def broadcast(tree: PyTree) -> PyTree:
    """The arrays of process 0, in every process; numpy in, numpy out, every bit kept."""
    if not several():
        return tree
    leaves, structure = jax.tree.flatten(
        jax.tree.map(lambda leaf: np.asarray(leaf, order="C"), tree)
    )
    # As bytes, for a broadcast is a sum and sums change some NaNs; in one piece, which is one
    # collective.
    sent = np.frombuffer(b"".join(leaf.tobytes() for leaf in leaves), np.uint8)
    received = np.asarray(multihost_utils.broadcast_one_to_all(sent)).tobytes()
    ends = np.cumsum([leaf.nbytes for leaf in leaves])
    copies = [
        np.frombuffer(received[end - leaf.nbytes : end], leaf.dtype).reshape(leaf.shape).copy()
        for leaf, end in zip(leaves, ends, strict=True)
    ]
    return jax.tree.unflatten(structure, copies)


def explain(error: Exception) -> str:
    """What an error of the runtime in one of several processes most likely means."""
    return (
        f"process {jax.process_index()} of {jax.process_count()} cannot go on, most likely because "
        f"another one has ended ({told(error, 300)}): {AGAIN}"
    )


class Watch:
    """Ends a process of a job in which nothing moves: a rank that is stuck holds up all others."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.moved = time.monotonic()
        self.rests = False

    def move(self) -> None:
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
        while not ended.wait(min(5.0, self.seconds / 4)):
            still = time.monotonic() - self.moved
            if still > self.seconds and not self.rests:
                complain(f"nothing has moved for {still:.0f} s, some process is stuck: {AGAIN}")
                os._exit(1)


@contextlib.contextmanager
def watched(heartbeat_seconds: int) -> Iterator[Watch]:
    """Within the block a job that stands still ends, and a process that is ended says why."""
    watch = Watch(HEARTBEATS_TO_STALL * heartbeat_seconds)
    if not several():
        yield watch
        return
    # Nothing in this process can speak once JAX has aborted it; a shell that waits for it can.
    last_words = (
        f"error: process {jax.process_index()} of {jax.process_count()} was ended before its time, "
        f"by a signal or because another process of the job died: {AGAIN}"
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
    """
    if not several():
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
        raise RunError(f"process {numbers} did not end its part: see what it says, and {AGAIN}")
    return outcome


def wait_for_all(name: str, watch: Watch) -> None:
    if several():
        with watch.resting():
            multihost_utils.sync_global_devices(name)
