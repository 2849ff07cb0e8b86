"""Run the full column of trials, all or some promises, and keep the table of how they went.

python tests/full/faults/run_all.py              # all of them: hours
python tests/full/faults/run_all.py kill disk    # these; the other rows stay as they are
"""

import importlib.metadata
import json
import os
import platform
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import NamedTuple

sys.path.extend(map(str, Path(__file__).parents[1:3]))  # tests/full and tests
import record

from faults.trials import PROMISED

RESULTS = record.ROOT / "tests" / "RESULTS.md"
PACKAGES = ("jax", "jaxlib", "numpy")


class Part(NamedTuple):
    """A promise, and the tests that try it."""

    promise: str
    tests: tuple[str, ...]
    workers: int = 2  # one where the promise is a time


PARTS = {
    "kill": Part(
        "`kill -9` at random moments, same command: bit for bit an unbroken run",
        ("tests/full/faults/test_kill.py",),
    ),
    "points": Part(
        "a kill before every opening, rename, removal and fsync of saves and publishing that "
        "Python does, and at each of them EIO, ENOSPC, or from there on writes that fall short, "
        "one of the three in turn: never worse than the checkpoint before, and the run goes on",
        ("tests/full/faults/test_points.py",),
    ),
    "damage": Part(
        "damaged checkpoint: found, said, set aside, the one before restored",
        ("tests/test_checkpoints.py",),
    ),
    "locks": Part(
        "two to eight processes on one run: one wins, the others, once they have imported JAX, "
        "name it in < 2 s of a core's time each; a dead one's lock is taken over",
        ("tests/full/faults/test_locks.py", "tests/test_lock.py"),
        workers=1,
    ),
    "signals": Part(
        "SIGTERM and SIGINT in each phase: saved and gone in ≤ 10 s, a second one at once; same "
        "command: bit for bit an unbroken run",
        ("tests/full/faults/test_signals.py",),
        workers=1,
    ),
    "disk": Part(
        "disk full, out of files, read-only, well again: nothing lost, no stale error",
        ("tests/full/faults/test_disk.py",),
    ),
    "resume": Part(
        "resume from every step of 20: bit for bit an unbroken run",
        ("tests/full/faults/test_resume.py",),
    ),
    "memory": Part(
        "NaN and out of memory: what was measured kept, the others finish, points halved and said",
        ("tests/full/faults/test_memory.py",),
    ),
    "inputs": Part(
        "command lines, run folders, archives and tables that are damaged or hostile: one line, "
        "nothing written elsewhere",
        ("tests/full/test_calls.py", "tests/full/test_fuzz.py"),
    ),
    "layouts": Part(
        "saved on 1, 2, 4, 8 devices, restored on each: every bit; 8 devices give the numbers of 1",
        ("tests/full/test_devices.py",),
        workers=1,
    ),
    "processes": Part(
        "a process of a job dies: the others are gone within heartbeat + 5 s with a line, and the "
        "job goes on, also with another number of processes",
        ("tests/full/faults/test_deaths.py",),
    ),
    "power": Part(
        "power fails after any operation of the writer, and of the changes since the last fsync "
        "any are missing: the last published checkpoint or the one before, no damage",
        ("tests/full/faults/test_power.py",),
    ),
    "mixing": Part(
        "a run is broken off and one thing changed (data, code, settings, versions, what a plugin "
        "imports, the working folder, the home): the same command refuses, says what differs, or "
        "ends bit for bit as an unbroken run",
        ("tests/full/faults/test_mixing.py",),
    ),
    "drawing": Part(
        "every figure drawn, every claim judged and the page made from arrays of zeros, NaN, "
        "infinities, one step, one arm, a diverged arm and the like: arrays kept, nothing fails",
        ("tests/full/test_odd_arrays.py",),
    ),
    "soak": Part(
        "soak, seconds: memory ≤ 64 MB above warm, handles and threads flat but while a "
        "checkpoint is written, one compilation",
        ("tests/full/faults/test_soak.py",),
    ),
}
HEAD = """# What the full column of trials found

Written by `make test-all` and its parts (`make test-kill` and so on), each of which writes its own
row. A trial is one fault, or one second of a soak. What was tried by hand: [attempts](ATTEMPTS.md).

| part | promise | trials | failed | seconds | date | on |
|---|---|---|---|---|---|---|
"""


def run(name: str) -> tuple[str, bool]:
    """Try one promise; its row of the table, and whether it held."""
    part = PARTS[name]
    with tempfile.TemporaryDirectory(prefix="bnjax-trials-") as place:
        log = Path(place) / "log"
        started = time.monotonic()
        status = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-m", "", "-n", str(part.workers), *part.tests],
            env={**os.environ, "BNJAX_TRIALS": "full", "BNJAX_TRIALS_LOG": str(log)},
            cwd=record.ROOT,
            check=False,
        ).returncode
        seconds = time.monotonic() - started
        lines = log.read_text().splitlines() if log.exists() else []
    tried = Counter[str]()
    for line in map(json.loads, lines):
        tried.update(
            {key: line[key] for key in ("trials", "failed")} if line["promise"] == name else {}
        )
    held = status == 0 and tried["trials"] >= PROMISED[name].full
    failed = tried["failed"] if held or tried["failed"] else "not run to its end"
    row = f"| {name} | {part.promise} | {tried['trials']:,} | {failed} | {seconds:,.0f} "
    return f"{row}| {record.today()} | {machine()} |", held


def machine() -> str:
    """Versions, machine and commit, in one line."""
    versions = [f"{package} {importlib.metadata.version(package)}" for package in PACKAGES]
    python = f"Python {platform.python_version()}"
    return ", ".join([python, *versions, record.hardware(), record.commit()])


def main(names: list[str]) -> int:
    """Try the promises of these names, or all; the exit status."""
    if unknown := [name for name in names if name not in PARTS]:
        print(f"error: {' '.join(unknown)}: must be of {' '.join(PARTS)}", file=sys.stderr)
        return 2
    failed = []
    for name in names or PARTS:
        row, held = run(name)
        record.renew(RESULTS, HEAD, tuple(PARTS), name, row)
        print(row, flush=True)
        failed += [] if held else [name]
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
