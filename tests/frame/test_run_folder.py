"""The run folder: names, whole files, refusals."""

import copy
import dataclasses
import io
import json
import os
import subprocess
import zipfile

import numpy as np
import pytest

from bnjax.errors import RunError
from bnjax.frame import files, fingerprint, folder, options


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(options.LearningRate, options.Training):
    """Those of every run."""


def opened(root, facts, *, fresh=False, accept=False, say=print):
    now = {"jax": "1", **facts}
    return folder.open_folder(
        root, "x", Options(), now, fresh=fresh, accept_changes=accept, say=say
    )


def test_the_digest_depends_on_what_changes_results_only(tmp_path):
    base = Options()
    moved = dataclasses.replace(
        base, out=tmp_path, debug=True, fresh=True, data_dir=tmp_path, preset="paper", redraw=True,
        accept_changes=True,
    )  # fmt: skip
    assert folder.digest(moved) == folder.digest(base)
    for field, value in (("lr", 0.2), ("norms", ("batch",)), ("seeds", 2)):
        assert folder.digest(dataclasses.replace(base, **{field: value})) != folder.digest(base)


def test_files_are_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "content.json"
    files.write_json(path, {"value": 1})

    def fail(*args):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        files.write_json(path, {"value": 2})
    assert json.loads(path.read_text()) == {"value": 1}
    assert [child.name for child in tmp_path.iterdir()] == ["content.json"]


def test_arrays_of_objects_are_not_written(tmp_path):
    with pytest.raises(ValueError, match="bad: arrays of Python objects"):
        files.write_npz(tmp_path / "x.npz", {"good": np.ones(1), "bad": np.array([{}])})
    assert list(tmp_path.iterdir()) == []


def test_nan_and_infinity_survive_json(tmp_path):
    files.write_json(tmp_path / "a", {"a": np.float32(np.nan), "b": [float("-inf"), 1.5]})
    assert json.loads((tmp_path / "a").read_text()) == {"a": "NaN", "b": ["-Infinity", 1.5]}


def test_an_unfinished_run_goes_on_under_another_layout_but_not_under_another_version(tmp_path):
    said = []
    path = opened(tmp_path, {"cores": 2})
    assert opened(tmp_path, {"cores": 2}, say=said.append) == path
    before = (path / "config.json").read_bytes()
    with pytest.raises(RunError, match=r"an unfinished run made under jax 1 \(now 2\).*--fresh"):
        opened(tmp_path, {"jax": "2", "cores": 2})
    assert (path / "config.json").read_bytes() == before
    assert said == []
    for _ in range(2):
        assert opened(tmp_path, {"cores": 8}, say=said.append) == path
    assert "begun under cores 2 (now 8): it continues" in said[0]
    record = folder.read_config(path)
    assert (record.study, record.jobs, record.options["norms"]) == ("x", 2, ["none", "batch"])
    assert record.continued == [{"cores": 8}]
    assert record.fingerprint == {"jax": "1", "cores": 2}
    with pytest.raises(RunError, match=r"jax 1 \(now 2\), cores 2 \(now 8\)"):
        opened(tmp_path, {"cores": 8, "jax": "2"})


def test_a_change_that_is_accepted_is_said_and_recorded(tmp_path):
    said = []
    path = opened(tmp_path, {"data": "0", "cores": 2})
    with pytest.raises(RunError, match=r"made under data 0 \(now 1\): .*--accept-changes"):
        opened(tmp_path, {"data": "1", "cores": 2})
    opened(tmp_path, {"data": "1", "cores": 2}, accept=True, say=said.append)
    assert "begun under data 0 (now 1): it continues, and config.json records" in said[0]
    assert "to rounding" not in said[0]
    assert folder.read_config(path).continued == [{"data": "1"}]
    with pytest.raises(RunError, match="--accept-changes"):  # accepted once is not for ever
        opened(tmp_path, {"data": "1", "cores": 2})
    opened(tmp_path, {"data": "0", "cores": 2}, say=said.append)  # the data of its start again
    assert said[1:] == [f"{path} was continued under other data, see config.json"]


def test_a_run_that_lost_its_description_says_so_each_time(tmp_path):
    said = []
    path = opened(tmp_path, {"data": "0"})
    (path / "checkpoints" / "none-0" / "1").mkdir(parents=True)
    (path / "config.json").unlink()
    for _ in range(2):
        opened(tmp_path, {"data": "0"}, say=said.append)
    assert said == 2 * [
        f"{path} lost its config.json once: not all is known under what it was made"
    ]


