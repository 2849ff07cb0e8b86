"""Data sets and batches."""

import json
import os
import random
import sys
from pathlib import Path
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn import datasets, model_selection

from bnjax import data
from bnjax.data import batches, sources
from bnjax.data.dataset import channel_statistics, content_digest, from_arrays
from bnjax.data.sources import REBUILT_CIFAR10, small_digits
from bnjax.errors import MissingPackage, RunError, UsageError

PREPARED = Path(os.environ.get("TFDS_DATA_DIR") or Path.home() / "tensorflow_datasets")
KEY = jax.random.key(7)


def stream(pipeline, split, steps):
    """The batches of steps 0, 1, …, through the very calls that training makes."""
    draw = jax.jit(pipeline.batch)
    for step in range(steps):
        yield draw(split, pipeline.order(KEY, pipeline.epoch(step)), KEY, jnp.int32(step))


def test_every_example_is_seen_once_an_epoch(noise_dataset):
    split = noise_dataset.train._replace(labels=jnp.arange(50, dtype=jnp.int32))
    pipeline = data.make_pipeline(noise_dataset, 16)
    seen = np.concatenate([batch.labels for batch in stream(pipeline, split, 25)])
    assert len(seen) == 400
    for epoch in range(8):
        assert sorted(seen[50 * epoch : 50 * (epoch + 1)]) == list(range(50))
    assert list(seen[:50]) != list(seen[50:100])


def test_a_batch_depends_on_seed_and_step_alone(noise_dataset):
    pipeline = data.make_pipeline(noise_dataset, 16, augmented=True)
    draw = jax.jit(pipeline.batch)
    forward = [np.asarray(batch.images) for batch in stream(pipeline, noise_dataset.train, 6)]
    for step in (5, 2, 0):
        order = pipeline.order(KEY, pipeline.epoch(step))
        again = draw(noise_dataset.train, order, KEY, jnp.int32(step))
        np.testing.assert_array_equal(again.images, forward[step])
    other = jax.random.key(8)
    different = draw(noise_dataset.train, pipeline.order(other, 0), other, jnp.int32(0))
    assert not np.array_equal(different.images, forward[0])


def test_images_are_standardised_per_channel_by_exact_statistics(noise_dataset):
    pipeline = data.make_pipeline(noise_dataset, 50)
    (batch,) = stream(pipeline, noise_dataset.train, 1)
    assert batch.images.dtype == jnp.float32
    np.testing.assert_allclose(batch.images.mean((0, 1, 2)), 0, atol=1e-5)
    np.testing.assert_allclose(batch.images.std((0, 1, 2)), 1, rtol=1e-5)
    pixels = np.asarray(noise_dataset.train.pixels)
    mean, std = channel_statistics(pixels)
    np.testing.assert_allclose(mean, (pixels / 255).mean((0, 1, 2)), rtol=1e-12)
    np.testing.assert_allclose(std, (pixels / 255).std((0, 1, 2)), rtol=1e-12)


def test_augmentation_flips_and_translates_by_up_to_four_pixels():
    image = np.arange(64.0).reshape(8, 8) + 1
    images = jnp.broadcast_to(jnp.asarray(image)[None, :, :, None], (512, 8, 8, 1))
    augmented = np.asarray(jax.jit(batches.augment)(KEY, images))[..., 0]
    padded = np.pad(image, 4), np.pad(image[:, ::-1], 4)
    possible = {
        padded[flip][i : i + 8, j : j + 8].tobytes(): (flip, i, j)
        for flip in (0, 1)
        for i in range(9)
        for j in range(9)
    }
    found = [possible[each.tobytes()] for each in augmented]
    assert {flip for flip, _, _ in found} == {0, 1}
    assert {i for _, i, _ in found} == {j for _, _, j in found} == set(range(9))


def test_small_digits_are_those_at_half_the_size():
    small, large = data.load("digits16"), data.load("digits")
    assert small.train.pixels.shape == (1437, 16, 16, 3)
    np.testing.assert_array_equal(small.test.labels, large.test.labels)
    assert int(small.train.pixels.astype(jnp.int32).sum()) == 85955784


