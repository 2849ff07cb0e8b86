"""A checkpoint is restored as it was saved or not at all; if it fails, the one before is there."""

import errno
import os
import random
import shutil

import hostile
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from faults.trials import counted, number

from bnjax.errors import RunError
from bnjax.frame import checkpoints, disk, files
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


def every_file(folder):
    return sorted(path for path in folder.rglob("*") if path.is_file())


def to_a_file(act):
    """Damage of any run's files, done to one of a checkpoint."""
    return lambda folder, generator: act(generator, generator.choice(every_file(folder)), None)


def truncate(folder, generator):
    path = generator.choice(every_file(folder))
    os.truncate(path, generator.randrange(path.stat().st_size))


def empty(folder, generator):
    shutil.rmtree(folder)
    folder.mkdir()


def swap(folder, generator):
    """The two files under each other's names."""
    first, second = every_file(folder)
    first.rename(folder / "other")
    second.rename(first)
    (folder / "other").rename(second)


def rename(folder, generator):
    """The older one under the newer one's name."""
    shutil.rmtree(folder)
    shutil.copytree(folder.with_name("20"), folder)


def forge(folder, generator):
    """A sound checkpoint of another run, with other numbers."""
    shutil.rmtree(folder)
    other = folder.parent.with_name("other")
    checkpoints.save(Checkpoints(other, "digest/none-0"), 30, tree(31))
    (other / "30").rename(folder)
    shutil.rmtree(other)


def garble(folder, generator):
    """A manifest that is JSON of another kind."""
    made = generator.choice(["[]", "null", "{}", "[" * 5000, '{"format": 1}', "\x00"])
    (folder / checkpoints.MANIFEST).write_text(made)


def edit(folder, generator):
    """A manifest that says something else of an array, in good form."""
    path = folder / checkpoints.MANIFEST
    saved = checkpoints.read_manifest(folder).arrays
    digest = saved[generator.choice(sorted(saved))]["sha256"]
    other = digest[:5] + ("0" if digest[5] != "0" else "1") + digest[6:]
    path.write_text(path.read_text().replace(digest, other))


flip = to_a_file(hostile.flip)
DAMAGE = {function.__name__: function for function in (edit, truncate, empty, swap, rename, forge)}
DAMAGE |= {"garble": garble, "flip": flip, "drop": to_a_file(hostile.delete)}
DAMAGE["add"] = lambda folder, generator: (folder / "foreign").write_bytes(b"")


@pytest.mark.parametrize("name", DAMAGE)
def test_every_damage_is_found_said_set_aside_and_the_one_before_restored(copy, name):
    saved, said = copy
    generator = random.Random(name)
    sound = shutil.copytree(saved.folder, saved.folder.with_name("sound"))
    for trial in range(DAMAGES // len(DAMAGE)):
        shutil.rmtree(saved.folder)
        shutil.copytree(sound, saved.folder)
        said.clear()
        DAMAGE[name](saved.folder / "30", generator)
        with counted("damage"):
            step, found = checkpoints.restore(saved, tree(0))
            assert step == 20, trial
            assert_same(found, tree(20))
            (message,) = said
            assert message.endswith("it is now 30.old1")
            assert (saved.folder / "30.old1").is_dir()


def test_arrays_that_are_read_wrongly_are_found(copy, monkeypatch):
    saved, said = copy
    read = files.read_arrays

    def wrong(path):
        found = read(path)
        if path.parent.name == "30":
            found["record/train.loss"][3, 1] += 1e-12
        return found

    monkeypatch.setattr(files, "read_arrays", wrong)
    assert checkpoints.restore(saved, tree(0))[0] == 20
    assert "its arrays are not those that were saved" in said[0]


def test_both_damaged_begins_anew(copy):
    saved, said = copy
    for step in (20, 30):
        flip(saved.folder / str(step), random.Random(0))
    assert checkpoints.restore(saved, tree(0))[0] == 0
    assert len(said) == 2


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"train.loss": np.zeros((20, 2), np.float32)}, r"as float64 .* has it as float32"),
        ({"more": np.zeros(3)}, r"holds record/more as nothing, .* as float64 \[3\]: .* --fresh"),
        ({"complete": None}, r"holds record/complete as float64 \[\], .* as nothing: .* --fresh"),
    ],
)
def test_a_state_of_another_shape_or_type_is_refused_not_cast(copy, record, message):
    saved, _ = copy
    other = tree(0)
    other["record"] |= record
    with pytest.raises(RunError, match=message):
        checkpoints.restore(saved, other)
    assert checkpoints.steps(saved.folder) == [30, 20]


