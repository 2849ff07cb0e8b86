"""The persistent compilation cache: a second start of the same command compiles almost nothing."""

import os
from pathlib import Path

import jax

from bnjax.frame.messages import warn

MAX_BYTES = 2 * 2**30


def enable() -> None:
    """Keep compiled programs in `$BNJAX_CACHE_DIR`, else `$XDG_CACHE_HOME/bnjax`, up to 2 GiB.

    The folder is the user's own and never part of a run: what lies there is trusted code. A
    folder that JAX was told of already (`JAX_COMPILATION_CACHE_DIR`) is left in force, and an
    empty `BNJAX_CACHE_DIR` switches the cache off.
    """
    if jax.config.jax_compilation_cache_dir is not None:
        return
    chosen = os.environ.get("BNJAX_CACHE_DIR")
    if chosen == "":
        return
    try:
        if chosen is None:
            caches = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
            chosen = str(Path(caches) / "bnjax" / "xla")
        Path(chosen).mkdir(parents=True, exist_ok=True, mode=0o700)
    except (OSError, RuntimeError) as error:  # a read-only home, or none at all
        warn(
            f"compiled programs are not kept, each start compiles anew ({error}): set "
            "BNJAX_CACHE_DIR to a folder that can be written, or to nothing"
        )
        return
    jax.config.update("jax_compilation_cache_dir", chosen)
    jax.config.update("jax_compilation_cache_max_size", MAX_BYTES)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)
