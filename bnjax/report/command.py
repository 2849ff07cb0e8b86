"""The command line that repeats a run."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bnjax.errors import UsageError
from bnjax.frame.files import plain
from bnjax.frame.folder import NOT_IN_DIGEST
from bnjax.frame.study import Study

PLACEHOLDERS = {"data_dir": "DIR", "published": "CSV"}
# Folders and display belong to the person who ran it; `deterministic` decides the last bits on a
# GPU.
LEFT_OUT = NOT_IN_DIGEST - {*PLACEHOLDERS, "yes", "deterministic"} | {"model"}
MOST_VALUES = 200  # of one option


def command(name: str, options: Mapping[str, Any], study: Study | None, script: str = "") -> str:
    """The command line of a run, shell-quoted: `bnjax landscape --lr 0.4`.

    Args:
      name: of the study.
      options: plain values of all options, as `config.json` has them.
      study: its presets' values are left out; without it every option is written down.
      script: as `Study.script` has it; a file that is not of bnjax is called by its name.

    Returns:
      A line in which `DIR` and `CSV` stand for folders and files of the person who ran it; plugins
      keep the names of their files.
    """
    preset, model = str(options.get("preset", "")), str(options.get("model", ""))
    presets = study.presets if study is not None else {}
    base: Mapping[str, Any] = {}
    if study is not None:
        try:
            base = plain(vars(study.preset(preset, model)))
        except (UsageError, TypeError):  # a preset of another version
            presets = {}
    foreign = script and not script.startswith("bnjax/studies/")
    line = ["python", script.rpartition(" ")[0]] if foreign else ["bnjax", name]
    if preset and preset != next(iter(presets), ""):
        line += ["--preset", preset]
    if model and (model != base.get("model") or f"{preset} {model}" in presets):
        line += ["--model", model]
    for option, value in options.items():
        own = words(option, value)
        if option not in LEFT_OUT and not (option in base and own == words(option, base[option])):
            line += own
    return shlex.join(line)


def words(name: str, value: Any) -> list[str]:
    """One option as words of a command line; a list of one value is that value."""
    dashed = name.replace("_", "-")
    if name in PLACEHOLDERS:
        return [] if value is None else [f"--{dashed}", PLACEHOLDERS[name]]
    if isinstance(value, bool):
        return [f"--{dashed}" if value else f"--no-{dashed}"]
    values = file_names(value) if name == "plugins" else value
    values = values if isinstance(values, list | tuple) else [values]
    texts = (repr(one) if isinstance(one, float) else str(one) for one in values[:MOST_VALUES])
    return [f"--{dashed}", *texts]


def file_names(paths: Any) -> list[str]:
    """Files without the folders of the person who has them."""
    given = paths if isinstance(paths, list | tuple) else [paths]
    return [Path(str(path)).name for path in given]
