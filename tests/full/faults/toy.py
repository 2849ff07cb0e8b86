"""The run that all trials break: seconds long, with all that a real one has."""

import fnmatch
import json
import os
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from bnjax.frame import checkpoints
from bnjax.frame.folder import SESSIONS
from faults.nursery import Ended, Nursery, Process

STEPS = 20
COMMON = (
    f"--steps {STEPS} --batch-size 16 --probe-every 4 --evaluate-every 8 --points 2 "
    "--optimizer momentum --dropout 0.2 --checkpoint-steps 4"
).split()
PERCEPTRON = ["--model", "mlp", "--depth", "2", "--width", "0.1", "--dataset", "binary_digits"]
HOOKS: dict[str, Any] = {"hooks": ["small_figure"]}


class Toy:
    """A command, and what it leaves if nothing goes wrong."""

    def __init__(self, nursery: Nursery, arguments: Sequence[str], place: Path) -> None:
        self.nursery, self.arguments, self.place = nursery, tuple(arguments), place
        self.run(place / "first")  # compiles
        self.life = self.run(place / "reference").seconds
        self.reference = outcome(place / "reference")
        self.entries = entries(place / "reference")
        assert_same_outcome(outcome(place / "first"), self.reference)

    def start(
        self, out: Path, faults: dict[str, Any] | None = None, more: Sequence[str] = ()
    ) -> Process:
        """Start the command, with faults in its way."""
        arguments = [*self.arguments, *more, "--out", out]
        return self.nursery.start(arguments, {**HOOKS, **(faults or {})})

    def run(
        self, out: Path, faults: dict[str, Any] | None = None, more: Sequence[str] = ()
    ) -> Ended:
        """The command to its end, which has to be a good one."""
        ended = self.start(out, faults, more).end()
        assert ended.status == 0, ended
        return ended

    def finish(self, out: Path, more: Sequence[str] = ()) -> None:
        """The same command again ends with the results of an unbroken run, and nothing else."""
        self.run(out, more=more)
        self.check(out)

    def check(self, out: Path) -> None:
        """What a run left is what an unbroken one leaves, bit for bit."""
        assert_same_outcome(outcome(out), self.reference)
        foreign = set(entries(out)) ^ set(self.entries)
        assert not foreign, f"missing or left over: {sorted(foreign)}"


def find(root: Path, pattern: str) -> Iterator[Path]:
    """What has such a name below a folder, where others come and go on the way.

    `Path.rglob` of Python 3.11 ends with an error at a folder that has gone.
    """
    for folder, folders, names in os.walk(root):
        yield from (Path(folder, name) for name in fnmatch.filter([*folders, *names], pattern))


class Outcome(NamedTuple):
    """All that a run measured and kept."""

    files: dict[str, bytes]
    states: dict[str, Any]  # the arrays of each job's last checkpoint, by their digests


def files(out: Path) -> dict[str, bytes]:
    """The files of the one run below a root that have their final names, checkpoints aside.

    Nor what says how long the run took, which is never twice the same.
    """
    return {
        path.name: path.read_bytes()
        for path in run_folder(out).iterdir()
        if path.is_file() and not path.name.startswith(".") and path.name != SESSIONS
    }


def outcome(out: Path) -> Outcome:
    """What a finished run left, verified."""
    run = run_folder(out)
    files = {name: (run / name).read_bytes() for name in ("results.nc", "metrics.jsonl")}
    summary = json.loads((run / "summary.json").read_bytes())
    files["verdicts"] = json.dumps(summary["verdicts"]).encode()
    states = {job.name: last_arrays(run, job) for job in (run / "checkpoints").iterdir()}
    assert (run / "landscape.png").read_bytes().endswith(b"IEND\xaeB`\x82")
    assert (run / "landscape.pdf").read_bytes().rstrip().endswith(b"%%EOF")
    assert json.loads((run / "config.json").read_bytes())
    return Outcome(files, states)


def assert_same_outcome(found: Outcome, expected: Outcome) -> None:
    """Bit for bit the same."""
    for name, content in expected.files.items():
        assert found.files[name] == content, f"{name} differs"
    assert found.states == expected.states


def run_folder(out: Path) -> Path:
    """The one run below a root."""
    (run,) = (out / "landscape").iterdir()
    return run


def last_arrays(run: Path, job: Path) -> dict[str, Any]:
    """Digests of the arrays of a job's newest checkpoint."""
    return checkpoints.read_manifest(job / str(newest(run, job))).arrays


def newest(run: Path, job: Path) -> int:
    """The newest step of a job; every step that has its name has to be sound."""
    steps = [int(path.name) for path in job.iterdir() if not path.name.startswith(".")]
    for step in steps:
        damage = checkpoints.find_damage(job / str(step), f"{run.name}/{job.name}")
        assert not damage, f"{job / str(step)}: {damage}"
    return max(steps, default=0)


def progress(out: Path) -> dict[str, int]:
    """The newest sound step of each job, wherever a run was broken off."""
    place = out / "landscape"
    runs = list(place.iterdir()) if place.is_dir() else []
    jobs = [
        (run, job)
        for run in runs
        if (run / "checkpoints").is_dir()
        for job in (run / "checkpoints").iterdir()
    ]
    return {job.name: newest(run, job) for run, job in jobs}


def assert_not_worse(now: dict[str, int], before: dict[str, int]) -> None:
    """No job has lost a step that had been saved."""
    assert all(now.get(job, 0) >= step for job, step in before.items()), (before, now)


def entries(out: Path) -> list[str]:
    """All names below a root, those of checkpoints but the last left out."""
    found = []
    for path in sorted(out.rglob("*")):
        if path.name == SESSIONS:
            continue
        parts = path.relative_to(out).parts
        if "checkpoints" in parts[2:3] and len(parts) > 4:
            if not parts[4].isdigit():
                found.append("/".join(parts))
            continue
        found.append("/".join(parts))
    return found


def copy(source: Path, target: Path) -> Path:
    """A copy of a root with all runs in it."""
    shutil.rmtree(target, ignore_errors=True)
    return Path(shutil.copytree(source, target))
