"""Streams and terminals of all kinds: closed, left by their reader, ASCII, narrow."""

import json
import os
import pty
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bnjax.frame import folder

ROOT = Path(__file__).parents[2]
BNJAX = f"{sys.executable} -m bnjax"
TOY = "landscape --preset toy --seeds 1"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder with a finished run of seconds."""
    place = tmp_path_factory.mktemp("made")
    assert shell(f"{BNJAX} {TOY}", place).returncode == 0
    return place


def shell(command, place, **variables):
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **variables}
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command],
        capture_output=True, cwd=place, env=environment, timeout=300,
    )  # fmt: skip


def run_of(place):
    (run,) = (place / "runs" / "landscape").glob("[0-9a-f]" * 12)
    return run


@pytest.mark.parametrize("command", ["", "list", "--help", "landscape --help-all", f"{TOY}"])
def test_a_reader_that_leaves_is_no_error(made, command):
    done = shell(f"{BNJAX} {command} | head -1", made)
    assert (done.returncode, done.stderr) == (0, b"")
    assert done.stdout.count(b"\n") == 1


def test_a_run_goes_on_after_its_reader_has_left_and_without_any_stream(made, tmp_path):
    for number, (streams, status) in enumerate([("| true", 0), ("<&- >&- 2>&-", 1), ("2>&-", 0)]):
        place = tmp_path / str(number)
        place.mkdir()
        assert shell(f"{BNJAX} {TOY} {streams}", place).returncode == status
        run = run_of(place)
        assert folder.verify(run).damage == {}
        assert (run / folder.RESULTS).read_bytes() == (run_of(made) / folder.RESULTS).read_bytes()


def test_an_error_without_an_error_stream_is_its_status_and_spoils_no_output(made):
    done = shell(f"{BNJAX} landscape --lr 0 2>&-", made)
    assert (done.returncode, done.stdout) == (2, b"")
    assert json.loads(shell(f"{BNJAX} list --json 2>&-", made).stdout)[0]["state"] == "finished"


@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
def test_a_terminal_without_unicode_gets_letters_that_it_has(made, encoding):
    for command in ("", TOY, "landscape --help", "list"):
        done = shell(f"{BNJAX} {command}", made, PYTHONIOENCODING=encoding, PYTHONUTF8="0")
        assert (done.returncode, done.stderr) == (0, b"")
        assert done.stdout.decode(encoding)
    assert (
        b"beta-smoothness"
        in shell(f"{BNJAX} landscape --help", made, PYTHONIOENCODING="ascii").stdout
    )


def on_a_terminal(command, place, columns):
    """What a terminal of so many columns shows."""
    main, other = pty.openpty()
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "COLUMNS": str(columns), "TERM": "xterm"}
    process = subprocess.Popen(
        [*BNJAX.split(), *command.split()], stdout=other, stderr=other, cwd=place, env=environment
    )
    os.close(other)
    shown = b""
    while True:
        try:
            shown += os.read(main, 65536)
        except OSError:  # the process has ended
            break
    os.close(main)
    assert process.wait() == 0, shown
    return re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", shown.decode()).replace("\r", "")


@pytest.mark.parametrize("columns", [60, 140])
def test_names_and_verdicts_are_never_cut(made, columns):
    shown = on_a_terminal(TOY, made, columns)
    verdicts = folder.read_summary(run_of(made)).verdicts
    assert verdicts
    for verdict in verdicts:
        assert re.search(rf"(?<![\w-]){verdict['identifier']}: ", shown)
    if columns == 60:
        for verdict in verdicts:
            assert f"\n{verdict['identifier']}: {verdict['verdict']}\n" in shown
    shown = on_a_terminal("list", made, columns)
    run = run_of(made)
    assert run.name in shown
    assert "landscape" in shown
    assert "finished" in shown
    assert "…" not in shown
    widths = [len(line.rstrip()) for line in shown.splitlines()]
    assert max(widths) <= columns


@pytest.mark.parametrize("columns", [60, 140])
def test_the_list_of_what_there_is_fits(made, columns):
    shown = on_a_terminal("", made, columns)
    assert all(len(line.rstrip()) <= columns for line in shown.splitlines())
    assert re.search(r"^ +gradient_magnitudes +Mean", shown, re.MULTILINE)


def test_make_says_which_python_it_needs(tmp_path):
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sh", "make", "echo", "test", "touch", "date", "cut", "du"):
        if found := shutil.which(name):
            (tools / name).symlink_to(found)
    old = tools / "python3"
    old.write_text(
        "#!/bin/sh\n"
        '[ "$1" = --version ] && { echo Python 3.10.14; exit; }\n'
        f'exec {sys.executable} -c "import sys; sys.version_info = (3, 10, 14); '
        'exec(sys.argv[1])" "$2"\n'
    )
    old.chmod(0o755)
    (tools / "python3.10").symlink_to(old)
    for path in (*map(ROOT.joinpath, ("Makefile", "tools", "pyproject.toml")), *ROOT.glob("req*")):
        (tmp_path / path.name).symlink_to(path)
    environment = {"PATH": str(tools), "HOME": str(tmp_path)}
    for python in ((), ("PYTHON=python3.10",)):
        done = subprocess.run(
            [tools / "make", "landscape", *python],
            capture_output=True, text=True, cwd=tmp_path, env=environment, timeout=60,
        )  # fmt: skip
        assert done.returncode == 2
        (said, _) = done.stderr.splitlines() if done.stderr.count("\n") == 2 else (done.stdout, "")
        assert said.startswith("error: bnjax needs 3.11 or later, ")
        assert "is Python 3.10.14: " in said
        assert "make PYTHON=/path/to/python3.12 landscape" in said
        assert not (tmp_path / ".venv").exists()
