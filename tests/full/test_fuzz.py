"""Damaged folders, files and command lines: one line, never a traceback, a hang or a stray write.

Every trial damages a copy of real run folders in a way drawn from a seeded generator, and calls
what a person would call. Whatever is said fits a line, whatever lies outside the run folder stays,
and a command that ends well has the very results of a run that nothing touched.
"""

import contextlib
import json
import os
import random
import shutil
import subprocess
import sys
import typing
from pathlib import Path

import hostile
import jax
import numpy as np
import pytest
from conftest import SECONDS, make_toy, time_limit
from faults.trials import counted, number
from toy_runs import STUDY, TOY, look, stop_at

from bnjax.commands import command_line, program
from bnjax.data.dataset import from_arrays
from bnjax.errors import RunError, UsageError
from bnjax.frame import files, folder, published_curves, results
from bnjax.frame.arm import arm_values, build_program, first_state, make_arm
from bnjax.studies import batchnorm_only
from bnjax.studies.batchnorm_only import trained_network

TRIALS = number("inputs")
BLOCKS = 10  # of trials, one test each
ROOT = Path(__file__).parents[2]
LONGEST_LINE = 5000


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


class Arena(typing.NamedTuple):
    """Where the untouched runs are, and what they should come to."""

    place: Path
    finished: str
    unfinished: str
    metrics: bytes
    results: results.Run


LR = {"finished": "0.1", "unfinished": "0.2"}


@pytest.fixture(scope="module")
def arena(noise_dataset, tmp_path_factory):
    """A root of runs, one finished and one stopped in its second arm, and what lies beside it."""
    arena, whole = tmp_path_factory.mktemp("arena"), tmp_path_factory.mktemp("whole")
    (arena / "outside").mkdir()
    (arena / "outside" / "kept").write_text("kept")
    with pytest.MonkeyPatch.context() as patch:
        make_toy(patch, noise_dataset)
        last = ["--lr", LR["unfinished"], "--debug", "--out"]
        assert command_line.main(STUDY, [*TOY, "--out", str(arena / "runs")]) == 0
        assert command_line.main(STUDY, [*TOY, *last, str(whole)]) == 0
        stop_at(patch, 7)
        assert command_line.main(STUDY, [*TOY, *last, str(arena / "runs")]) == 130
    (sound,) = whole.glob("lp_norms/*")
    (finished,) = (p for p in arena.glob("runs/lp_norms/*") if p.name != sound.name)
    shutil.copytree(finished, arena / "runs/spectrum" / finished.name)
    metrics = (sound / folder.METRICS).read_bytes()
    return Arena(arena, finished.name, sound.name, metrics, results.read(sound))


