"""No setting of JAX changes numbers without being in the fingerprint of a run."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax

from bnjax.frame import fingerprint

SEEN = {
    "jax_default_prng_impl", "jax_threefry_partitionable", "jax_disable_most_optimizations",
    "jax_disable_jit", "jax_enable_x64", "jax_random_seed_offset", "jax_default_matmul_precision",
}  # fmt: skip


def test_each_setting_that_changes_numbers_is_in_the_fingerprint(tmp_path):
    cleared = {k: v for k, v in os.environ.items() if not k.startswith("JAX_")}
    program = Path(__file__).with_name("settings.py")
    said = subprocess.run(
        [sys.executable, program, tmp_path],
        env={
            **cleared,
            "JAX_PLATFORMS": "cpu",
            "JAX_COMPILATION_CACHE_DIR": str(tmp_path / "cache"),
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        },
        capture_output=True,
        text=True,
        check=True,
        timeout=600,
    )
    found = json.loads(said.stdout.splitlines()[-1])
    assert found["tried"] > len(jax.config.values)
    assert set(found["changing"]) >= SEEN
    assert {*map(fingerprint.setting_name, found["changing"])} <= {*fingerprint.settings()}
