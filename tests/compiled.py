"""Compiled programs that the processes of a test share."""

from importlib.metadata import version
from pathlib import Path

VARIABLE = "JAX_COMPILATION_CACHE_DIR"
READS_ITS_OWN = tuple(map(int, version("jax").split(".")[:2])) >= (0, 11)


def kept_in(folder: Path | str) -> dict[str, str]:
    """The variable that names the folder; none where JAX refuses what it kept.

    Without an import of JAX, which reads the variable when it is imported; see
    `bnjax.machine.cache.refuses_its_own`.
    """
    return {VARIABLE: str(folder)} if READS_ITS_OWN else {}