@pytest.mark.parametrize(("number", "reader"), [(1, "bnjax 0.1"), (4, "another version of bnjax")])
def test_a_checkpoint_of_another_format_is_refused_not_set_aside(copy, number, reader):
    saved, said = copy
    place = saved.folder / "30" / checkpoints.MANIFEST
    content = {**checkpoints.read_manifest(saved.folder / "30")._asdict(), "format": number}
    place.write_text(files.seal(content))
    refusal = rf"30: it is of {reader} \(format {number}, here 3\): go on .* or .* --fresh"
    with pytest.raises(RunError, match=refusal):
        checkpoints.restore(saved, tree(0))
    assert checkpoints.find_damage(place.parent, RUN).startswith(f"it is of {reader}")
    assert said == []
    assert checkpoints.steps(saved.folder) == [30, 20]
    place.write_text(place.read_text().replace('"step": 30', '"step": 31'))  # damaged as well
    assert checkpoints.restore(saved, tree(0))[0] == 20


def test_every_kind_of_array_comes_back_as_the_template_has_it(tmp_path):
    mesh = jax.sharding.Mesh(jax.devices()[:1], "data")
    place = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
    saved, state = (
        Checkpoints(tmp_path / "arm", RUN),
        {
            "key": jax.random.split(jax.random.key(7), 3),
            "rbg": jax.device_put(jax.random.key(7, impl="rbg"), place),
            "half": jnp.linspace(-1, 1, 5).astype(jnp.bfloat16),
            "host half": np.asarray(jnp.bfloat16(1.5)),
            "flags": np.array([True, False]),
            "nothing": jax.device_put(jnp.zeros((0, 3), jnp.int8), place),
            "columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
            "file": np.float32([np.nan, -0.0]),  # the name of an argument of `np.savez`
        },
    )
    checkpoints.save(saved, 1, state)
    step, found = checkpoints.restore(saved, state)
    assert step == 1
    for name, leaf in state.items():
        assert type(found[name]) is type(leaf), name
        assert (found[name].dtype, found[name].shape) == (leaf.dtype, leaf.shape)
        if isinstance(leaf, np.ndarray):
            assert found[name].tobytes() == leaf.tobytes()
            assert found[name].flags.writeable
        else:
            assert found[name].sharding == leaf.sharding
    np.testing.assert_array_equal(found["half"], state["half"])
    assert (jax.random.bits(found["rbg"]) == jax.random.bits(state["rbg"])).all()
    assert (found["key"] == state["key"]).all()
    with pytest.raises(RunError, match=r"holds rbg as uint32 \[4\], .* as uint32 \[2\]"):
        checkpoints.restore(saved, {**state, "rbg": jax.random.key(7)})


def test_two_arrays_of_one_name_are_refused_not_lost(tmp_path):
    with pytest.raises(ValueError, match="one name"):
        checkpoints.save(Checkpoints(tmp_path, RUN), 1, {"a": {"b": np.ones(1)}, "a/b": np.ones(2)})


def test_a_checkpoint_of_the_same_step_is_replaced_and_kept_aside(copy):
    saved, _ = copy
    checkpoints.save(saved, 30, tree(31))
    assert_same(checkpoints.restore(saved, tree(0))[1], tree(31))
    assert (saved.folder / "30.old1").is_dir()


OPERATIONS = ("write_file", "sync", "rename", "make_directory", "unlink", "remove_directory")


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
