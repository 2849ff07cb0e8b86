"""Real processes as one job: the numbers of one, and signals; deaths: faults/test_deaths.py."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
from test_devices import TESTS, assert_close, describe_call, several_devices

from bnjax.frame import results

HEARTBEAT = 10  # seconds
LAST = 50  # steps
STEPS = f"--steps {LAST} --checkpoint-steps 3 --heartbeat-seconds {HEARTBEAT}".split()
LIMIT = 240  # seconds, for everything that waits


class Ended(NamedTuple):
    """How a process of a job ended."""

    status: int
    said: str
    seconds: float  # after the moment that is measured from


class Job:
    """Processes on this machine, one CPU device each, that find each other by a free port."""

    def __init__(self, place: Path, count: int, command: list[str], **more: Sequence[str]) -> None:
        with socket.socket() as free:
            free.bind(("localhost", 0))
            address = f"localhost:{free.getsockname()[1]}"
        self.processes = []
        for number in range(count):
            env = several_devices(1) | {
                "JAX_COORDINATOR_ADDRESS": address,
                "JAX_NUM_PROCESSES": str(count),
                "JAX_PROCESS_ID": str(number),
                **{name: values[number] for name, values in more.items()},
            }
            if count > 1:
                env["JAX_CPU_COLLECTIVES_IMPLEMENTATION"] = "gloo"
            # A file, not a pipe: nobody reads it on the way, and a process must not wait for that.
            log = open(place.parent / f"{place.name}.{number}.log", "w+")  # noqa: SIM115
            started = subprocess.Popen(command, env=env, stdout=log, stderr=subprocess.STDOUT)
            self.processes.append((started, log))

    def wait_for(self, text: str, number: int = 0) -> None:
        """Wait until a process has said something."""
        process, log = self.processes[number]
        end = time.monotonic() + LIMIT
        while text not in Path(log.name).read_text():
            assert process.poll() is None, Path(log.name).read_text()
            assert time.monotonic() < end, Path(log.name).read_text()
            time.sleep(0.02)

    def send(self, number: int, which: signal.Signals) -> None:
        """A signal to one process."""
        self.processes[number][0].send_signal(which)

    def end(self, limit: float = LIMIT) -> list[Ended]:
        """Wait for all processes; those that hang are killed, and the test fails."""
        started, ended = time.monotonic(), []
        try:
            for process, log in self.processes:
                status = process.wait(max(0.1, limit - (time.monotonic() - started)))
                seconds = time.monotonic() - started
                ended.append(Ended(status, last_words(Path(log.name), status), seconds))
        finally:
            for process, log in self.processes:
                process.kill()
                process.wait()
                log.close()
        return ended


def last_words(log: Path, status: int) -> str:
    """What a process said; a shell speaks for one that was aborted, a moment later."""
    end = time.monotonic() + 5
    while status not in (0, 130) and "again" not in log.read_text() and time.monotonic() < end:
        time.sleep(0.02)
    return log.read_text()


@pytest.fixture(scope="module")
def toy_job(tmp_path_factory):
    """Start a toy run of several processes; all share their compiled programs."""
    cache = str(tmp_path_factory.mktemp("compiled"))

    def start(out: Path, count: int, *options: str, trouble=("", ""), **environment) -> Job:
        distributed = ["--distributed"] if count > 1 else []
        call = describe_call(out, ["landscape"], STEPS, [[*distributed, *options]])
        command = [sys.executable, str(TESTS / "device_layouts.py"), call]
        trouble = (*trouble, *[""] * count)
        more = {"BNJAX_TESTS_CACHE": [cache] * count, "BNJAX_TESTS_TROUBLE": trouble}
        return Job(out, count, command, **more, **environment)

    return start


@pytest.fixture(scope="module")
def alone(tmp_path_factory, toy_job):
    """The results of one process with one device."""
    out = tmp_path_factory.mktemp("alone") / "out"
    (ended,) = toy_job(out, 1).end()
    assert ended.status == 0, ended.said
    return read(out)


def read(out):
    return results.read(next((out / "0" / "landscape").iterdir())).data


def assert_ended_well(ended):
    for process in ended:
        assert process.status == 0, process.said


def assert_saved(ended):
    for process in ended:
        assert process.status == 130, process.said
        assert "everything is saved" in process.said


def assert_same(found, expected):
    for name in expected:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=name)


@pytest.mark.parametrize("count", [2, 4])
def test_processes_in_step_give_the_numbers_of_one(tmp_path, toy_job, alone, count):
    assert_ended_well(toy_job(tmp_path / "out", count, "--data-devices", str(count)).end())
    found = read(tmp_path / "out")
    first = (found["train_loss"] - alone["train_loss"])[..., 0]
    assert np.abs(first).max() < 1e-6
    np.testing.assert_allclose(found["train_loss"], alone["train_loss"], rtol=1e-5)
    assert (found["train_loss"] != alone["train_loss"]).any()  # the batch was divided


def test_jobs_spread_over_processes_give_the_bits_of_one(tmp_path, toy_job, alone):
    ended = toy_job(tmp_path / "out", 2).end()
    assert_ended_well(ended)
    said = [process.said for process in ended]
    assert "none, seed 0: step" in said[0]
    assert "batch, seed 0: step" in said[1]
    assert "batch, seed 0: step" not in said[0]
    assert_same(read(tmp_path / "out"), alone)


@pytest.mark.parametrize("which", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_one_process_has_all_save_and_leave(tmp_path, toy_job, alone, which):
    job = toy_job(tmp_path / "out", 2, "--data-devices", "2")
    job.wait_for(f"none, seed 0: step 10/{LAST}")
    job.send(1, which)
    ended = job.end(60)
    assert_saved(ended)
    assert max(process.seconds for process in ended) <= 10
    assert_ended_well(toy_job(tmp_path / "out", 2, "--data-devices", "2").end())
    assert_close(alone, read(tmp_path / "out"))


def test_processes_with_jobs_of_their_own_wait_for_each_other_when_all_are_to_stop(
    tmp_path, toy_job, alone
):
    """Left by process 0 first, the others would be ended before they have saved."""
    job = toy_job(tmp_path / "out", 2, trouble=("slow", "slow"))
    for number, arm in enumerate(("none", "batch")):
        job.wait_for(f"{arm}, seed 0: step 5/{LAST}", number)
    job.send(0, signal.SIGTERM)
    time.sleep(1)
    job.send(1, signal.SIGTERM)
    assert_saved(job.end(60))
    assert_ended_well(toy_job(tmp_path / "out", 2).end())
    assert_same(read(tmp_path / "out"), alone)


@pytest.mark.parametrize(
    ("again", "expected", "limit"),
    [(False, "no step ended within 8 s", 10), (True, "interrupted at once", 1)],
)
def test_a_job_that_is_stuck_leaves_after_the_grace_or_at_a_second_signal(
    tmp_path, toy_job, again, expected, limit
):
    job = toy_job(tmp_path / "out", 2, "--data-devices", "2", trouble=("", "stuck"))
    job.wait_for("stuck", 1)
    job.send(1, signal.SIGTERM)
    if again:
        time.sleep(0.5)
        job.send(1, signal.SIGTERM)
    sent = time.monotonic()
    status = job.processes[1][0].wait(60)
    seconds = time.monotonic() - sent
    first, second = job.end(60)
    assert status == second.status == 130, second.said
    assert expected in second.said
    assert seconds <= limit
    assert first.status not in (0, 130)
    assert "start all processes again" in first.said


PARTS = """
import sys, time
from bnjax.errors import RunError
from bnjax.frame import processes

