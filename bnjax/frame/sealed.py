"""JSON documents that carry a digest of themselves: what is read is what was written.

The digest guards against damage, not against a forger, who can make one too: whoever reads a
document still checks what it says.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bnjax.frame import bounded

SEAL = "~sha256"  # sorts last


class ForeignFormat(ValueError):
    """A sound document of another format: another version made it."""


def render(content: Mapping[str, Any]) -> str:
    r"""The one text of a document, whose last entry is the digest of all others.

    Args:
      content: plain values; texts as keys, finite numbers.

    Example:
      >>> render({"step": 1})[:24]
      '{\n "step": 1,\n "~sha256"'
    """
    text = json.dumps(content, sort_keys=True, allow_nan=False)
    seal = hashlib.sha256(text.encode()).hexdigest()
    return json.dumps({**content, SEAL: seal}, indent=1, sort_keys=True) + "\n"


def read(path: Path, expected_format: int) -> dict[str, Any]:
    """The content of a document.

    Args:
      path: of the file.
      expected_format: the number that it must have as `format`.

    Raises:
      ForeignFormat: it is whole, but of another format.
      ValueError: it cannot be read, has no format, or is not what was written.
    """
    try:
        text = bounded.read(path, bounded.LARGEST_DOCUMENT).decode("ascii")
        content = bounded.parse_json(text)
        if not isinstance(content, dict):
            raise ValueError("it is no object")
        found = content.get("format")
        if found is None:
            raise ValueError("it has no format: another version or another program made it")
        foreign = type(found) is not int or found != expected_format
        content.pop(SEAL, None)
        if render(content) != text:
            raise ValueError("it is not what was written")
        if foreign:
            raise ForeignFormat(f"it has format {str(found)[:20]}, not {expected_format}")
    except RecursionError as error:
        raise ValueError("it is nested too deeply") from error
    return content
