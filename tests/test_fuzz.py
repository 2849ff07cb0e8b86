"""Damaged folders, files and command lines: one line, never a traceback, a hang or a stray write.

Every trial damages a copy of real run folders in a way drawn from a seeded generator, and calls
what a person would call. Whatever is said fits a line, whatever lies outside the run folder stays,
and a command that ends well has the very results of a run that nothing touched.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import random
import shutil
import signal
import stat
import subprocess
import sys
import time
import typing
from pathlib import Path

import hostile
import jax.numpy as jnp
import lp_norms
import numpy as np
import pytest
from conftest import make_toy

from bnjax import data, training
from bnjax.errors import RunError, UsageError
from bnjax.runs import commands, console, disk, folder, published, resuming, results, seeded, verify
from bnjax.runs import experiment as frame
from bnjax.runs.arms import Arm, build
from bnjax.runs.partial import PartialConfig

TRIALS = {"ci": 100, "full": 1000}[os.environ.get("BNJAX_TRIALS", "ci")]
BLOCKS = 10  # of trials, one test each
SECONDS = 60  # a trial that takes longer hangs
ROOT = Path(__file__).parents[1]
TOY = ["--norms", "none", "batch", "--steps", "4", "--batch-size", "16", "--window", "1"]
LONGEST_LINE = 5000
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")


def draw(results, published, folder):
    """A figure that takes no time."""
    path = folder / "figure.png"
    with disk.replacing(path) as temporary:
        temporary.write_bytes(results.arrays["train.loss"].tobytes())
    return [path]


EXPERIMENT = lp_norms.EXPERIMENT._replace(draw=draw)


class Hangs(BaseException):
    """A trial took too long."""


@contextlib.contextmanager
def time_limit():
    def end(number, frame):
        raise Hangs

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def look(place: Path) -> dict[str, str]:
    """Everything below a place: kind, and what is in it."""
    return {
        path.relative_to(place).as_posix(): content(path)
        for path in (place, *place.rglob("*"))
        if ".locks" not in path.parts
    }


def content(path: Path) -> str:
    info = path.lstat()
    if stat.S_ISLNK(info.st_mode):
        return f"link {os.readlink(path)}"
    if not stat.S_ISREG(info.st_mode):
        return str(stat.S_IFMT(info.st_mode))
    if info.st_size > 2**24:  # sparse
        return f"{info.st_size} bytes"
    return hashlib.sha256(path.read_bytes()).hexdigest()


def said_well(captured, status: int, *, line_on: str = "err") -> None:
    """What was printed is for a person, and is one line where something is wrong."""
    for stream in (captured.out, captured.err):
        assert "Traceback" not in stream
        assert all(c.isprintable() for c in stream.replace("\n", "")), repr(stream)
        assert max(map(len, stream.split("\n"))) < LONGEST_LINE
    assert status in (0, 1, 2)
    errors = [line for line in captured.err.splitlines() if line.startswith("error: ")]
    rest = [line for line in captured.err.splitlines() if line not in errors]
    assert all(line.startswith("warning: ") for line in rest), captured.err
    if line_on == "err":
        assert len(errors) == (status != 0), captured.err
    assert "--debug shows" not in captured.err  # an error that nobody thought of


@pytest.fixture
def toy_runs(toy, monkeypatch):
    """Toy experiments that save at each step, found by `resume` too."""
    monkeypatch.setattr("bnjax.runs.arms.SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    resuming.find_experiment("lp_norms")
    monkeypatch.setattr(sys.modules["bnjax_experiment_lp_norms"], "EXPERIMENT", EXPERIMENT)


class Arena(typing.NamedTuple):
    """Where the untouched runs are, and what they should come to."""

    place: Path
    finished: str
    unfinished: str
    metrics: bytes
    arrays: dict[str, np.ndarray]


def stop_at(monkeypatch, count):
    """Send SIGTERM to this process at the `count`-th step from now."""
    advance = console.PlainDisplay.advance
    steps = iter(range(1, 1000))

    def stopping(self, *args):
        if next(steps) == count:
            os.kill(os.getpid(), signal.SIGTERM)
        advance(self, *args)

    monkeypatch.setattr(console.PlainDisplay, "advance", stopping)


LR = {"finished": "0.1", "unfinished": "0.2"}


@pytest.fixture(scope="module")
def arena(noise_dataset, tmp_path_factory):
    """A root of runs, one finished and one stopped in its second arm, and what lies beside it."""
    arena, whole = tmp_path_factory.mktemp("arena"), tmp_path_factory.mktemp("whole")
    (arena / "outside").mkdir()
    (arena / "outside" / "kept").write_text("kept")
    with pytest.MonkeyPatch.context() as patch:
        make_toy(patch, noise_dataset)
        patch.setattr("bnjax.runs.arms.SECONDS_BETWEEN_CHECKPOINTS", 0.0)
        last = ["--lr", LR["unfinished"], "--debug", "--out"]
        assert frame.main(EXPERIMENT, [*TOY, "--out", str(arena / "runs")]) == 0
        assert frame.main(EXPERIMENT, [*TOY, *last, str(whole)]) == 0
        stop_at(patch, 7)
        assert frame.main(EXPERIMENT, [*TOY, *last, str(arena / "runs")]) == 130
    (sound,) = whole.glob("lp_norms/*")
    (finished,) = (p for p in arena.glob("runs/lp_norms/*") if p.name != sound.name)
    shutil.copytree(finished, arena / "runs/spectrum" / finished.name)
    metrics = (sound / folder.METRICS).read_bytes()
    return Arena(arena, finished.name, sound.name, metrics, results.read(sound).arrays)


@pytest.mark.parametrize("block", range(BLOCKS))
def test_damaged_run_folders(arena, toy_runs, tmp_path, capsys, block):
    for trial in range(block, TRIALS, BLOCKS):
        generator = random.Random(f"folders {trial}")
        place = tmp_path / str(trial)
        shutil.copytree(arena.place, place)
        kind = generator.choice(["finished", "unfinished"])
        run = place / "runs/lp_norms" / getattr(arena, kind)
        done = [f"trial {trial} {kind}", *hostile.damage(generator, run, place)]
        with time_limit():
            only_looks(place, run, capsys, done)
            goes_on(arena, place, run, kind, generator, capsys, done)
        shutil.rmtree(place)


def only_looks(place, run, capsys, done):
    """`verify` and `list` say what they find, and change nothing."""
    before = look(place)
    for call in (["verify", str(run)], ["list", str(place / "runs")]):
        status = commands.main(call)
        captured = capsys.readouterr()
        said_well(captured, status, line_on="out" if status == 1 else "err")
        assert captured.out or captured.err, done
    assert commands.main(["list", "--json", str(place / "runs")]) == 0, done
    listed = {
        (entry["experiment"], entry["digest"]) for entry in json.loads(capsys.readouterr().out)
    }
    assert ("lp_norms", run.name) in listed, done
    assert look(place) == before, done


def goes_on(arena, place, run, kind, generator, capsys, done):
    """The same command, or `resume`, ends with what an untouched run has, or keeps what was there."""
    before = look(place)
    if by_folder := generator.random() < 0.3:
        status = commands.main(["resume", str(run)])
    else:
        status = frame.main(EXPERIMENT, [*TOY, "--lr", LR[kind], "--out", str(place / "runs")])
    captured = capsys.readouterr()
    done = [*done, f"resume={by_folder} status={status}", captured.err]
    print(done)
    said_well(captured, status)
    after = look(place)
    inside = f"runs/lp_norms/{run.name}"

    def beside(seen):
        return {name: what for name, what in seen.items() if not name.startswith(inside)}

    assert beside(after) == beside(before), done
    if status == 0:
        found = results.read(run)
        if kind == "unfinished":
            assert (run / folder.METRICS).read_bytes() == arena.metrics, done
            for name, values in arena.arrays.items():
                np.testing.assert_array_equal(found.arrays[name], values, err_msg=str(done))
        # Checkpoints that a run does not need to go on from are not looked at.
        damage = verify.verify(run).damage
        assert all("checkpoints" in name.parts for name in damage), (done, damage)
    else:
        gone = {what for name, what in before.items() if not replaced(name, after)} - {
            *after.values()
        }
        assert not gone, done


def replaced(name: str, after: dict[str, str]) -> bool:
    """Whether a file was of a checkpoint that two newer ones have taken the place of."""
    parts = name.split("/")
    if "checkpoints" not in parts or len(parts) < 6 or not parts[5].isdigit():
        return False
    unit = "/".join(parts[:5])
    newer = {
        other.removeprefix(unit).split("/")[1] for other in after if other.startswith(f"{unit}/")
    }
    return len([step for step in newer if step.isdigit() and int(step) > int(parts[5])]) >= 2
