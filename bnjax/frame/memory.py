"""The memory that saves leave behind in glibc's heap, and how it goes back to the system.

A save passes through buffers of all threads of Orbax, some of the state's own size. Freed, they
stay in the heap of the thread that had them, and glibc has eight heaps (arenas) a core: seven saves
of a state of 90 MiB left 161 MiB behind, with both of what is here 3 (tests/test_checkpoints.py).
"""

import ctypes
import os
from typing import Any

ARENA_MAX = -8  # M_ARENA_MAX of malloc.h


def limit_heaps() -> None:
    """No more heaps than cores, so that threads use again what others freed; before any starts.

    Elsewhere than under glibc nothing is done: other allocators have no such heaps. Where many
    threads had memory before, glibc keeps its own limit; one in `MALLOC_ARENA_MAX` stays, too.
    """
    if "MALLOC_ARENA_MAX" not in os.environ and (mallopt := library_function("mallopt")):
        mallopt(ARENA_MAX, os.cpu_count() or 1)


def give_back() -> None:
    """Return what is free in the heaps to the system; takes a few milliseconds."""
    if trim := library_function("malloc_trim"):
        trim(ctypes.c_size_t(0))


def library_function(name: str) -> Any:
    """A function of the C library, or None where it has none of this name."""
    return getattr(ctypes.CDLL(None), name, None) if os.name == "posix" else None
