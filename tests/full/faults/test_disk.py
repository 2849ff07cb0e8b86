"""A disk that is full, out of files, or read-only, and later is not: real errors of a tiny one."""

import os
import random
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from faults import toy as toys
from faults.test_points import check_line
from faults.trials import counted, number

TRIALS = number("disk")
CHUNKS = min(TRIALS // 4, 10)
SIZE = 64 << 20  # bytes of the whole disk
# Bytes; a run of the toy takes a little more, at its largest without and with its page.
NEEDED = (400 << 10, 2 << 20)


class Disk:
    """A small file system in memory."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.filler = place / "filler"
        self.refusals: list[bool] = []  # whether a run failed that might have
        place.mkdir()
        if os.geteuid():
            pytest.skip("a small file system needs root to be mounted")
        self.mount("-t", "tmpfs", "-o", f"size={SIZE}", "bnjax-faults")

    def mount(self, *options: str) -> None:
        """Mount it, or mount it again with other options."""
        command = ["mount", *options, str(self.place)]
        made = subprocess.run(command, capture_output=True, text=True, check=False)
        assert not made.returncode, made.stderr

    def leave(self, size: int) -> None:
        """Fill it up to so many bytes."""
        self.filler.unlink(missing_ok=True)
        free = os.statvfs(self.place).f_bavail * os.statvfs(self.place).f_frsize
        with open(self.filler, "wb") as file:
            os.posix_fallocate(file.fileno(), 0, max(1, free - size))

    def close(self) -> None:
        """Unmount it."""
        subprocess.run(["umount", str(self.place)], check=False)


@pytest.fixture
def disk(tmp_path) -> Iterator[Disk]:
    made = Disk(tmp_path / "disk")
    yield made
    made.close()


def full(toy, disk, out, generator):
    """Full at a random moment, twice in a row; then space returns."""
    saved: dict[str, int] = {}
    disk.leave(generator.randrange(generator.choice(NEEDED)))
    for _ in range(2):
        saved = fail(toy, disk, out, saved)
    disk.filler.unlink()


def without_files(toy, disk, out, generator):
    """No more files can be made, though there is space."""
    used = sum(1 for _ in disk.place.rglob("*"))
    disk.mount("-o", f"remount,nr_inodes={used + generator.randrange(2, 120)}")
    fail(toy, disk, out, {})
    disk.mount("-o", "remount,nr_inodes=100000")


def read_only(toy, disk, out, generator):
    """Killed, then nothing can be written, then it can again."""
    process = toy.start(out)
    process.wait(generator.uniform(0, toy.life))
    process.send(signal.SIGKILL)
    process.end()
    saved = toys.progress(out)
    if any(out.rglob("summary.json")):
        return
    disk.mount("-o", "remount,ro")
    before = sorted(disk.place.rglob("*"))
    ended = toy.start(out).end()
    assert ended.status == 1, ended
    check_line(ended.stderr, "read-only")
    assert sorted(disk.place.rglob("*")) == before
    disk.mount("-o", "remount,rw")
    toys.assert_not_worse(toys.progress(out), saved)


def fail(toy, disk, out, saved):
    """A run that may fail, in one line, and loses nothing; what is saved now."""
    ended = toy.start(out).end()
    assert ended.status in (0, 1), ended
    disk.refusals.append(bool(ended.status))
    if ended.status:
        check_line(ended.stderr, "full")
    now = toys.progress(out) if out.is_dir() else {}
    toys.assert_not_worse(now, saved)
    return now


WAYS = [full, full, without_files, read_only]


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_whatever_the_disk_does_the_run_goes_on_when_it_is_well_again(single, disk, chunk):
    for trial in range(chunk, TRIALS, CHUNKS):
        way = WAYS[trial // CHUNKS % len(WAYS)]
        out = disk.place / f"{way.__name__}-{trial}"
        with counted("disk"):
            way(single, disk, out, random.Random(f"disk {trial}"))
            single.finish(out)
        disk.filler.unlink(missing_ok=True)
    # Some runs need less than is left, or nothing any more; most have to fail, or nothing is tried.
    assert sum(disk.refusals) >= len(disk.refusals) / 2, disk.refusals
