"""Processes for trials: a study's command, started, killed, awaited."""

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[3]
LONGEST = 120.0  # seconds; a process that takes longer hangs


class Ended(NamedTuple):
    """How a process ended."""

    status: int  # exit status, or minus the signal
    seconds: float
    stdout: str
    stderr: str


class Process:
    """One process of a trial."""

    def __init__(self, nursery: "Nursery", pid: int, folder: Path) -> None:
        self.nursery, self.pid, self.folder = nursery, pid, folder
        self.started = time.monotonic()
        self.ended: Ended | None = None

    def wait(self, seconds: float = LONGEST) -> Ended | None:
        """How it ended, or None if it has not after so many seconds."""
        if self.ended is None:
            request = {"wait": self.pid, "seconds": max(0.0, seconds)}
            if (status := self.nursery.ask(request)["status"]) is not None:
                texts = (self.said(name) for name in ("stdout", "stderr"))
                self.ended = Ended(status, time.monotonic() - self.started, *texts)
        return self.ended

    def end(self) -> Ended:
        """How it ended, which it has to do by itself."""
        ended = self.wait()
        if ended is None:
            self.send(signal.SIGABRT)  # faulthandler shows where it hangs
            self.wait(10)
            raise AssertionError(f"still running after {LONGEST} s: {self.said('stderr')}")
        return ended

    def said(self, name: str) -> str:
        """What it wrote to `stdout` or `stderr` so far."""
        path = self.folder / name
        return path.read_text(errors="replace") if path.exists() else ""

    def send(self, number: int) -> None:
        """Send it a signal; until it has been waited for, its number is nobody else's."""
        if self.ended is None:
            os.kill(self.pid, number)

    def wait_until(self, condition: Callable[[], bool], seconds: float = LONGEST) -> Ended | None:
        """Watch for something closely; how it ended, if it ended before."""
        until = time.monotonic() + seconds
        while not condition():
            if (ended := self.wait(0)) is not None:
                return ended
            if time.monotonic() > until:
                raise AssertionError(f"not seen within {seconds} s: {self.said('stderr')}")
            time.sleep(0.001)
        return None


class Nursery:
    """A parent that has imported everything, of which each process of a trial is a fork."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self.folder = tempfile.TemporaryDirectory(prefix="bnjax-faults-")
        paths = [ROOT, ROOT / "tests" / "full", ROOT / "tests"]
        cleared = {k: v for k, v in os.environ.items() if not k.startswith(("JAX_", "BNJAX_"))}
        self.server = subprocess.Popen(
            [sys.executable, "-u", "-X", "faulthandler", "-m", "faults.server"],
            env={
                **cleared,
                "PYTHONPATH": os.pathsep.join(map(str, paths)),
                "OMP_NUM_THREADS": "1",
                "JAX_PLATFORMS": "cpu",
                **environment,
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=self.folder.name,
        )
        self.started = 0
        self.read()

    def read(self) -> dict[str, Any]:
        """The server's next answer."""
        line = self.server.stdout.readline()
        if not line:
            raise AssertionError(f"the server of processes ended: {self.server.wait()}")
        return json.loads(line)

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send a request and wait for its answer."""
        self.server.stdin.write(json.dumps(request) + "\n")
        self.server.stdin.flush()
        return self.read()

    def start(
        self,
        arguments: Sequence[str],
        faults: Mapping[str, Any] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> Process:
        """Start the study of the landscape with a command line, and faults in its way."""
        self.started += 1
        folder = Path(self.folder.name) / str(self.started)
        folder.mkdir()
        job = {
            "arguments": [str(argument) for argument in arguments],
            "faults": dict(faults or {}),
            "environment": dict(environment or {}),
            "folder": str(folder),
        }
        return Process(self, self.ask({"start": job})["pid"], folder)

    def run(self, arguments: Sequence[str], faults: Mapping[str, Any] | None = None) -> Ended:
        """Start a command and wait for its end."""
        return self.start(arguments, faults).end()

    def close(self) -> None:
        """End the parent, and what it still has."""
        self.server.stdin.close()
        self.server.wait()
        self.server.stdout.close()
        self.folder.cleanup()
