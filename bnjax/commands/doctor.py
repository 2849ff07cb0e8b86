"""What bnjax finds on this machine, and whether it computes what it should."""

import importlib.util
import math
import os
import platform
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from bnjax.data import sources
from bnjax.errors import RunError
from bnjax.frame import layout
from bnjax.frame.arm import machine_memory
from bnjax.frame.fingerprint import fingerprint

EXTRAS = {"tensorboardX": "--tensorboard", "tensorflow": "preparing data sets"}
SIZE = 512  # rows and columns of the products that show the precision
FULL_PRECISION = 1e-5  # relative error of a float32 product of that size, at most


class Finding(NamedTuple):
    """One line of the report."""

    name: str
    found: str
    sound: bool = True


def examine(data_dir: Path | None, out: Path) -> Iterator[Finding]:
    """Look at everything, one thing after the other; each may be waited for."""
    facts = fingerprint()
    names = ("bnjax", "python", "jax", "jaxlib", "flax", "optax", "numpy")
    yield Finding("versions", ", ".join(f"{name} {facts[name]}" for name in names))
    yield Finding("machine", f"{platform.platform()}, {facts['cores']} cores, {memory()}")
    kinds = dict.fromkeys((str(facts["device"]), str(facts["platform"])))
    yield Finding("devices", f"{jax.device_count()} × {', '.join(kinds)}")
    yield precision()
    yield compilations()
    folder = sources.resolve_data_dir(data_dir)
    for name in (*sources.EMBEDDED, *sources.TFDS_DATASETS):
        yield data_set(name, folder)
    for package, use in EXTRAS.items():
        there = importlib.util.find_spec(package) is not None
        yield Finding(package, f"{'installed' if there else 'not installed'}: {use}")
    yield runs(out)


def runs(out: Path) -> Finding:
    """Whether the folder of all runs can be written, and how much room there is."""
    place = out.absolute()
    if reason := why_not_writable(place):
        return Finding("runs", f"{place} cannot be written ({reason}): give another --out", False)
    while not place.exists():
        place = place.parent
    free = shutil.disk_usage(place).free
    return Finding("runs", f"{out.absolute()}, {free / 2**30:.1f} GiB free", free > 2**30)


def why_not_writable(folder: Path) -> str:
    """Why no file can be made in a folder, found by making one; nothing is left of it."""
    made = []
    try:
        for place in (*reversed(folder.parents), folder):
            if not place.exists():
                place.mkdir()
                made.append(place)
        with tempfile.TemporaryFile(dir=folder):
            return ""
    except OSError as error:
        return error.strerror or str(error)
    finally:
        for place in reversed(made):
            place.rmdir()


def memory() -> str:
    here = machine_memory()
    stats = jax.local_devices()[0].memory_stats() or {}
    limit = stats.get("bytes_limit")
    device = f", {limit / 2**30:.0f} GiB on the device" if limit else ""
    known = f"{here / 2**30:.0f} GiB of" if math.isfinite(here) else "unknown"
    return f"{known} memory{device}"


def precision() -> Finding:
    """The relative error of matrix products as training and as probes compute them.

    Accelerators multiply float32 matrices in fewer bits unless they are told otherwise.
    """
    generator = np.random.default_rng(0)
    left, right = generator.standard_normal((2, SIZE, SIZE)).astype(np.float32)
    exact = left.astype(np.float64) @ right.astype(np.float64)
    errors = {}
    for name in ("default", "highest"):
        with jax.default_matmul_precision(name):
            product = np.asarray(jax.jit(jnp.matmul)(left, right), np.float64)
        errors[name] = float(np.linalg.norm(product - exact) / np.linalg.norm(exact))
    said = ", ".join(f"{name} {error:.1e}" for name, error in errors.items())
    return Finding("precision", f"error of a product: {said}", errors["highest"] < FULL_PRECISION)


def compilations() -> Finding:
    layout.enable()
    folder = jax.config.jax_compilation_cache_dir
    if folder is None:
        meant = os.environ.get("BNJAX_CACHE_DIR") == ""
        return Finding("cache", "nothing is kept: each start compiles anew", meant)
    files = [path for path in Path(folder).glob("*") if path.is_file()]
    size = sum(path.stat().st_size for path in files)
    reason = why_not_writable(Path(folder))
    said = f"{folder}: {len(files)} files, {size / 2**20:.0f} MiB"
    if reason:
        said += f", cannot be written ({reason}): set BNJAX_CACHE_DIR to another folder"
    return Finding("cache", said, not reason)


def data_set(name: str, folder: Path) -> Finding:
    if name not in sources.EMBEDDED and not os.path.isdir(folder / name):
        return Finding(name, f"not prepared in {folder}")
    try:
        found = sources.load(name, folder)
    except RunError as error:
        return Finding(name, str(error), sound=False)
    return Finding(name, f"{found.note}; {len(found.train.labels):,} training examples")
