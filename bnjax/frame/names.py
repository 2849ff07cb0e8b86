"""The names of run folders, and of what is in them for each arm."""

import dataclasses
import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from bnjax.frame import conduct, plugins
from bnjax.frame.files import plain

LONGEST_NAME = 100
# How a run is carried out does not change its results, nor does where the data lie. What devices
# change in the last bits is in the fingerprint.
NOT_IN_DIGEST = conduct.NAMES | {"preset", "data_dir", "yes"}


def digest(config: Any) -> str:
    """Twelve hexadecimal digits that name a configuration.

    Args:
      config: a frozen dataclass of plain values; the fields in `NOT_IN_DIGEST` do not count. A
        file that it names in `plugins` counts with what is in it.
    """
    return digest_of(dataclasses.asdict(config), plugins.digests(getattr(config, "plugins", ())))


def digest_of(options: Mapping[str, Any], plugin_digests: Sequence[str]) -> str:
    """The digest of a configuration whose options are plain values, from a file or not."""
    fields = {key: plain(value) for key, value in options.items() if key not in NOT_IN_DIGEST}
    fields["plugins"] = list(plugin_digests)
    return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()[:12]


def safe_name(values: Iterable[object]) -> str:
    """One file name for some values, other names for others, none that leaves its folder.

    Args:
      values: e.g. of an arm's factors; letters, digits and `_+.=` stay as they are.

    Example:
      >>> safe_name(("batch", 0.1, 0)), safe_name(("../x", 0))
      ('batch-0.1-0', '%2E%2E%2Fx-0')
    """
    name = "-".join(map(str, values))
    if re.match(r"\.", name) or not re.fullmatch(r"[A-Za-z0-9_+.=-]+", name):
        name = "".join(
            character
            if re.fullmatch(r"[A-Za-z0-9_+=-]", character)
            else "".join(f"%{byte:02X}" for byte in character.encode("utf-8", "surrogatepass"))
            for character in name
        )
    if len(name) > LONGEST_NAME:
        name = f"{name[: LONGEST_NAME - 13]}%{hashlib.sha256(name.encode()).hexdigest()[:12]}"
    return name


def original_name(folder: Path) -> str:
    """The name that a folder had before it was set aside."""
    return re.sub(r"\.old[0-9]+$", "", folder.name)