def test_another_commit_is_recorded_and_no_difference(tmp_path):
    said = []
    path = opened(tmp_path, {"commit": "a", "script": "x 0"})
    opened(tmp_path, {"commit": "b", "script": "x 1"}, say=said.append)
    assert said == []
    assert folder.read_config(path).continued == [{"commit": "b", "script": "x 1"}]


def test_many_differences_are_one_line_with_a_count(tmp_path):
    opened(tmp_path, {f"jax_{n}": "a" for n in range(20)})
    with pytest.raises(RunError, match=r"jax_5 a \(now b\), 14 more: continue"):
        opened(tmp_path, {f"jax_{n}": "b" for n in range(20)})


def test_a_setting_that_was_not_known_at_the_start_is_not_compared(tmp_path):
    said = []
    path = opened(tmp_path, {"jax_early": "a"})
    assert opened(tmp_path, {"jax_early": "a", "jax_late": "b"}, say=said.append) == path
    assert said == []
    with pytest.raises(RunError, match="data None"):
        opened(tmp_path, {"data": "0"})


def test_fresh_sets_aside_and_never_deletes(tmp_path):
    for count in range(3):
        path = opened(tmp_path, {}, fresh=True)
        (path / "mark").write_text(str(count))
    marks = {found.parent.name: found.read_text() for found in tmp_path.glob("x/*/mark")}
    assert marks == {path.name: "2", f"{path.name}.old1": "0", f"{path.name}.old2": "1"}


def reseal(change):
    def damage(path):
        content = {"format": folder.FORMAT, **folder.read_config(path.parent)._asdict()}
        change(content)
        path.write_text(files.seal(content))

    return damage


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda path: path.write_text("{"), "Expecting property name"),
        (lambda path: path.write_text("[]"), "it is no object"),
        (lambda path: path.write_text("{}"), "it has no format: another version"),
        (lambda path: path.write_text(files.seal({"format": 3})), "of another version of bnjax"),
        (lambda path: path.write_text('{"format": 2}'), "it was changed after it was written"),
        (lambda path: path.write_text("[" * 100_000), "nested too deeply"),
        (lambda path: path.write_text("9" * 5000), "digits"),
        (lambda path: path.write_bytes(b"\xff{}"), "can't decode"),
        (lambda path: os.truncate(path, 2**30), "it has 1073741824 bytes, of 16777216 at most"),
        (
            lambda path: path.write_text(path.read_text().replace('"lr": 0.1', '"lr": 0.2')),
            "it was changed after it was written",
        ),
        (reseal(lambda content: content["options"].update(lr=0.2)), "it is of the run"),
        (reseal(lambda content: content.update(study="y")), "it is of the study y"),
        (reseal(lambda content: content.update(jobs="2")), "values of other types"),
        (reseal(lambda content: content.pop("jobs")), "other entries"),
    ],
)
def test_a_config_that_does_not_serve_is_refused_and_kept(tmp_path, damage, message):
    path = opened(tmp_path, {}) / folder.CONFIG
    damage(path)
    before = path.stat().st_mtime_ns
    with pytest.raises(RunError, match=f"config.json.*{message}.*--fresh"):
        opened(tmp_path, {})
    assert path.stat().st_mtime_ns == before


