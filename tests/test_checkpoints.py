"""A checkpoint is restored as it was saved or not at all; if it fails, the one before is there."""

import errno
import os
import random
import shutil
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from faults.trials import counted, number

from bnjax.errors import RunError
from bnjax.frame import checkpoints, disk, manifest, sealed
from bnjax.frame.checkpoints import Checkpoints

RUN = "digest/batch-0"
DAMAGES = number("damage")


def tree(step):
    """A state and a record, other numbers for each step, every kind of leaf that a run has."""
    generator = np.random.default_rng(step)
    return {
        "state": (
            jnp.int32(step),
            {"conv1": {"kernel": jnp.asarray(generator.normal(size=(3, 3, 4, 5)))}},
            [jnp.asarray(generator.normal(size=7), jnp.float32), None],
        ),
        "record": {"train.loss": generator.normal(size=(20, 2)), "complete": np.zeros(())},
    }


def assert_same(found, expected):
    jax.tree.map(np.testing.assert_array_equal, found, expected)


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    """Three saves of a run; the last two are kept."""
    saved = Checkpoints(tmp_path_factory.mktemp("run") / "arm", RUN)
    for step in (10, 20, 30):
        checkpoints.save(saved, step, tree(step))
    return saved.folder


@pytest.fixture
def copy(three, tmp_path):
    """A copy to be damaged, and the warnings about it."""
    said = []
    shutil.copytree(three, tmp_path / "arm")
    return Checkpoints(tmp_path / "arm", RUN, said.append), said


def test_the_newest_of_two_is_restored_bit_for_bit(copy):
    saved, said = copy
    assert checkpoints.steps(saved.folder) == [30, 20]
    step, found = checkpoints.restore(saved, tree(0))
    assert (step, said) == (30, [])
    assert_same(found, tree(30))
    assert isinstance(found["record"]["train.loss"], np.ndarray)
    found["record"]["train.loss"][0] = 1  # can be written to


def test_nothing_saved_is_the_template(tmp_path):
    template = tree(0)
    assert checkpoints.restore(Checkpoints(tmp_path / "none", RUN), template) == (0, template)


