"""What one seed compiled serves the others."""

import contextlib

import jax
import pytest

import bnjax
from bnjax.frame import study as studies

COMPILED = "/jax/core/compile/backend_compile_duration"


@contextlib.contextmanager
def compilations():
    """The names of programs that are compiled within the block."""
    names = []

    def listen(event, seconds, *, fun_name="", **_):
        del seconds
        if event == COMPILED:
            names.append(fun_name)

    jax.monitoring.register_event_duration_secs_listener(listen)
    try:
        yield names
    finally:
        jax.monitoring.unregister_event_duration_listener(listen)


# What batchnorm_only trains is drawn anew for each seed, and part of its programs.
SHARED = [name for name in studies.names() if name != "batchnorm_only"]


@pytest.mark.parametrize("name", SHARED)
def test_a_further_seed_compiles_nothing(name, tmp_path):
    call = (name, "--preset", "toy", "--seeds", "1")
    with jax.numpy_dtype_promotion("standard"):
        bnjax.start(*call, "--out", str(tmp_path / "first"))
        with compilations() as names:
            bnjax.start(*call, "--seed", "7", "--out", str(tmp_path / "second"))
    assert names == []
