"""However a command is called and whatever its world is like, it ends with one line that helps."""

import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from bnjax.errors import RunError
from bnjax.frame import folder, processes

ROOT = Path(__file__).parents[2]
TOY = ["landscape", "--preset", "toy", "--norms", "batch", "--seeds", "1", "--steps", "2"]


def environment(**changes):
    own = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "BNJAX_CACHE"))}
    compiled = {"JAX_COMPILATION_CACHE_DIR": os.environ["JAX_COMPILATION_CACHE_DIR"]}
    return own | {"PYTHONPATH": str(ROOT), "JAX_PLATFORMS": "cpu"} | compiled | changes


def command(*words, shell="", **changes):
    """Run `bnjax` to its end, perhaps by the words of a shell; its status and error stream."""
    call = [sys.executable, "-m", "bnjax", *map(str, words)]
    call = ["bash", "-c", f'set -o pipefail; "$@" {shell}', "bash", *call] if shell else call
    done = subprocess.run(
        call,
        env=environment(**changes),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stderr


def the_line(error):
    """The only line that says what went wrong."""
    (line,) = [line for line in error.splitlines() if line.startswith("error: ")]
    assert error.count("\n") == 1, error
    assert "--debug shows" not in line
    return line


@pytest.mark.parametrize(
    ("shell", "what"),
    [
        (">&-", "standard output was lost on the way (it is closed): give a file"),
        ("> /dev/full", "standard output was lost on the way (No space left on device)"),
    ],
)
def test_a_list_that_nobody_gets_is_an_error(tmp_path, shell, what):
    status, error = command("list", tmp_path, shell=shell)
    assert status == 1
    assert what in the_line(error)


@pytest.mark.parametrize("shell", ["> /dev/full", ">&-"])
def test_a_run_goes_on_to_its_end_without_room_for_what_it_says(tmp_path, shell):
    status, error = command(*TOY, "--out", tmp_path, shell=shell)
    assert status == 1
    assert "standard output was lost on the way" in the_line(error)
    (run,) = (tmp_path / "landscape").iterdir()
    assert folder.verify(run).finished


def test_a_closed_error_stream_takes_no_file_of_the_run(tmp_path):
    status, error = command(*TOY, "--out", tmp_path, shell="2>&- <&-")
    assert (status, error) == (0, "")
    (run,) = (tmp_path / "landscape").iterdir()
    assert not folder.verify(run).damage


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("JAX_PLATFORMS", "cuda"),
        ("JAX_PLATFORMS", "banana"),
        ("JAX_DEFAULT_MATMUL_PRECISION", "banana"),
        ("JAX_DEFAULT_PRNG_IMPL", "banana"),
        ("JAX_ENABLE_X64", "banana"),
        ("JAX_NUM_CPU_DEVICES", "banana"),
    ],
)
def test_a_setting_of_jax_that_does_not_serve_is_named(tmp_path, name, value):
    status, error = command(*TOY, "--out", tmp_path / "runs", **{name: value})
    assert status == 1
    assert f"{name}={value} does not serve (" in the_line(error)
    assert "unset it, or change it" in error
    assert not (tmp_path / "runs").exists()


def test_a_backend_of_matplotlib_that_is_not_there_is_no_matter(tmp_path):
    assert command(*TOY, "--out", tmp_path, MPLBACKEND="banana") == (0, "")


def job(address, number=0):
    return {
        "JAX_COORDINATOR_ADDRESS": address,
        "JAX_NUM_PROCESSES": "2",
        "JAX_PROCESS_ID": str(number),
    }


@pytest.mark.parametrize("address", ["banana", "banana:port", "", ":", "localhost:99999"])
def test_an_address_of_a_coordinator_that_is_none_is_named(tmp_path, address):
    status, error = command(*TOY, "--distributed", "--out", tmp_path, **job(address, 1))
    assert status in (1, 2)
    assert f"JAX_COORDINATOR_ADDRESS={address}" in the_line(error)


def test_a_coordinator_that_does_not_answer_is_named():
    with socket.socket() as taken:
        taken.bind(("localhost", 0))
        port = taken.getsockname()[1]
        with pytest.raises(RunError, match=rf"JAX_COORDINATOR_ADDRESS=localhost:{port}: process 0"):
            processes.await_coordinator("localhost", port, 0.1)


@pytest.mark.parametrize("start", [["-m", "bnjax", *TOY], ["experiments/landscape.py", *TOY[1:]]])
def test_an_interrupt_while_it_loads_is_one_line(tmp_path, start):
    generator = random.Random(str(start))
    said = []
    for trial in range(8):
        process = subprocess.Popen(
            [sys.executable, *start, "--out", str(tmp_path / str(trial))],
            env=environment(),
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        time.sleep(generator.uniform(0.15, 1.5))
        process.send_signal(signal.SIGINT)
        error = process.communicate(timeout=60)[1]
        # Python itself was still starting: no program can answer then.
        if "init_import_site" not in error and process.returncode != -signal.SIGINT:
            said.append((process.returncode, error))
    assert len(said) > 4
    for status, error in said:
        assert status in (0, 130), said
        assert status == 0 or error.startswith("interrupted"), said
        assert error.count("\n") <= 1, said
