"""Prepared folders: the documented command makes one that is read, and damage is refused."""

import importlib.resources.abc
import json
import os
import re
import shutil
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from bnjax import data
from bnjax.data import shards
from bnjax.errors import MissingPackage, RunError

ROOT = Path(__file__).parents[1]
COMMAND = re.compile(r'python -c "(import tensorflow_datasets.*?)"')
COUNTS = {"train": 12, "test": 5}
PIXELS = np.random.default_rng(0).integers(0, 256, (17, 28, 28)).astype(np.uint8)


def examples(self, first, count):
    """In place of those of the real builder, which downloads: images that Pillow encodes."""
    for place in range(first, first + count):
        yield place, {"image": Image.fromarray(PIXELS[place]), "label": place % 10}


def prepare(code):
    """Run the code of a documented command over our own examples, without network."""
    import tensorflow_datasets as tfds

    with pytest.MonkeyPatch.context() as patch:
        builder = tfds.builder_cls("mnist")
        patch.setattr(builder, "_generate_examples", examples)
        patch.setattr(
            builder,
            "_split_generators",
            lambda self, manager: {
                "train": self._generate_examples(0, COUNTS["train"]),
                "test": self._generate_examples(COUNTS["train"], COUNTS["test"]),
            },
        )
        # That the command installs; the standard library has the same.
        patch.setitem(sys.modules, "importlib_resources", importlib.resources)
        exec(code, {})


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What the command in the message prepares."""
    place = tmp_path_factory.mktemp("prepared")
    with pytest.raises(RunError, match="is not in") as raised:
        data.load("mnist", place)
    prepare(COMMAND.search(str(raised.value))[1])
    return place


def assert_read(place):
    found = data.load("mnist", place)
    for name, split in (("train", found.train), ("test", found.test)):
        pixels, labels = np.asarray(split.pixels), np.asarray(split.labels)
        assert pixels.shape == (COUNTS[name], 32, 32, 1)
        known = {image.tobytes(): place % 10 for place, image in enumerate(PIXELS)}
        own = [known[image.tobytes()] for image in pixels[:, 2:-2, 2:-2, 0]]
        assert own == labels.tolist()
        assert len({image.tobytes() for image in pixels}) == COUNTS[name]


def test_the_command_in_the_message_prepares_a_folder_that_is_read(folder):
    assert_read(folder)
    assert list(folder.glob("mnist/*/mnist-train.array_record-*"))


def test_the_command_in_the_documents_does_the_same(tmp_path, folder):
    (code,) = COMMAND.findall((ROOT / "docs" / "runs.md").read_text(encoding="utf-8"))
    assert "'cifar10', data_dir='DIR'" in code
    prepare(code.replace("cifar10", "mnist").replace("DIR", str(tmp_path)))
    assert_read(tmp_path)


@pytest.mark.parametrize(
    "module", ["array_record.python.array_record_module", "tensorflow_datasets"]
)
def test_a_reader_that_is_not_installed_is_named_and_the_folder_is_not_blamed(
    folder, monkeypatch, module
):
    monkeypatch.setitem(sys.modules, module, None)
    package = module.partition(".")[0]
    with pytest.raises(MissingPackage, match=rf'^{package} is not installed: .*"bnjax\[data\]"$'):
        data.load("mnist", folder)


def slow_checksum(text):
    """Masked CRC-32C, bit by bit."""
    found = 0xFFFFFFFF
    for byte in text:
        found ^= byte
        for _ in range(8):
            found = found >> 1 ^ (0x82F63B78 if found & 1 else 0)
    found ^= 0xFFFFFFFF
    return struct.pack("<I", ((found >> 15 | found << 17) + 0xA282EAD8) & 0xFFFFFFFF)


def as_tfrecord(folder, place):
    """The same data set in the format that tensorflow-datasets writes unless it is told another."""
    shutil.copytree(folder, place)
    for path in place.glob("mnist/*/*.array_record-*"):
        count = COUNTS["train" if "train" in path.name else "test"]
        frames = []
        for record in shards.read(path, count):
            size = struct.pack("<Q", len(record))
            frames += [size, slow_checksum(size), record, slow_checksum(record)]
        path.with_name(path.name.replace("array_record", "tfrecord")).write_bytes(b"".join(frames))
        path.unlink()
    (info,) = place.glob("mnist/*/dataset_info.json")
    info.write_text(info.read_text().replace('"array_record"', '"tfrecord"'))
    return place


def test_a_folder_in_the_usual_format_is_read_as_well(folder, tmp_path):
    assert_read(as_tfrecord(folder, tmp_path / "usual"))


def test_checksums_are_those_of_the_standard():
    # RFC 3720, appendix B.4.
    texts = [bytes(32), b"\xff" * 32, bytes(range(32)), b"123456789", b""]
    sums = [0x8A9136AA, 0x62A8AB43, 0x46DD794E, 0xE3069283, 0]
    masked = [((s >> 15 | s << 17) + 0xA282EAD8) & 0xFFFFFFFF for s in sums]
    assert shards.checksums(texts).tolist() == masked
    assert shards.checksums([]).tolist() == []


def change(info, **splits):
    content = json.loads(info.read_text())
    for split in content["splits"]:
        split["shardLengths"] = splits.get(split["name"], split["shardLengths"])
    info.write_text(json.dumps(content))


def flip(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 4
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path, info: change(info, train=["1000000000"]), r"12 records, of 1,000,000,000"),
        (lambda path, info: change(info, train=["11"]), "has 12 records, of 11 in dataset_info"),
        (lambda path, info: change(info, train=["6", "6"]), "00000-of-00002 is missing"),
        (lambda path, info: path.unlink(), "is missing"),
        (lambda path, info: (path.unlink(), os.mkfifo(path)), "is no plain file"),
        (lambda path, info: (info.unlink(), os.mkfifo(info)), "json is no plain file"),
        (lambda path, info: os.truncate(path, 2**40), r"has 1,099,511,627,776 bytes"),
        (lambda path, info: path.write_bytes(b""), "has 0 records|cannot be read"),
    ],
)
@pytest.mark.parametrize("usual", [False, True])
def test_what_is_missing_or_too_little_is_said(folder, tmp_path, spoil, message, usual):
    place = tmp_path / "spoilt"
    as_tfrecord(folder, place) if usual else shutil.copytree(folder, place)
    (path,) = place.glob("mnist/*/mnist-train.*")
    spoil(path, path.with_name("dataset_info.json"))
    with pytest.raises(RunError, match=rf"cannot be read .*{message}.*remove it and prepare it"):
        data.load("mnist", place)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: flip(path, 2), "is cut off, or damaged"),
        (lambda path: flip(path, 9), "a checksum differs"),
        (lambda path: flip(path, 100), "a checksum differs"),
        (lambda path: flip(path, -2), "a checksum differs"),
        (lambda path: os.truncate(path, path.stat().st_size - 3), "is cut off"),
        (lambda path: os.truncate(path, 7), "is cut off"),
        (lambda path: path.write_bytes(b"\xff" * 100), "is cut off"),
        (
            lambda path: path.write_bytes(struct.pack("<QI", 99_999, 0) + bytes(10**6)),
            "a record of",
        ),
    ],
)
def test_damage_of_the_usual_format_is_found(folder, tmp_path, spoil, message):
    place = as_tfrecord(folder, tmp_path / "usual")
    (path,) = place.glob("mnist/*/mnist-train.*")
    spoil(path)
    with pytest.raises(RunError, match=rf"cannot be read \({path.name} .*{message}"):
        data.load("mnist", place)


def test_another_format_is_named(tmp_path):
    path = tmp_path / "mnist-train.riegeli-00000-of-00001"
    path.write_bytes(b"")
    with pytest.raises(ValueError, match="is neither array_record nor tfrecord"):
        shards.read(path, 1)
