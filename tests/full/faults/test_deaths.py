"""A process of a job dies or stands still: the others end with a line, and the job goes on."""

import random
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from test_devices import assert_close

from bnjax.frame import layout, results
from faults.nursery import LONGEST, Nursery
from faults.toy import HOOKS, PERCEPTRON, run_folder
from faults.trials import counted, number

TRIALS = number("processes")
CHUNKS = max(3, TRIALS // 10)
HEARTBEAT = 10  # seconds
LAST = 50  # steps
COMMAND = (
    f"--steps {LAST} --batch-size 16 --probe-every 4 --evaluate-every 8 --points 2 "
    f"--checkpoint-steps 3 --heartbeat-seconds {HEARTBEAT}"
).split()


class Death(NamedTuple):
    """Which process of how many ends how, and how many go on."""

    count: int
    together: bool  # on the same jobs, in step; else each has its own
    victim: int
    way: signal.Signals
    again: int


# What each change has to pass; many more are drawn for the full column.
DEATHS = [
    Death(2, True, 0, signal.SIGKILL, 1),
    Death(2, False, 1, signal.SIGKILL, 1),
    Death(4, True, 3, signal.SIGSTOP, 2),
    Death(2, True, 1, signal.SIGKILL, 2),
    Death(2, False, 0, signal.SIGKILL, 2),
    Death(2, False, 1, signal.SIGSTOP, 2),
]


def draw(generator: random.Random) -> Death:
    """Any of them."""
    count = generator.choice([2, 2, 4])
    way = generator.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGSTOP])
    victim, together = generator.randrange(count), generator.random() < 0.7
    return Death(count, together, victim, way, generator.choice([1, 2]))


class Job:
    """Processes on this machine, one CPU device each, that find each other by a free port."""

    def __init__(self, parent: Nursery, out: Path, count: int, together: bool) -> None:
        with socket.socket() as free:
            free.bind(("localhost", 0))
            address = f"localhost:{free.getsockname()[1]}"
        command = [*PERCEPTRON, *COMMAND, "--out", out]
        command += ["--distributed"] if count > 1 else []
        command += ["--data-devices", count] if together else []
        self.processes = [
            parent.start(
                command,
                HOOKS,
                {
                    "JAX_COORDINATOR_ADDRESS": address,
                    "JAX_NUM_PROCESSES": str(count),
                    "JAX_PROCESS_ID": str(index),
                },
            )
            for index in range(count)
        ]

    def wait_for(self, text: str) -> None:
        """Wait until process 0 has said something."""
        first = self.processes[0]
        ended = first.wait_until(lambda: text in first.said("stdout"))
        assert ended is None, ended

    def finish(self) -> None:
        """All processes end, well."""
        for process in self.processes:
            ended = process.end()
            assert ended.status == 0, ended


@pytest.fixture(scope="module")
def parent(tmp_path_factory) -> Iterator[Nursery]:
    """The parent of all processes of the jobs, which have one environment."""
    made = Nursery(
        {
            "JAX_NUM_CPU_DEVICES": "1",
            "JAX_CPU_COLLECTIVES_IMPLEMENTATION": "gloo",
            "JAX_COMPILATION_CACHE_DIR": str(tmp_path_factory.mktemp("compiled")),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
            # What several devices of one CPU need; and the bits of one depend on it.
            "NPROC": "16",
            "XLA_FLAGS": " ".join(layout.ONE_ORDER),
        }
    )
    yield made
    made.close()


@pytest.fixture(scope="module")
def alone(parent, tmp_path_factory):
    """The results of one process with one device."""
    out = tmp_path_factory.mktemp("alone") / "out"
    Job(parent, out, 1, together=False).finish()
    return results.read(run_folder(out)).data


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_a_death_ends_all_with_a_line_and_the_job_goes_on(parent, alone, tmp_path, chunk):
    for trial in range(chunk, TRIALS, CHUNKS):
        with counted("processes"):
            generator = random.Random(f"death {trial}")
            death = DEATHS[trial] if trial < len(DEATHS) else draw(generator)
            step = generator.choice([5, 10, 15, 25, 40])
            attempt(parent, alone, tmp_path / str(trial), death, step)


def attempt(parent, alone, out, death, step):
    """Kill or stop one process of a job at some step, and start the job again."""
    job = Job(parent, out, death.count, death.together)
    job.wait_for(f"none, seed 0: step {step}/{LAST}")
    victim = job.processes.pop(death.victim)
    victim.send(death.way)
    began = time.monotonic()
    ended = [process.end() for process in job.processes]
    seconds = time.monotonic() - began
    victim.send(signal.SIGKILL)
    assert victim.end().status == -signal.SIGKILL
    for survivor, process in zip(ended, job.processes, strict=True):
        assert survivor.status != 0, (death, survivor)
        assert "start all processes again" in last_words(process), (death, survivor)
    assert seconds <= HEARTBEAT + 5, death
    Job(parent, out, death.again, death.together).finish()
    found = results.read(run_folder(out)).data
    if death.together:  # to rounding, whatever the number of processes was
        np.testing.assert_allclose(found["train_loss"], alone["train_loss"], rtol=1e-5)
    else:
        np.testing.assert_array_equal(found["train_loss"], alone["train_loss"])
    assert_close(alone, found)


def last_words(process) -> str:
    """What a process said; a shell speaks for one that was aborted, a moment later."""
    end = time.monotonic() + min(5.0, LONGEST)
    while "again" not in process.said("stderr") and time.monotonic() < end:
        time.sleep(0.02)
    return process.said("stderr")
