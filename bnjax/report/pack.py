"""Numbers and files as text inside a page: packed small, unpacked by the reader's browser."""

import base64
import functools
import gzip
import hashlib
import importlib.util
import json
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from bnjax.errors import RunError

LEVEL = 6  # of gzip: 9 takes a fifth longer and saves a quarter of a per cent


class Script(NamedTuple):
    """A program inside a page."""

    packed: str
    digest: str  # SHA-256 as a Content-Security-Policy has it


class Numbers:
    """Arrays one after the other in one block of bytes, each known by its place."""

    def __init__(self) -> None:
        self.parts: list[bytes] = []
        self.places: list[tuple[int, int, int]] = []  # first byte, number of values, bytes of each
        self.size = 0

    def add(self, values: np.ndarray) -> int:
        """Add an array, flat, in 64 bits where 32 are too few; returns its place."""
        flat = np.asarray(values, dtype=np.float64).ravel()
        finite = np.abs(flat[np.isfinite(flat)])
        wide = bool(finite.size) and float(finite.max()) > float(np.finfo(np.float32).max)
        content = flat.astype("<f8" if wide else "<f4").tobytes()
        width = 8 if wide else 4
        padding = -self.size % 8  # a view of 64 bits begins at a multiple of 8 bytes
        self.parts.append(bytes(padding) + content)
        self.places.append((self.size + padding, flat.size, width))
        self.size += padding + len(content)
        return len(self.places) - 1

    def content(self) -> bytes:
        return b"".join(self.parts)


def pack(content: bytes) -> str:
    """Bytes as base64 of their gzip; equal bytes give equal texts."""
    return base64.b64encode(gzip.compress(content, LEVEL, mtime=0)).decode()


def as_json(value: Any) -> str:
    """A JSON document for a script element of a page; all numbers must be finite."""
    text = json.dumps(value, allow_nan=False, ensure_ascii=True, separators=(",", ":"))
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def digest(text: str) -> str:
    """The hash by which a Content-Security-Policy admits a script."""
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


@functools.cache
def plotly() -> Script:
    """The program that draws the charts, read from the package `plotly` without importing it."""
    spec = importlib.util.find_spec("plotly")
    places = list(spec.submodule_search_locations or ()) if spec is not None else []
    for place in places:
        path = Path(place) / "package_data" / "plotly.min.js"
        if path.is_file():
            text = path.read_text(encoding="utf-8")
            return Script(pack(text.encode()), digest(text))
    raise RunError("the charts of a report need the package plotly: pip install plotly")
