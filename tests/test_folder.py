"""The run folder: names, whole files, refusals."""

import dataclasses
import json
import os

import numpy as np
import pytest

from bnjax.errors import RunError
from bnjax.runs import folder
from bnjax.runs.config import RunConfig


def test_the_digest_depends_on_what_changes_results_only(tmp_path):
    base = RunConfig()
    moved = dataclasses.replace(base, out=tmp_path, debug=True, fresh=True, data_dir=tmp_path)
    assert folder.digest(moved) == folder.digest(base)
    for field, value in (("lr", 0.2), ("norms", ("batch",)), ("seeds", 2)):
        assert folder.digest(dataclasses.replace(base, **{field: value})) != folder.digest(base)


def test_files_are_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "content.json"
    folder.write_json(path, {"value": 1})

    def fail(*args):
        raise OSError("disk full")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(OSError, match="disk full"):
        folder.write_json(path, {"value": 2})
    assert folder.read_json(path) == {"value": 1}
    assert [child.name for child in tmp_path.iterdir()] == ["content.json"]


def test_nan_and_infinity_survive_json(tmp_path):
    folder.write_jsonl(
        tmp_path / "rows", [{"a": np.float32(np.nan), "b": float("-inf")}, {"a": 1.5}]
    )
    rows = [json.loads(line) for line in (tmp_path / "rows").read_text().splitlines()]
    assert rows == [{"a": "NaN", "b": "-Infinity"}, {"a": 1.5}]


def test_an_unfinished_run_of_other_versions_is_refused_and_kept(tmp_path):
    config = RunConfig()
    opened = folder.open_folder(tmp_path, "x", config, {"jax": "1"}, fresh=False)
    before = (opened / "config.json").read_bytes()
    with pytest.raises(RunError, match=r"jax 1 \(now 2\).*--fresh"):
        folder.open_folder(tmp_path, "x", config, {"jax": "2"}, fresh=False)
    assert (opened / "config.json").read_bytes() == before
    assert folder.open_folder(tmp_path, "x", config, {"jax": "1"}, fresh=False) == opened


def test_an_unfinished_run_goes_on_under_another_layout_and_that_is_said_and_recorded(tmp_path):
    config, said = RunConfig(), []

    def reopen(facts):
        return folder.open_folder(
            tmp_path, "x", config, facts, fresh=False, layout=("cores",), say=said.append
        )

    opened = reopen({"jax": "1", "cores": 2})
    for _ in range(2):
        assert reopen({"jax": "1", "cores": 8}) == opened
    assert "begun under cores 2 (now 8): it goes on" in said[0]
    record = folder.read_json(opened / "config.json")
    assert record["continued"] == [{"cores": 8}]
    assert record["fingerprint"]["cores"] == 2
    with pytest.raises(RunError, match=r"jax 1 \(now 2\), cores 2 \(now 8\)"):
        reopen({"jax": "2", "cores": 8})


def test_fresh_sets_aside_and_never_deletes(tmp_path):
    config = RunConfig()
    for count in range(3):
        opened = folder.open_folder(tmp_path, "x", config, {}, fresh=True)
        (opened / "mark").write_text(str(count))
    marks = {path.parent.name: path.read_text() for path in tmp_path.glob("x/*/mark")}
    assert marks == {opened.name: "2", f"{opened.name}.old1": "0", f"{opened.name}.old2": "1"}


def test_damaged_files_are_named_with_a_remedy(tmp_path):
    (tmp_path / "bad.json").write_text("{")
    (tmp_path / "list.json").write_text("[]")
    (tmp_path / "bad.npz").write_bytes(b"PK\x03\x04 no archive")
    with pytest.raises(RunError, match=r"bad.json cannot be read.*--fresh"):
        folder.read_json(tmp_path / "bad.json")
    with pytest.raises(RunError, match="holds no JSON object"):
        folder.read_json(tmp_path / "list.json")
    with pytest.raises(RunError, match=r"bad.npz cannot be read.*--fresh"):
        folder.read_npz(tmp_path / "bad.npz")