def part():
    for _ in range(30 if processes.jax.process_index() else 0):
        time.sleep(0.1)
        watch.move()
    if processes.jax.process_index() == int(sys.argv[1]):
        raise RunError("its part failed")
    print("its part is done", flush=True)

processes.join(10)
processes.HEARTBEATS_TO_STALL = 0.1
try:
    with processes.watched(10) as watch:
        processes.all_do(part, watch)
except RunError as error:
    print(error, flush=True)
    processes.leave(1)
processes.leave(0)
"""


@pytest.mark.parametrize("failing", [-1, 0, 1])
def test_whoever_is_done_or_has_failed_waits_for_the_others(tmp_path, failing):
    """Three seconds, three times what the watch allows a process that works."""
    job = Job(tmp_path / "parts", 2, [sys.executable, "-c", PARTS, str(failing)])
    for number, process in enumerate(job.end()):
        expected = "its part failed" if number == failing else "its part is done"
        assert expected in process.said
        assert process.status == (failing >= 0), process.said
        named = f"process {failing} did not end its part"
        assert failing in (-1, number) or named in process.said


STUCK = """
import threading
from bnjax.frame import processes
processes.Watch(0.2).run(threading.Event())
"""


def test_a_job_in_which_nothing_moves_ends_itself():
    done = subprocess.run(
        [sys.executable, "-c", STUCK], env=dict(os.environ), capture_output=True, timeout=60
    )
    assert done.returncode == 1
    assert b"nothing has moved" in done.stderr


def test_processes_that_would_not_compute_the_same_numbers_begin_nothing(tmp_path, toy_job):
    ended = toy_job(tmp_path / "runs", 2, JAX_RANDOM_SEED_OFFSET=("0", "1")).end()
    assert all(one.status != 0 for one in ended)
    assert "process 1 has not what process 0 has (jax_random_seed_offset)" in ended[1].said
    assert not list((tmp_path / "runs").glob("landscape/*"))


def test_without_a_job_distributed_is_a_wrong_call(tmp_path):
    env = {name: value for name, value in several_devices(1).items() if "JAX_C" not in name}
    call = describe_call(tmp_path / "out", ["landscape"], [], [["--distributed"]])
    done = subprocess.run(
        [sys.executable, str(TESTS / "device_layouts.py"), call],
        env=env,
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 2, done.stderr
    assert done.stderr.count("\n") == 1
    assert "set JAX_COORDINATOR_ADDRESS" in done.stderr
    assert not (tmp_path / "out").exists()