def test_the_digits_read_from_the_package_are_those_that_scikit_learn_loads_and_splits():
    pixels, labels, train, test = small_digits()
    bunch = datasets.load_digits()
    np.testing.assert_array_equal(pixels, np.rint(bunch.images * (255 / 16)))
    np.testing.assert_array_equal(labels, bunch.target)
    rows = np.arange(len(labels))
    split = model_selection.train_test_split(rows, test_size=360, stratify=labels, random_state=0)
    for found, expected in zip((train, test), split, strict=True):
        np.testing.assert_array_equal(found, np.sort(expected))


def test_digits_are_stratified_fixed_and_bytes():
    digits = data.load("digits")
    assert digits.train.pixels.shape == (1437, 32, 32, 3)
    assert digits.test.pixels.shape == (360, 32, 32, 3)
    assert digits.train.pixels.dtype == jnp.uint8
    assert set(np.bincount(digits.test.labels)) <= {35, 36, 37}
    # The very split: a change of scikit-learn or Pillow that moved it would change every result.
    assert int(digits.train.pixels.astype(jnp.int32).sum()) == 344077392
    assert digits.test.labels[:10].tolist() == [1, 4, 8, 6, 5, 9, 9, 1, 3, 2]


def prepared(folder, name=None):
    if not (PREPARED / folder).is_dir():
        pytest.skip(f"no prepared {folder} in {PREPARED}: set TFDS_DATA_DIR to run this test")
    return data.load(name or folder, PREPARED)


@pytest.mark.filterwarnings("ignore")
def test_real_cifar10_is_read_without_tensorflow():
    cifar = prepared("cifar10")
    assert cifar.train.pixels.shape == (50_000, 32, 32, 3)
    assert np.bincount(cifar.test.labels).tolist() == [1000] * 10
    # The per-channel statistics of CIFAR-10 that every recipe quotes.
    np.testing.assert_allclose(cifar.mean, (0.4914, 0.4822, 0.4465), atol=2e-4)
    np.testing.assert_allclose(cifar.std, (0.2470, 0.2435, 0.2616), atol=2e-4)
    rebuilt = (PREPARED / "cifar10/3.0.2/jpeg_substituted.json").exists()
    assert (cifar.note == REBUILT_CIFAR10) == rebuilt


@pytest.mark.filterwarnings("ignore")
def test_real_mnist_is_padded_to_32_pixels():
    mnist = prepared("mnist")
    assert mnist.train.pixels.shape == (60_000, 32, 32, 1)
    assert int(mnist.train.pixels[:, :2].sum()) == 0
    # 0.1307 over 28 × 28 pixels is what every recipe quotes; here the margin counts too.
    np.testing.assert_allclose(mnist.mean[0], 0.1307 * 28**2 / 32**2, atol=1e-4)


@pytest.mark.filterwarnings("ignore")
def test_the_size_of_cifar100_is_read_from_the_folder():
    cifar = prepared("cifar100")
    sizes = json.loads((PREPARED / "cifar100/3.0.2/dataset_info.json").read_text())["splits"]
    train = next(split for split in sizes if split["name"] == "train")
    assert cifar.train.labels.shape == (sum(map(int, train["shardLengths"])),)
    assert cifar.num_classes == 100


def test_a_missing_or_broken_folder_is_one_line_with_a_remedy(tmp_path, monkeypatch):
    broken = tmp_path / "broken" / "cifar10" / "3.0.2"
    broken.mkdir(parents=True)
    (broken / "dataset_info.json").write_text("{")
    (broken / "features.json").write_text("[")
    monkeypatch.setenv("TFDS_DATA_DIR", str(tmp_path / "elsewhere"))
    for error, place, message in [
        (UsageError, ("foo",), "dataset 'foo' is not known"),
        (UsageError, ("cifar10", tmp_path / "nowhere"), "nowhere is not a folder"),
        (RunError, ("cifar10", tmp_path), r"cifar10 is not in .*pip install .bnjax\[prepare\]"),
        (RunError, ("cifar10", tmp_path / "broken"), r"cifar10 cannot be read"),
        (RunError, ("mnist",), "elsewhere"),
    ]:
        with pytest.raises(error, match=message):
            data.load(*place)