def files(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def flip(folder, generator):
    path = generator.choice([path for path in files(folder) if path.stat().st_size])
    content = bytearray(path.read_bytes())
    content[generator.randrange(len(content))] ^= 1 << generator.randrange(8)
    path.write_bytes(content)


def truncate(folder, generator):
    path = generator.choice([path for path in files(folder) if path.stat().st_size])
    os.truncate(path, generator.randrange(path.stat().st_size))


def drop(folder, generator):
    generator.choice(files(folder)).unlink()


def empty(folder, generator):
    shutil.rmtree(folder)
    folder.mkdir()


def add(folder, generator):
    (folder / "state" / "foreign").write_bytes(b"")


def swap(folder, generator):
    first, second = generator.sample([p for p in files(folder) if p.name != manifest.NAME], 2)
    if first.read_bytes() == second.read_bytes():
        return add(folder, generator)
    content = first.read_bytes()
    first.write_bytes(second.read_bytes())
    second.write_bytes(content)
    return None


def rename(folder, generator):
    """The older one under the newer one's name."""
    shutil.rmtree(folder)
    shutil.copytree(folder.with_name("20"), folder)


def forge(folder, generator):
    """A sound checkpoint of another run, with other numbers."""
    shutil.rmtree(folder)
    other = folder.parent.with_name("other")
    saved = checkpoints.Checkpoints(other, "digest/none-0")
    checkpoints.save(saved, 30, tree(31))
    (other / "30").rename(folder)
    shutil.rmtree(other)


def garble(folder, generator):
    """A manifest that is JSON of another kind."""
    made = generator.choice(["[]", "null", "{}", "[" * 5000, '{"format": 1}', "\x00"])
    (folder / manifest.NAME).write_text(made)


def edit(folder, generator):
    """A manifest that says something else of an array, in good form."""
    path = folder / manifest.NAME
    saved = manifest.read(folder).arrays
    digest = saved[generator.choice(sorted(saved))]["sha256"]
    other = digest[:5] + ("0" if digest[5] != "0" else "1") + digest[6:]
    path.write_text(path.read_text().replace(digest, other))


DAMAGE = [edit, flip, truncate, drop, empty, add, swap, rename, forge, garble]


@pytest.mark.parametrize("damage", DAMAGE, ids=lambda damage: damage.__name__)
def test_every_damage_is_found_said_set_aside_and_the_one_before_restored(copy, damage):
    saved, said = copy
    generator = random.Random(damage.__name__)
    sound = shutil.copytree(saved.folder, saved.folder.with_name("sound"))
    for trial in range(DAMAGES // len(DAMAGE)):
        shutil.rmtree(saved.folder)
        shutil.copytree(sound, saved.folder)
        said.clear()
        damage(saved.folder / "30", generator)
        with counted("damage"):
            step, found = checkpoints.restore(saved, tree(0))
            assert step == 20, trial
            assert_same(found, tree(20))
            (message,) = said
            assert message.endswith("it is now 30.old1")
            assert (saved.folder / "30.old1").is_dir()


def test_arrays_that_orbax_reads_wrongly_are_found(copy, monkeypatch):
    saved, said = copy
    read = checkpoints.read_state

    def wrong(folder, template):
        found, damage = read(folder, template)
        if folder.name == "30":
            found["record"]["train.loss"][3, 1] += 1e-12
        return found, damage

    monkeypatch.setattr(checkpoints, "read_state", wrong)
    assert checkpoints.restore(saved, tree(0))[0] == 20
    assert "its arrays are not those that were saved" in said[0]


def test_both_damaged_begins_anew(copy):
    saved, said = copy
    for step in (20, 30):
        flip(saved.folder / str(step), random.Random(0))
    assert checkpoints.restore(saved, tree(0))[0] == 0
    assert len(said) == 2


def test_a_state_of_another_shape_or_type_is_refused_not_cast(copy):
    saved, _ = copy
    other = tree(0)
    other["record"]["train.loss"] = other["record"]["train.loss"].astype(np.float32)
    with pytest.raises(RunError, match=r"train.loss as float64 .* has it as float32"):
        checkpoints.restore(saved, other)
    other = tree(0)
    other["record"]["more"] = np.zeros(3)
    with pytest.raises(RunError, match="begin anew with --fresh"):
        checkpoints.restore(saved, other)
    assert checkpoints.steps(saved.folder) == [30, 20]


def test_a_checkpoint_of_another_format_is_refused_not_set_aside(copy):
    saved, said = copy
    place = saved.folder / "30" / manifest.NAME
    content = {**manifest.read(saved.folder / "30")._asdict(), "format": manifest.FORMAT + 1}
    place.write_text(sealed.render(content))
    with pytest.raises(RunError, match=r"another version of bnjax .* begin anew with --fresh"):
        checkpoints.restore(saved, tree(0))
    assert said == []
    assert checkpoints.steps(saved.folder) == [30, 20]
    place.write_text(place.read_text().replace('"step": 30', '"step": 31'))  # damaged as well
    assert checkpoints.restore(saved, tree(0))[0] == 20


def test_the_names_of_new_folders_are_on_the_disk(tmp_path, monkeypatch):
    flushed = []
    monkeypatch.setattr(disk, "flush_entry", flushed.append)
    disk.make_folder(tmp_path / "a" / "b" / "c")
    assert set(flushed) == {tmp_path / "a" / "b", tmp_path / "a", tmp_path}
    flushed.clear()
    disk.make_folder(tmp_path / "a" / "b")
    assert flushed == []


def test_a_checkpoint_of_the_same_step_is_replaced_and_kept_aside(copy):
    saved, _ = copy
    checkpoints.save(saved, 30, tree(31))
    assert_same(checkpoints.restore(saved, tree(0))[1], tree(31))
    assert (saved.folder / "30.old1").is_dir()


OPERATIONS = ("flush_entry", "remove", "publish", "remove_leftovers", "file_digest")


@pytest.mark.parametrize("error", [errno.EIO, errno.ENOSPC], ids=["EIO", "ENOSPC"])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_an_error_at_any_step_of_a_save_leaves_what_was_there(copy, monkeypatch, operation, error):
    saved, _ = copy
    real, before = getattr(disk, operation), 30
    for failing in range(30):
        calls = iter(range(1000))

        def broken(*arguments, calls=calls, failing=failing):
            if next(calls) == failing:
                raise OSError(error, os.strerror(error))
            return real(*arguments)

        monkeypatch.setattr(disk, operation, broken)
        try:
            checkpoints.save(saved, 400 + failing, tree(400 + failing))
        except RunError:
            failed = True
        else:
            failed = False
        monkeypatch.setattr(disk, operation, real)
        step, found = checkpoints.restore(saved, tree(0))
        assert step in (before, 400 + failing)  # never worse than the one before
        assert_same(found, tree(step))
        before = 1000 + failing
        checkpoints.save(saved, before, tree(before))  # no stale error afterwards
        assert checkpoints.restore(saved, tree(0))[0] == before
        if not failed:
            break
    else:
        pytest.fail("more operations than were tried")


SAVES = """
import sys
from pathlib import Path
import numpy as np
from bnjax.frame import layout
from bnjax.frame import checkpoints

layout.prepare(data=1, probe=1)
random = np.random.default_rng(0)
tree = {f"layer{i}": random.normal(size=(3, 3, 512, 512)).astype(np.float32) for i in range(10)}
arm = checkpoints.Checkpoints(Path(sys.argv[1]), "run")
for step in range(8):
    checkpoints.save(arm, step, tree if step else {"warm": np.zeros(1)})
    resident = next(line for line in open("/proc/self/status") if line.startswith("VmRSS"))
    print(int(resident.split()[1]) // 1024)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_saves_of_a_large_state_leave_no_memory_behind(tmp_path):
    call = [sys.executable, "-c", SAVES, str(tmp_path / "arm")]
    printed = subprocess.run(call, check=True, capture_output=True, text=True).stdout
    warm, *later = map(int, printed.split())  # MiB
    assert max(later) - warm <= 64, (warm, later)
