"""The parent of the processes of trials: imports everything once, starts no backend, forks.

A fork before JAX has a backend, and so threads, is as good as a new process and saves its three
seconds of imports. Requests and answers are lines of JSON on standard input and output. When
standard input ends, the process that asks has ended or wants no more: this one goes, and its
children with it, even if it is killed.
"""

import ctypes
import gc
import json
import os
import select
import signal
import sys
from pathlib import Path
from typing import Any

import jax
import matplotlib.figure
import sklearn.datasets

from bnjax.commands import command_line
from bnjax.frame import run as runs
from bnjax.report import publish
from bnjax.studies import landscape
from bnjax.studies.landscape import claims, figure, measure
from faults import injection

PR_SET_PDEATHSIG = 1  # prctl(2): a signal for when the parent ends
IMPORTED = (jax, matplotlib, sklearn, runs, publish, claims, figure, measure)


def serve() -> int:
    """Answer requests until standard input ends; a forked child returns its own exit status."""
    matplotlib.figure.Figure().savefig(os.devnull, format="pdf")  # fonts are found once
    threads = [path.read_text().strip() for path in Path("/proc/self/task").glob("*/comm")]
    others = [name for name in threads if name != "jemalloc_bg_thd"]  # which is ready for forks
    if len(others) > 1 or jax._src.xla_bridge._backends:
        raise SystemExit(f"not safe to fork: {threads}")
    gc.freeze()
    answer({"ready": True})
    server, children = os.getpid(), set[int]()
    while line := sys.stdin.readline():
        request = json.loads(line)
        if "start" in request:
            child = os.fork()
            if not child:
                go_with(server)
                return run(request["start"])
            children.add(child)
            answer({"pid": child})
        else:
            status = wait(request["wait"], request["seconds"])
            if status is None and asker_is_gone():
                break
            children -= {request["wait"]} if status is not None else set()
            answer({"status": status})
    for child in children:
        os.kill(child, signal.SIGKILL)
    return 0


def answer(content: dict[str, Any]) -> None:
    """One line on standard output."""
    print(json.dumps(content), flush=True)


def go_with(server: int) -> None:
    """This process is killed when the server ends."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != server:  # it ended before
        os._exit(1)


def asker_is_gone() -> bool:
    """Whether standard input is at its end; no request comes before the last one's answer."""
    return bool(select.select([sys.stdin], [], [], 0)[0])


def wait(child: int, seconds: float) -> int | None:
    """A child's exit status, minus the signal that ended it, or None if it still runs.

    The wait is over at once when standard input ends.
    """
    descriptor = os.pidfd_open(child)
    try:
        ready, _, _ = select.select([descriptor, sys.stdin], [], [], seconds)
    finally:
        os.close(descriptor)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) if descriptor in ready else None


def run(job: dict[str, Any]) -> int:
    """What a forked child does: a study's command, with the job's faults in its way."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        place = Path(job["folder"]) / name if number else Path(os.devnull)
        opened = os.open(place, os.O_RDWR | os.O_CREAT | os.O_APPEND)
        os.dup2(opened, number)
        os.close(opened)
    os.environ.update(job["environment"])
    injection.install(job["faults"])
    return command_line.main(landscape.STUDY, job["arguments"])


if __name__ == "__main__":
    sys.exit(serve())