@pytest.mark.parametrize(
    ("pixels", "labels", "message"),
    [
        (np.zeros((2, 4, 4)), np.zeros(2), r"train pixels are float64 \(2, 4, 4\): give uint8"),
        (np.zeros((2, 4, 4, 1), np.uint16), np.zeros(2, int), "train pixels are uint16"),
        (np.zeros((2, 4, 4, 1), np.uint8), np.zeros(3, int), r"labels are int64 \(3,\): .* \(2,\)"),
        (np.zeros((2, 4, 4, 1), np.uint8), np.zeros(2), "must be whole numbers"),
        (np.zeros((2, 4, 4, 1), np.uint8), np.array([0, 7]), "from 0 to 7: of 5 classes"),
        (np.zeros((2, 4, 4, 1), np.uint8), np.array([-1, 4]), "they must be from 0 to 4"),
        (np.zeros((0, 4, 4, 1), np.uint8), np.zeros(0, int), "train has no image: give at least"),
        (np.zeros((2, 1, 1, 3)), np.zeros((2, 4)), r"must be floating \(2, 5\)"),
        (np.zeros((2, 1, 1, 3)), np.zeros((2, 5), int), r"must be floating \(2, 5\)"),
    ],
)
def test_arrays_that_are_no_data_set_are_refused(pixels, labels, message):
    with pytest.raises(UsageError, match=message):
        from_arrays("own", 5, (pixels, labels), (pixels, labels))


def test_the_digest_of_a_data_set_is_that_of_its_content(noise_dataset):
    train, test = noise_dataset.train, noise_dataset.test
    first = content_digest(noise_dataset)
    assert len(first) == 12
    named = noise_dataset._replace(name="other", note="other")
    copied = noise_dataset._replace(train=jax.tree.map(lambda array: array + 0, train))
    assert {content_digest(same) for same in (named, copied)} == {first}
    pixels = train.pixels.at[3, 1, 1, 1].add(1)
    others = [
        noise_dataset._replace(train=train._replace(pixels=pixels)),
        noise_dataset._replace(train=train._replace(labels=train.labels.at[0].set(3))),
        noise_dataset._replace(train=train._replace(pixels=train.pixels.reshape(50, 4, 16, 3))),
        noise_dataset._replace(train=train._replace(labels=train.labels.astype(jnp.uint32))),
        noise_dataset._replace(test=test._replace(labels=test.labels[::-1])),
        noise_dataset._replace(num_classes=11),
        noise_dataset.scaled("unscaled"),
    ]
    assert len({first, *map(content_digest, others)}) == 1 + len(others)


def test_impossible_batch_sizes_are_refused(noise_dataset):
    for batch_size in (0, 51):
        with pytest.raises(UsageError, match=f"batch_size={batch_size} must be from 1 to 50"):
            data.make_pipeline(noise_dataset, batch_size)


def test_a_split_of_another_size_than_the_pipeline_is_for_is_refused(noise_dataset):
    pipeline = data.make_pipeline(noise_dataset, 16)
    short = noise_dataset.train._replace(labels=noise_dataset.train.labels[:7])
    for split in (short, noise_dataset.test):
        with pytest.raises(UsageError, match="this pipeline is for 50 of each"):
            next(stream(pipeline, split, 1))


