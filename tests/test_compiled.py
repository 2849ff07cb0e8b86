"""The compiled programs that tests share: whole ones only, and none that two processes write."""

import os
import zlib

import compiled
import pytest
from jax._src import compilation_cache

WHOLE = compilation_cache.compress_executable(b"seconds and a program")


@pytest.fixture
def programs(tmp_path):
    """Further processes' folders, all of which share one."""
    opened = []

    def new(root=tmp_path):
        opened.append(compiled.Programs(root))
        return opened[-1]

    yield new
    for one in opened:
        one.close()


def test_a_program_of_one_process_is_found_by_the_next_and_by_one_that_runs_already(programs):
    first, second = programs(), programs()
    (first.folder / "jit_f-cache").write_bytes(WHOLE)
    first.exchange()
    second.exchange()
    for process in (second, programs()):
        assert (process.folder / "jit_f-cache").read_bytes() == WHOLE


@pytest.mark.parametrize("content", [b"", WHOLE[:-1], zlib.compress(b"")])
def test_one_that_was_cut_short_stays_where_it_is_until_it_is_whole(programs, content):
    process = programs()
    (process.folder / "jit_f-cache").write_bytes(content)
    process.exchange()
    assert compiled.names(process.shared) == set()
    (process.folder / "jit_f-cache").write_bytes(WHOLE)
    process.exchange()
    assert compiled.names(process.shared) == {"jit_f-cache"}


def test_what_nobody_reads_for_a_month_goes_and_so_does_the_folder_of_a_killed_session(
    programs, tmp_path
):
    process = programs()
    left = tmp_path / "sessions" / "left"
    left.mkdir()
    entries = [process.shared / "old-cache", process.shared / "new-cache", left]
    entries[0].write_bytes(WHOLE)
    entries[1].write_bytes(WHOLE)
    for entry in (entries[0], left):
        os.utime(entry, (0, 0))
    programs()
    assert [entry.exists() for entry in entries] == [False, True, False]
    assert process.folder.exists()


def test_a_folder_that_cannot_be_made_is_no_error(programs, tmp_path):
    (tmp_path / "file").touch()
    process = programs(tmp_path / "file")
    process.exchange()
    assert process.folder.is_dir()
