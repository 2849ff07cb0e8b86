"""The command line that makes a run again."""

import dataclasses
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bnjax.frame.files import plain
from bnjax.frame.folder import NOT_IN_DIGEST

PLACEHOLDERS = {"data_dir": "DIR", "published": "CSV"}
# Where a run lies and how it was watched is its owner's own business; `deterministic` decides the
# last bits on a GPU.
NOT_SAID = NOT_IN_DIGEST - {*PLACEHOLDERS, "yes", "deterministic"}
LONGEST = 200  # values of one option that are written down


def command(
    experiment: str,
    config: Mapping[str, Any],
    presets: Mapping[str, Any] | None = None,
    script: str = "",
) -> str:
    """The command line of a run, shell-quoted.

    Args:
      experiment: its name.
      config: plain values of all options, as `config.json` has them.
      presets: of the experiment, by name; options that are theirs are left out. Without them every
        option is written down.
      script: the file that has the experiment, as `runs.experiment.script` says it; one that is
        not of bnjax is called by its name.

    Returns:
      `bnjax landscape --lr 0.4`; folders and files of the person who ran it become `DIR` and
      `CSV`, of plugins the name stays.
    """
    preset = str(config.get("preset", ""))
    base: Mapping[str, Any] = {}
    if presets:
        model = str(config.get("model", ""))
        names = (f"{preset} {model}", preset)
        chosen = next((presets[name] for name in names if name in presets), None)
        base = plain(dataclasses.asdict(chosen)) if chosen is not None else {}
    own = script and not script.startswith("bnjax/studies/")
    words = ["python", script.rpartition(" ")[0]] if own else ["bnjax", experiment]
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
    if name == "plugins":
        return (f"--{dashed}", *file_names(value)[:LONGEST])
    if isinstance(value, bool):
        return (f"--{dashed}",) if value else (f"--no-{dashed}",)
    if isinstance(value, list | tuple):
        return (f"--{dashed}", *map(text, value[:LONGEST]))
    return (f"--{dashed}", text(value))


def file_names(paths: Any) -> list[str]:
    """Files without the folders of the person who has them."""
    given = paths if isinstance(paths, list | tuple) else [paths]
    return [Path(str(path)).name for path in given]


def text(value: Any) -> str:
    """A value as a command line has it."""
    return repr(value) if isinstance(value, float) else str(value)