def test_a_prepared_folder_with_labels_outside_of_its_classes_is_refused(tmp_path, monkeypatch):
    label = SimpleNamespace(num_classes=10)
    info = SimpleNamespace(
        features={"label": label},
        splits=dict.fromkeys(("train", "test"), SimpleNamespace(num_examples=2)),
    )
    builder = SimpleNamespace(info=info, data_dir=tmp_path)
    pixels, found = np.zeros((2, 4, 4, 1), np.uint8), {}
    monkeypatch.setattr("tensorflow_datasets.builder", lambda *_, **__: builder)
    monkeypatch.setattr(
        sources, "read_split", lambda *_: (pixels[: len(found["labels"])], found["labels"])
    )
    for name in ("mnist", "binary_mnist"):
        (tmp_path / "mnist").mkdir(exist_ok=True)
        for labels, message in [
            ([0, 12], "labels are from 0 to 12: of 10 classes"),
            ([-1, 3], "labels are from -1 to 3"),
            ([], "has no image"),
        ]:
            found["labels"] = np.array(labels, int)
            with pytest.raises(
                RunError, match=f"mnist is no data set .train {message}.*prepare it"
            ):
                data.load(name, tmp_path)


@pytest.mark.parametrize("options", [{"num_examples": 0}, {"size": 0}])
def test_gaussian_data_of_no_size_are_refused(options):
    with pytest.raises(UsageError, match="=0 must be 1 or more"):
        sources.make_gaussian(0, **options)


def test_unscaled_images_are_grey_levels(noise_dataset):
    pipeline = data.make_pipeline(noise_dataset.scaled("unscaled"), 16)
    images = pipeline.standardise(noise_dataset.train.pixels)
    np.testing.assert_allclose(images, noise_dataset.train.pixels.astype(np.float32), rtol=1e-6)
    assert noise_dataset.scaled("standardised") is noise_dataset


def test_each_image_may_be_standardised_by_itself(noise_dataset):
    pipeline = data.make_pipeline(noise_dataset.scaled("per_image"), 16)
    pixels = np.array(noise_dataset.train.pixels[:3])
    pixels[2] = 7  # a constant image has no deviation
    images = np.asarray(pipeline.standardise(jnp.asarray(pixels)))
    own = pixels[:2].astype(np.float64)
    axes = (1, 2, 3)
    expected = (own - own.mean(axes, keepdims=True)) / own.std(axes, keepdims=True)
    np.testing.assert_allclose(images[:2], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_array_equal(images[2], 0)


def test_mnist1d_is_made_by_its_package_and_leaves_everybodys_random_numbers_alone(monkeypatch):
    def make_dataset():
        np.random.seed(42)  # noqa: NPY002
        random.seed(42)
        signals, classes = np.arange(280.0).reshape(7, 40), np.arange(7)
        return {"x": signals[:5], "y": classes[:5], "x_test": signals[5:], "y_test": classes[5:]}

    package = SimpleNamespace(make_dataset=make_dataset)
    monkeypatch.setitem(sys.modules, "mnist1d", SimpleNamespace(data=package))
    monkeypatch.setitem(sys.modules, "mnist1d.data", package)
    before = random.getstate(), np.random.get_state()[1].tolist()  # noqa: NPY002
    found = data.load("mnist1d")
    assert before == (random.getstate(), np.random.get_state()[1].tolist())  # noqa: NPY002
    assert found.train.pixels.shape == (5, 1, 40, 1)
    np.testing.assert_array_equal(found.test.labels, [5, 6])
    assert (found.num_classes, found.is_regression) == (10, False)
    np.testing.assert_array_equal(found.train.pixels[1].ravel(), np.arange(40, 80))


def test_the_real_mnist1d_has_the_published_sizes():
    pytest.importorskip("mnist1d", reason="pip install 'bnjax[mnist1d]'")
    found = data.load("mnist1d")
    assert found.train.pixels.shape == (4000, 1, 40, 1)
    assert found.test.labels.shape == (1000,)
    np.testing.assert_allclose(found.train.pixels.std(), 1, rtol=0.01)


def test_a_data_set_whose_package_is_missing_names_the_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "mnist1d", None)
    monkeypatch.setitem(sys.modules, "mnist1d.data", None)
    with pytest.raises(MissingPackage, match=r"pip install .bnjax\[mnist1d\]"):
        data.load("mnist1d")