def test_no_link_in_a_run_folder_is_followed(tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    path = opened(tmp_path / "runs", {})
    (path / "checkpoints").symlink_to(outside, target_is_directory=True)
    with pytest.raises(RunError, match=r"checkpoints is a symbolic link.*put what it points to"):
        opened(tmp_path / "runs", {})
    (path / "checkpoints").unlink()
    path.rename(tmp_path / "moved")
    path.symlink_to(tmp_path / "moved", target_is_directory=True)
    with pytest.raises(RunError, match="is a symbolic link"):
        opened(tmp_path / "runs", {})


NAMES = [
    ("batch", 0.1, 0),
    ("..", 0),
    ("../../x", 0),
    ("a/b", 0),
    ("a%2Fb", 0),
    ("a\x1b[31mb", 0),
    ("a\nb", 0),
    ("a\0b", 0),
    (".hidden", 0),
    ("β", 0),
    ("\ud800", 0),
    ("n" * 300, 0),
    ("n" * 300, 1),
    ("n" * 299 + "m", 0),
    ("adam+he_normal+0.5+augmented", 0),
    ("", 0),
    ("",),
]


def test_safe_names_differ_and_stay_in_their_folder(tmp_path):
    made = [folder.safe_name(values) for values in NAMES]
    assert len(set(made)) == len(made)
    for name in made[:-1]:
        (tmp_path / name).mkdir()
        assert name.isascii()
        assert name.isprintable()
        assert len(name) <= folder.LONGEST_NAME
    assert {path.name for path in tmp_path.iterdir()} == set(made[:-1])
    assert made[0] == "batch-0.1-0"
    assert made[14] == "adam+he_normal+0.5+augmented-0"


def bomb(path, shape="(1,)", dtype="<f8", data=bytes(8), **options):
    header = f"{{'descr': '{dtype}', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    member = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + data
    with zipfile.ZipFile(path, "w", **options) as archive:
        archive.writestr("a.npy", member)


def overlapping(path):
    """Two entries of a directory that are one and the same megabyte."""
    with zipfile.ZipFile(path, "w") as archive:
        buffer = io.BytesIO()
        np.save(buffer, np.zeros(2**17))
        archive.writestr("a.npy", buffer.getvalue())
        again = copy.copy(archive.infolist()[0])
        again.filename = "b.npy"
        archive.filelist.append(again)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda path: path.write_bytes(b"PK\x03\x04 no archive"), "not a zip file"),
        (lambda path: path.mkdir(), "not a plain file"),
        (os.mkfifo, "not a plain file"),
        (lambda path: path.symlink_to("/dev/zero"), "symbolic link"),
        (lambda path: bomb(path, compression=zipfile.ZIP_DEFLATED), "compressed"),
        (lambda path: bomb(path, shape="(1000000000000,)"), "does not hold"),
        (lambda path: bomb(path, shape="(1000000000000,)", dtype="<U0", data=b""), "not hold"),
        (lambda path: bomb(path, dtype="|O"), "does not hold"),
        (lambda path: bomb(path, shape="(-1,)"), "does not hold"),
        (lambda path: bomb(path, dtype="<U200000000"), "does not hold"),
        (lambda path: bomb(path, shape="(" * 500 + ")" * 500), ""),
        (lambda path: (path.touch(), os.truncate(path, 2**40)), "bytes, of"),
        (overlapping, "larger than the file"),
    ],
)
def test_archives_that_promise_more_than_they_hold_are_refused(tmp_path, make, message):
    path = tmp_path / "bad.npz"
    make(path)
    with pytest.raises(RunError, match=rf"bad.npz cannot be read.*{message}"):
        files.read_npz(path)


def test_arrays_of_every_kind_and_shape_are_read_as_they_were_written(tmp_path):
    arrays = {
        "scalar": np.array(1.5, np.float32),
        "none": np.zeros((0, 3)),
        "fortran": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
        "text": np.array("β"),
        "texts": np.array(["a", "bc"]),
        "flags": np.array([True, False]),
        "whole/number": np.arange(3),
    }
    files.write_npz(tmp_path / "a.npz", arrays)
    found = files.read_npz(tmp_path / "a.npz")
    assert set(found) == set(arrays)
    for name, values in arrays.items():
        np.testing.assert_array_equal(found[name], values)
        assert found[name].dtype == np.asarray(values).dtype


def test_a_file_that_git_does_not_know_is_a_difference(tmp_path, monkeypatch):
    def git(*arguments):
        identity = ("-c", "user.name=a", "-c", "user.email=a@b.c")
        subprocess.run(["git", "-C", str(tmp_path), *identity, *arguments], check=True)

    module = tmp_path / "bnjax" / "frame" / "fingerprint.py"
    module.parent.mkdir(parents=True)
    module.write_text("")
    monkeypatch.setattr(fingerprint, "__file__", str(module))
    assert fingerprint.commit() == ""
    git("init", "-q")
    git("add", ".")
    git("commit", "-q", "-m", "a")
    clean = fingerprint.commit()
    assert len(clean) == 12
    (tmp_path / "notes.txt").write_text("")  # is no code
    assert fingerprint.commit() == clean
    (tmp_path / "bnjax" / "own.py").write_text("")
    assert fingerprint.commit() == f"{clean}+"
    module.write_text("x = 1")
    assert fingerprint.commit() == f"{clean}+"
