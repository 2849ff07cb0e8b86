"""The command line that makes a run again."""

import dataclasses
import shlex
from collections.abc import Mapping, Sequence
from typing import Any

from bnjax.runs.names import NOT_IN_DIGEST
from bnjax.storage.files import plain

PLACEHOLDERS = {"data_dir": "DIR", "published": "CSV"}
# Where a run lies and how it was watched is its owner's own business.
NOT_SAID = NOT_IN_DIGEST - {*PLACEHOLDERS, "yes"}
LONGEST = 200  # values of one option that are written down


def command(
    experiment: str, config: Mapping[str, Any], presets: Mapping[str, Any] | None = None
) -> str:
    """The command line of a run, shell-quoted.

    Args:
      experiment: its name.
      config: plain values of all options, as `config.json` has them.
      presets: of the experiment, by name; options that are theirs are left out. Without them every
        option is written down.

    Returns:
      `python experiments/landscape.py --lr 0.4`; folders and files of the person who ran it become
      `DIR` and `CSV`.
    """
    preset = str(config.get("preset", ""))
    base: Mapping[str, Any] = {}
    if presets:
        model = str(config.get("model", ""))
        names = (f"{preset} {model}", preset)
        chosen = next((presets[name] for name in names if name in presets), None)
        base = plain(dataclasses.asdict(chosen)) if chosen is not None else {}
    words = ["python", f"experiments/{experiment}.py"]
    if preset and preset != next(iter(presets or ()), ""):
        words += ["--preset", preset]
    if config.get("model") not in (
        None,
        base.get("model"),
    ) or f"{preset} {config.get('model')}" in (presets or {}):
        words += ["--model", str(config["model"])]
    for name, value in config.items():
        if name in NOT_SAID or name == "model" or (name in base and base[name] == value):
            continue
        words += option(name, value)
    return shlex.join(words)


def option(name: str, value: Any) -> Sequence[str]:
    """One option as words of a command line."""
    dashed = name.replace("_", "-")
    if value is None and name in PLACEHOLDERS:
        return ()
    if name in PLACEHOLDERS:
        return (f"--{dashed}", PLACEHOLDERS[name])
    if isinstance(value, bool):
        return (f"--{dashed}",) if value else (f"--no-{dashed}",)
    if isinstance(value, list | tuple):
        return (f"--{dashed}", *map(text, value[:LONGEST]))
    return (f"--{dashed}", text(value))


def text(value: Any) -> str:
    """A value as a command line has it."""
    return repr(value) if isinstance(value, float) else str(value)
