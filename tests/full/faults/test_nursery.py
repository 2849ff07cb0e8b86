"""Trials that are ended halfway leave no process behind."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from faults.nursery import ROOT
from faults.toy import COMMON, PERCEPTRON

STARTS = """
import sys
from faults.nursery import Nursery
nursery = Nursery({})
moment = {"phase": "start", "count": 1, "seconds": 300, "mark": sys.argv[1], "deaf": False}
process = nursery.start(sys.argv[2:], {"hooks": ["pause"], "moment": moment})
print(nursery.server.pid, process.pid, flush=True)
process.wait()
"""


def runs(pid: int) -> bool:
    """Whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


@pytest.mark.parametrize("killed", ["the tests", "the server"])
def test_when_the_tests_or_the_server_are_killed_the_others_end_by_themselves(tmp_path, killed):
    mark = tmp_path / "mark"
    call = [sys.executable, "-c", STARTS, mark, *PERCEPTRON, *COMMON, "--out", tmp_path / "out"]
    tests, full = ROOT / "tests", ROOT / "tests" / "full"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (ROOT, tests, full)))}
    with subprocess.Popen(call, env=environment, stdout=-1, text=True) as parent:
        server, child = map(int, parent.stdout.readline().split())
        until = time.monotonic() + 120
        while not mark.exists() and time.monotonic() < until:
            time.sleep(0.01)
        assert mark.exists()
        assert runs(server)
        assert runs(child)
        os.kill(parent.pid if killed == "the tests" else server, signal.SIGKILL)
        until = time.monotonic() + 30
        while (runs(server) or runs(child)) and time.monotonic() < until:
            time.sleep(0.01)
        left = [pid for pid in (server, child) if runs(pid)]
        for pid in (*left, parent.pid):
            os.kill(pid, signal.SIGKILL)
    assert not left
