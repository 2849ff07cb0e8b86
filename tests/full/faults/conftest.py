"""The parent of all processes of trials, and the runs that they break."""

from collections.abc import Iterator
from pathlib import Path

import compiled
import pytest

from faults.nursery import Nursery
from faults.toy import COMMON, PERCEPTRON, Toy


@pytest.fixture(scope="session")
def nursery() -> Iterator[Nursery]:
    """Processes that share one cache of compiled programs, theirs alone."""
    programs = compiled.Programs()
    parent = Nursery(
        {
            "JAX_COMPILATION_CACHE_DIR": str(programs.folder),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }
    )
    yield parent
    parent.close()
    programs.close()


@pytest.fixture(scope="session")
def toy(nursery, tmp_path_factory) -> Toy:
    """Two arms of a perceptron: some 20 steps, 10 checkpoints."""
    return Toy(nursery, [*PERCEPTRON, *COMMON], tmp_path_factory.mktemp("toy"))


@pytest.fixture(scope="session")
def single(nursery, tmp_path_factory) -> Toy:
    """One arm of it."""
    place: Path = tmp_path_factory.mktemp("single")
    return Toy(nursery, [*PERCEPTRON, *COMMON, "--norms", "batch"], place)
