"""Power fails after any operation: the last published checkpoint is there, or the one before."""

import json
import random
import shutil
import warnings

import numpy as np
import pytest

from bnjax.frame import checkpoints, disk, files
from faults.power import Recorder, after_power_loss, play
from faults.trials import counted, number

TRIALS = number("power")


def tree(step):
    return {"weights": np.full((4, 3), step, np.float32), "complete": np.zeros(())}


def losses(recorder, root, place):
    """The disk after a loss of power behind each operation, several times, in `place`."""
    count = len(recorder.operations)
    for trial in range(max(TRIALS, count + 1)):
        done = trial % (count + 1)
        generator = random.Random(f"power {trial}")
        shutil.rmtree(place, ignore_errors=True)
        place.mkdir()
        with counted("power"):
            after_power_loss(play(recorder.operations[:done], root), place, generator)
            yield done


def test_the_last_published_checkpoint_or_the_one_before_is_restored(tmp_path, monkeypatch):
    root, place = tmp_path / "run", tmp_path / "left"
    root.mkdir()
    recorder, ends = Recorder(monkeypatch), {}
    saved = checkpoints.Checkpoints(root / "checkpoints" / "none-0", "run", warnings.warn)
    for step in (10, 20, 30):
        checkpoints.save(saved, step, tree(step))
        ends[len(recorder.operations)] = step
    monkeypatch.undo()
    monkeypatch.setattr(disk, "sync", lambda path: None)  # takes most of the time
    for done in losses(recorder, root, place):
        published = max((step for end, step in ends.items() if end <= done), default=0)
        under_way = next((step for end, step in ends.items() if end > done), 30)
        found = checkpoints.Checkpoints(place / "checkpoints" / "none-0", "run", warnings.warn)
        for step in checkpoints.steps(found.folder):
            assert not checkpoints.find_damage(found.folder / str(step), "run"), (done, step)
        step, arrays = checkpoints.restore(found, tree(0))
        assert step in (published, under_way), (done, step)
        np.testing.assert_array_equal(arrays["weights"], tree(step)["weights"])
        checkpoints.save(found, 40, tree(40))  # goes on
        assert checkpoints.restore(found, tree(0))[0] == 40


def test_a_file_is_the_old_one_or_the_new_one(tmp_path, monkeypatch):
    root, place = tmp_path / "run", tmp_path / "left"
    root.mkdir()
    recorder, ends = Recorder(monkeypatch), []
    for version in range(3):
        files.write_json(root / "summary.json", {"version": version})
        ends.append(len(recorder.operations))
    monkeypatch.undo()
    for done in losses(recorder, root, place):
        written = sum(end <= done for end in ends) - 1  # the last that was finished
        path = place / "summary.json"
        version = json.loads(path.read_text())["version"] if path.exists() else -1
        assert version in (written, written + 1), (done, version)


@pytest.mark.parametrize("forgotten", ["of the files", "of the folder"])
def test_without_an_fsync_the_loss_would_be_seen(tmp_path, monkeypatch, forgotten):
    root, place = tmp_path / "run", tmp_path / "left"
    root.mkdir()
    recorder = Recorder(monkeypatch)
    disk.write(root / "results", b"old" * 100)
    disk.write(root / "results", b"new" * 100)
    monkeypatch.undo()
    kept = [operation for operation in recorder.operations if operation.kind != "sync"]
    if forgotten == "of the files":
        kept = [o for o in recorder.operations if o.kind != "sync" or o.path == root]
    recorder.operations = kept
    seen = set()
    for done in losses(recorder, root, place):
        if done == len(kept):
            path = place / "results"
            seen.add(path.read_bytes()[:3] if path.exists() else b"missing")
    assert len(seen) > 1
