"""The persistent compilation cache: a second start of the same command compiles almost nothing."""

import os
from pathlib import Path

import jax

MAX_BYTES = 2 * 2**30


def enable() -> None:
    """Keep compiled programs in `$BNJAX_CACHE_DIR`, else `$XDG_CACHE_HOME/bnjax`, up to 2 GiB.

    The folder is the user's own and never part of a run: what lies there is trusted code. A
    folder that JAX was told of already (`JAX_COMPILATION_CACHE_DIR`) is left in force, and an
    empty `BNJAX_CACHE_DIR` switches the cache off, as does a JAX that does not read what it kept.
    """
    if jax.config.jax_compilation_cache_dir is not None or refuses_its_own():
        return
    default = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "bnjax"
    chosen = os.environ.get("BNJAX_CACHE_DIR", str(default / "xla"))
    if not chosen:
        return
    Path(chosen).mkdir(parents=True, exist_ok=True, mode=0o700)
    jax.config.update("jax_compilation_cache_dir", chosen)
    jax.config.update("jax_compilation_cache_max_size", MAX_BYTES)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


def refuses_its_own() -> bool:
    """Whether this JAX refuses programs for a CPU that it has kept itself.

    Before 0.11 XLA takes preferences of the compiler (`+prefer-no-gather`) for features that the
    machine lacks: it compiles again, and says so at length for each program.

    Source: jax-ml/jax#38445, openxla/xla#44565.
    """
    return jax.__version_info__ < (0, 11) and jax.default_backend() == "cpu"
