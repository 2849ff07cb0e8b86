"""Strict JAX for every test: 64 bits, no silent rank or dtype promotion, shapes checked."""

import contextlib
import os
import signal

import compiled

# Results must not depend on an accelerator or on the cache of a user's runs.
os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["BNJAX_CACHE_DIR"] = ""
# jax 0.10 logs errors for programs that it reads from a cache, and reads them (jax-ml/jax#38445):
# tests count the lines of bnjax. Read when JAX is imported.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# The same program is compiled once on a machine, whichever tests need it, however small it is.
PROGRAMS = compiled.Programs()
os.environ["JAX_COMPILATION_CACHE_DIR"] = str(PROGRAMS.folder)
os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0"
os.environ["JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES"] = "-1"

from jaxtyping import install_import_hook

install_import_hook("bnjax", "beartype.beartype")

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bnjax import data, losses, models
from bnjax.data import Batch
from bnjax.data.dataset import from_arrays
from bnjax.probes.line import COMPILED
from bnjax.probes.points import CALLED

jax.config.update("jax_enable_x64", True)
jax.config.update("jax_numpy_rank_promotion", "raise")
jax.config.update("jax_numpy_dtype_promotion", "strict")


def pytest_runtest_teardown(item, nextitem):
    """After each file and at the end, even of a session that is ended halfway, nothing is lost."""
    if nextitem is None or nextitem.path != item.path:
        PROGRAMS.exchange()


def cast(tree, dtype=jnp.float64):
    """Every leaf of a tree in one dtype."""
    return jax.tree.map(lambda leaf: leaf.astype(dtype), tree)


def tiny_model(norm: str) -> models.Model:
    """Two convolutions and a classifier for 8×8 pixels: all that compiles in a moment."""
    glorot = models.layers.initializer("glorot_uniform")
    return models.Model(models.VGG((1, 1), (4, 6), 10, (), models.norms.by_name(norm), glorot))


@pytest.fixture(autouse=True)
def no_probe_was_compiled_before() -> None:
    """Probes say when the same loss is compiled over and over, as tests with parameters do."""
    COMPILED.clear()
    CALLED.clear()


@pytest.fixture(scope="session")
def batch() -> Batch:
    """Sixteen float64 noise images with labels."""
    images = jax.random.normal(jax.random.key(1), (16, 8, 8, 3), jnp.float64)
    return Batch(images, jnp.arange(16, dtype=jnp.int32) % 10)


@pytest.fixture(scope="session", params=["none", "batch"])
def problem(request, batch):
    """A tiny network, its parameters, statistics and loss, in float64; one for each normaliser."""
    model = tiny_model(request.param)
    variables = cast(model.init(jax.random.key(0), batch.images))
    loss = losses.on_batch(model, variables["batch_stats"], batch)
    return model, variables["params"], variables["batch_stats"], loss


@pytest.fixture(scope="session")
def noise_dataset() -> data.Dataset:
    """Fifty training and seven test images of noise: sizes that no batch size divides."""
    generator = np.random.default_rng(2)
    pixels = generator.integers(0, 256, (57, 8, 8, 3)).astype(np.uint8)
    labels = np.arange(57) % 10
    return from_arrays("noise", 10, (pixels[:50], labels[:50]), (pixels[50:], labels[50:]), "noise")


def make_toy(patch: pytest.MonkeyPatch, dataset: data.Dataset) -> None:
    """Studies train the tiny network on the given data, whatever their options say."""
    patch.setattr("bnjax.frame.arm.build_model", lambda options, norm, classes: tiny_model(norm))
    patch.setattr("bnjax.data.load", lambda *_, **__: dataset)


@pytest.fixture
def toy(monkeypatch, noise_dataset) -> None:
    """Studies on noise images with a network that compiles in a moment."""
    make_toy(monkeypatch, noise_dataset)


@pytest.fixture
def toy_runs(toy, monkeypatch) -> None:
    """Toy runs that `resume` finds too."""
    from toy_runs import STUDY

    from bnjax.studies import lp_norms

    monkeypatch.setattr(lp_norms, "STUDY", STUDY)


SECONDS = 60  # a trial that takes longer hangs


class Hangs(BaseException):
    """A trial took too long."""


@contextlib.contextmanager
def time_limit():
    """Within the block a hang becomes an error."""

    def end(number, frame):
        raise Hangs

    before = signal.signal(signal.SIGALRM, end)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture
def standard_promotion():
    """JAX's own rules of promotion, for libraries that rely on them (optax's counters)."""
    with jax.numpy_dtype_promotion("standard"):
        yield
