"""Where compiled programs are kept."""

import contextlib
import grp
import pwd
import warnings
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import pytest
from filelock import FileLock
from jax.experimental.compilation_cache import compilation_cache

from bnjax.frame import layout


@pytest.fixture(autouse=True)
def untold():
    """A JAX that was told of no folder, as a person's is."""
    names = [name for name in jax.config.values if "compilation_cache" in name]
    names.append("jax_persistent_cache_min_compile_time_secs")
    before = {name: getattr(jax.config, name) for name in names}
    jax.config.update("jax_compilation_cache_dir", None)
    yield
    for name, value in before.items():
        jax.config.update(name, value)


def test_programs_are_kept_in_a_folder_of_the_user_alone(tmp_path, monkeypatch):
    monkeypatch.delenv("BNJAX_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    layout.enable()
    folder = tmp_path / "bnjax" / "xla"
    own = folder / layout.processor_and_version()
    assert jax.config.jax_compilation_cache_dir == str(own)
    assert {place.stat().st_mode & 0o777 for place in (folder, own)} == {0o700}


@pytest.mark.parametrize(
    ("chosen", "told", "kept"),
    [
        ("", None, None),
        ("chosen", None, "chosen"),
        ("chosen", "told", "told"),
    ],
)
def test_the_folder_is_the_chosen_one(tmp_path, monkeypatch, chosen, told, kept):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("BNJAX_CACHE_DIR", chosen)
    jax.config.update("jax_compilation_cache_dir", told)
    layout.enable()
    own = kept == "chosen"
    kept = f"chosen/{layout.processor_and_version()}" if own else kept
    assert jax.config.jax_compilation_cache_dir == kept


@pytest.mark.parametrize("home", ["a file", "locked", None])
def test_where_nothing_can_be_kept_it_is_said_and_the_run_goes_on(
    tmp_path, monkeypatch, capsys, home
):
    monkeypatch.delenv("BNJAX_CACHE_DIR")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    held = contextlib.nullcontext()
    if home == "locked":
        monkeypatch.setenv("BNJAX_CACHE_DIR", str(tmp_path))
        place = tmp_path / layout.processor_and_version()
        place.mkdir()
        held = FileLock(place / ".lockfile")
    elif home is None:

        def nobody():
            raise RuntimeError("Could not determine home directory.")

        monkeypatch.setattr(layout.Path, "home", nobody)
    else:
        place = tmp_path / home
        place.touch()
        monkeypatch.setenv("HOME", str(place))
    with held:
        layout.enable()
    assert jax.config.jax_compilation_cache_dir is None
    said = capsys.readouterr().err
    assert said.startswith("warning: compiled programs are not kept")
    assert "set BNJAX_CACHE_DIR" in said
    assert said.count("\n") == 1


@pytest.mark.parametrize("which", ["chosen", "own"])
@pytest.mark.parametrize("mode", [0o775, 0o757, 0o777, 0o755])
def test_a_folder_that_others_can_write_to_is_refused(tmp_path, monkeypatch, capsys, which, mode):
    place = tmp_path / "programs"
    own = place / layout.processor_and_version()
    own.mkdir(parents=True)
    changed = place if which == "chosen" else own
    changed.chmod(mode)
    monkeypatch.setenv("BNJAX_CACHE_DIR", str(place))
    monkeypatch.setattr(layout, "is_private", lambda group: False)
    layout.enable()
    if mode == 0o755:
        assert jax.config.jax_compilation_cache_dir == str(own)
        return
    refused(capsys, changed)


@pytest.mark.parametrize("which", ["chosen", "own"])
def test_the_group_of_the_user_alone_loses_the_right_to_write(tmp_path, monkeypatch, which):
    own = tmp_path / "programs" / layout.processor_and_version()
    own.mkdir(parents=True)
    changed = own.parent if which == "chosen" else own
    changed.chmod(0o775)
    monkeypatch.setenv("BNJAX_CACHE_DIR", str(own.parent))
    monkeypatch.setattr(layout, "is_private", lambda group: group == changed.stat().st_gid)
    layout.enable()
    assert jax.config.jax_compilation_cache_dir == str(own)
    assert changed.stat().st_mode & 0o777 == 0o755


@pytest.mark.parametrize(
    ("name", "members", "private"),
    [
        ("ada", [], True),
        ("ada", ["ada"], True),
        ("ada", ["eve"], False),
        ("users", [], False),
        (None, [], False),
    ],
)
def test_a_group_is_private_if_it_has_its_users_name_and_no_other_member(
    monkeypatch, name, members, private
):
    def group(number):
        if name is None:
            raise KeyError(number)
        return SimpleNamespace(gr_name=name, gr_mem=members)

    monkeypatch.setattr(grp, "getgrgid", group)
    monkeypatch.setattr(pwd, "getpwuid", lambda number: SimpleNamespace(pw_name="ada"))
    assert layout.is_private(1) == private


def refused(capsys, folder):
    assert jax.config.jax_compilation_cache_dir is None
    said = capsys.readouterr().err
    assert said.startswith("warning: compiled programs are not kept, each start compiles anew (")
    assert f"({folder} is d" in said
    assert "others could change them): set BNJAX_CACHE_DIR to a folder of your own" in said
    assert said.count("\n") == 1


def test_a_folder_of_another_user_is_refused(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("BNJAX_CACHE_DIR", str(tmp_path))
    me = layout.os.getuid()
    monkeypatch.setattr(layout.os, "getuid", lambda: me + 1)
    layout.enable()
    refused(capsys, tmp_path)


@pytest.fixture
def fresh_cache():
    """A JAX that opens the folder it is told of, whatever it opened before."""
    shown = warnings.showwarning
    compilation_cache.reset_cache()
    with warnings.catch_warnings():
        yield
    warnings.showwarning = shown
    compilation_cache.reset_cache()


@pytest.mark.parametrize("damage", [lambda whole: whole[:100], lambda whole: b""])
def test_a_damaged_program_is_dropped_with_a_line_and_compiled_anew(
    tmp_path, monkeypatch, capsys, fresh_cache, damage
):
    monkeypatch.setenv("BNJAX_CACHE_DIR", str(tmp_path))
    layout.enable()
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)

    def compute():
        jax.clear_caches()
        return float(jax.jit(lambda x: jnp.sin(x) + 3)(0.0))

    compute()
    entries = list(tmp_path.glob("*/*-cache"))
    whole = {entry: entry.read_bytes() for entry in entries}
    for entry in entries:
        entry.write_bytes(damage(whole[entry]))
    assert compute() == 3.0
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == len(entries) > 0
    for entry in entries:
        assert (
            f"warning: a damaged compiled program is dropped and compiled anew ({entry})" in lines
        )
        assert len(entry.read_bytes()) > 100  # it was written again
    assert compute() == 3.0
    assert capsys.readouterr().err == ""