@pytest.mark.parametrize("block", range(BLOCKS))
@counted("inputs", TRIALS // BLOCKS)
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
        status = program.main(call)
        captured = capsys.readouterr()
        said_well(captured, status, line_on="out" if status == 1 else "err")
        assert captured.out or captured.err, done
    assert program.main(["list", "--json", str(place / "runs")]) == 0, done
    listed = {(entry["study"], entry["digest"]) for entry in json.loads(capsys.readouterr().out)}
    assert ("lp_norms", run.name) in listed, done
    assert look(place) == before, done


def goes_on(arena, place, run, kind, generator, capsys, done):
    """The same command, or `resume`, ends as an untouched run does, or keeps what was there."""
    before = look(place)
    if by_folder := generator.random() < 0.3:
        status = program.main(["resume", str(run)])
    else:
        status = command_line.main(STUDY, [*TOY, "--lr", LR[kind], "--out", str(place / "runs")])
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
            assert found.data.identical(arena.results.data), done
        # Checkpoints that a run does not need to go on from are not looked at.
        damage = folder.verify(run).damage
        assert all("checkpoints" in name.parts for name in damage), (done, damage)
    else:
        kept = {*after.values()}
        gone = {what for name, what in before.items() if not replaced(name, after)} - kept
        assert not gone, done


def replaced(name: str, after: dict[str, str]) -> bool:
    """Whether a file was of a checkpoint that two newer ones have taken the place of."""
    parts = name.split("/")
    if "checkpoints" not in parts or len(parts) < 6 or not parts[5].isdigit():
        return False
    unit = "/".join(parts[:5]) + "/"
    beside = {other.removeprefix(unit).split("/")[0] for other in after if other.startswith(unit)}
    return sum(step.isdigit() and int(step) > int(parts[5]) for step in beside) >= 2


@counted("inputs", TRIALS)
def test_damaged_archives(arena, tmp_path):
    """Results are read, and networks rebuilt, as they were written or not at all."""
    network = write_network(tmp_path / "network.npz")
    run = arena.place / "runs/lp_norms" / arena.finished
    for trial in range(TRIALS):
        generator = random.Random(f"archives {trial}")
        place = tmp_path / str(trial) / "runs" / run.parent.name / run.name
        place.mkdir(parents=True)
        for name in (folder.CONFIG, folder.RESULTS):
            shutil.copyfile(run / name, place / name)
        shutil.copyfile(network, place / "network.npz")
        act = generator.choice([*hostile.FILE_DAMAGE, hostile.rewrite_archive])
        with time_limit():
            (hostile.flip if act is hostile.rewrite_archive else act)(
                generator, place / folder.RESULTS, arena.place
            )
            with contextlib.suppress(RunError):
                found = results.read(place)
                assert isinstance(found.options, dict), (trial, act)
                assert isinstance(found.facts, dict), (trial, act)
            act(generator, place / "network.npz", arena.place)
            with contextlib.suppress(RunError, UsageError):
                trained_network.rebuild(place / "network.npz")
                assert act in HARMLESS, (trial, act)
        shutil.rmtree(tmp_path / str(trial))


# What a network's file may survive: bits in what zip does not look at, another time of day, an
# array more.
HARMLESS = (hostile.flip, hostile.extend, hostile.rewrite_archive, hostile.truncate)


def write_network(path: Path) -> Path:
    """The file of a small network of which γ and β were trained."""
    options = batchnorm_only.Options(trained=("bn",), depths=(8,), width=0.125, batch_size=2)
    split = (np.zeros((4, 8, 8, 3), np.uint8), np.arange(4))
    dataset = from_arrays("noise", 10, split, split, "noise")
    with jax.numpy_dtype_promotion("standard"):
        arm = make_arm(batchnorm_only.STUDY, options, dataset, arm_values(options)[0], 0)
        program = build_program(arm)
        state, _ = first_state(arm, arm.optimizer, program.batch, arm.key("data"))
        files.write_npz(path, batchnorm_only.STUDY.part("keep")(arm, state))
    return path


CELLS = ["0", "-1", "1e309", "nan", "", "x", "0x10", "1_0", "é", "\x1b[31m", '"', "'", "9" * 5000]
TABLES = [b"", b"\xff\xfe", b"\x00" * 50, b"panel,series\n", b"\n" * 1000, b'"' * 999, b"," * 10**5]


@counted("inputs", TRIALS)
def test_damaged_tables(tmp_path):
    """A CSV is read to finite numbers, or refused in a line."""
    path = tmp_path / "curves.csv"
    for trial in range(TRIALS):
        generator = random.Random(f"tables {trial}")
        rows = [[*map(str, published_curves.COLUMNS)]]
        rows += [["p", "standard", str(step), "1", "2"] for step in range(5)]
        for _ in range(generator.randrange(4)):
            row = generator.choice(rows)
            row[generator.randrange(len(row))] = generator.choice(CELLS)
        if generator.random() < 0.2:
            generator.choice(rows).append("more")
        text = generator.choice(["\n", "\r", "\r\n"]).join(",".join(row) for row in rows)
        content = text.encode() if generator.random() < 0.7 else generator.choice(TABLES)
        path.write_bytes(content)
        if generator.random() < 0.5:
            hostile.flip(generator, path, tmp_path)
        with time_limit(), contextlib.suppress(UsageError):
            for curve in published_curves.read_published(path).values():
                assert np.isfinite(curve).all()


def test_what_is_no_plain_file_is_no_table_and_no_plugin(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe")
    Path("big").touch()
    os.truncate("big", 2**40)
    for path in ("/dev/zero", "/dev/tty", "/proc/self/mem", "/", "", "pipe", "big"):
        for option in ("--published", "--plugins"):
            with time_limit():
                assert command_line.main(STUDY, [*TOY, option, path, "--out", "runs"]) in (1, 2)
            captured = capsys.readouterr()
            assert captured.err.count("\n") == 1, path
            said_well(captured, 2)
    assert not Path("runs").exists()


@counted("inputs", max(3, TRIALS // 50))
def test_damage_in_real_processes(arena, tmp_path):
    """The same, as a person would: no test's own way of catching things is in between."""
    for trial in range(max(3, TRIALS // 50)):
        generator = random.Random(f"processes {trial}")
        place = tmp_path / str(trial)
        shutil.copytree(arena.place, place)
        run = place / "runs/lp_norms" / arena.finished
        done = hostile.damage(generator, run, place)
        before = look(place)
        for call in (["verify", str(run)], ["list", str(place / "runs")]):
            command = [sys.executable, "-m", "bnjax", *call]
            ended = subprocess.run(
                command, capture_output=True, text=True, timeout=SECONDS, cwd=ROOT
            )
            assert ended.returncode in (0, 1), (done, ended.stderr)
            assert ended.stderr.count("\n") <= 1, done
            assert "Traceback" not in ended.stdout + ended.stderr, done
        assert look(place) == before, done
