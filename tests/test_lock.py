"""One process for a run folder: real processes, killed and alive."""

import contextlib
import errno
import fcntl
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading

import pytest

from bnjax.errors import RunError
from bnjax.frame.folder import hold

HOLDER = """
import errno, fcntl, sys, time
from pathlib import Path
from bnjax.frame.folder import hold, staying
def missing(*_): raise OSError(errno.ENOSYS, "Function not implemented")
if sys.argv[2:]: fcntl.flock = missing
with hold(Path(sys.argv[1])):
    Path(sys.argv[1]).mkdir(parents=True, exist_ok=True)
    with staying(Path(sys.argv[1])):
        print("held", flush=True)
        time.sleep(60)
"""


@contextlib.contextmanager
def holding(root, *words):
    """Another process that holds the lock of `root/runs/x/digest`."""
    folder = root / "runs" / "x" / "digest"
    command = [sys.executable, "-W", "error", "-c", HOLDER, str(folder), *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    try:
        assert process.stdout.readline() == b"held\n"
        yield folder, process
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@pytest.fixture
def holder(tmp_path):
    with holding(tmp_path) as held:
        yield held


def test_the_second_process_is_told_at_once_who_has_the_folder(holder):
    folder, process = holder
    told = rf"in use by process {process.pid} on \S+: wait until"
    with pytest.raises(RunError, match=told), hold(folder):
        pytest.fail("two processes have the folder")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_dead_owners_folder_is_taken_over(holder, number):
    folder, process = holder
    process.send_signal(number)
    process.wait()
    with hold(folder):
        owner = json.loads((folder.parents[1] / ".locks" / "x-digest.owner").read_text())
        assert owner["pid"] == os.getpid()


@pytest.mark.parametrize("content", ["", "{", "[]", '{"pid": "x", "host": 1}', "\x00" * 5000])
def test_a_damaged_owner_file_still_gives_a_line(holder, content):
    folder, _ = holder
    (folder.parents[1] / ".locks" / "x-digest.owner").write_text(content)
    with pytest.raises(RunError, match="in use by another process"), hold(folder):
        pytest.fail("two processes have the folder")


@pytest.mark.parametrize("before", ["", '{"pid": %d, "host": "%s"}'])
def test_an_owner_that_has_not_yet_said_its_name_is_waited_for(holder, before):
    folder, process = holder
    dead = subprocess.Popen([sys.executable, "-c", ""])
    dead.wait()
    file = folder.parents[1] / ".locks" / "x-digest.owner"
    late = threading.Timer(0.2, file.write_text, [file.read_text()])
    file.write_text(before and before % (dead.pid, socket.gethostname()))
    late.start()
    with pytest.raises(RunError, match=rf"in use by process {process.pid} "), hold(folder):
        pytest.fail("two processes have the folder")
    late.join()


def test_a_call_that_made_no_folder_leaves_nothing_behind(tmp_path):
    folder = tmp_path / "runs" / "x" / "digest"
    with pytest.raises(ValueError, match="refused"), hold(folder):
        raise ValueError("refused")
    assert list(tmp_path.iterdir()) == []
    deep = tmp_path / "a" / "b" / "runs" / "x" / "digest"
    with pytest.raises(ValueError, match="refused"), hold(deep):
        raise ValueError("refused")
    assert list(tmp_path.iterdir()) == []
    (tmp_path / "runs").mkdir()
    with pytest.raises(ValueError, match="refused"), hold(folder):
        raise ValueError("refused")
    assert [path.name for path in tmp_path.iterdir()] == ["runs"]  # it was there before
    with hold(folder):
        folder.mkdir(parents=True)
    assert [path.name for path in folder.parent.iterdir()] == ["digest"]
    locks = sorted(path.name for path in (tmp_path / "runs" / ".locks").iterdir())
    assert locks == ["x-digest.lock", "x-digest.owner"]


def test_a_place_where_nothing_can_be_made_is_refused(tmp_path):
    (tmp_path / "file").write_text("")
    place = tmp_path / "file" / "x" / "digest"
    with pytest.raises(RunError, match=r"cannot lock .* give another --out"), hold(place):
        pytest.fail("locked below a file")


def test_a_folder_is_in_use_though_its_locks_were_removed_or_it_was_moved(holder):
    folder, process = holder
    shutil.rmtree(folder.parents[1] / ".locks")
    with pytest.raises(RunError, match="in use by another process"), hold(folder):
        pytest.fail("two processes have the folder")
    moved = folder.rename(folder.with_name("moved"))
    with pytest.raises(RunError, match="in use by another process"), hold(moved):
        pytest.fail("two processes have the folder")
    process.kill()
    process.wait()
    with hold(moved):
        pass


@pytest.fixture
def no_flock(monkeypatch):
    """A file system without locks."""

    def missing(*_):
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr(fcntl, "flock", missing)


def test_without_locks_of_the_system_a_dead_owners_folder_is_taken_over_too(no_flock, tmp_path):
    with holding(tmp_path, "without flock") as (folder, process):
        with pytest.raises(RunError, match=rf"in use by process {process.pid} "), hold(folder):
            pytest.fail("two processes have the folder")
        process.kill()
        process.wait()
        with hold(folder):
            pass


def test_a_lock_that_another_machine_left_is_named_with_the_remedy(no_flock, tmp_path):
    with holding(tmp_path, "without flock") as (folder, _):
        lock = folder.parents[1] / ".locks" / "x-digest.lock"
        pid, _, *rest = lock.read_text().splitlines()
        lock.write_text("\n".join([pid, "elsewhere", *rest, ""]))
        with pytest.raises(RunError, match=rf"if it has ended, remove {lock}"), hold(folder):
            pytest.fail("two processes have the folder")
