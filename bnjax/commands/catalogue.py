"""The experiments and the commands that have a module of their own, by name."""

import ast
import importlib
import re
from types import ModuleType

from bnjax.errors import RunError
from bnjax.frame.experiment import PACKAGE, STUDIES, Experiment

SCRIPTS = ("report", "reproduce")
NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")


def names() -> list[str]:
    """The names of all experiments and scripts, in the order of the alphabet."""
    studies = (path.parent.name for path in STUDIES.glob("*/study.py"))
    return sorted((*filter(NAME.fullmatch, studies), *SCRIPTS))


def sentence(name: str) -> str:
    """What it is for: the first line of its docstring; nothing of it is run."""
    path = PACKAGE / f"commands/{name}.py" if name in SCRIPTS else STUDIES / name / "study.py"
    return (ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or "").split("\n", 1)[0]


def load(name: str) -> ModuleType:
    """The module of a name.

    Raises:
      RunError: nothing has that name.
    """
    if not NAME.fullmatch(name) or name not in names():
        raise RunError(
            f"no experiment is named {name!r}: there are {', '.join(names())}; one of your own is "
            "called, and goes on, by its own script"
        )
    home = f"bnjax.commands.{name}" if name in SCRIPTS else f"bnjax.studies.{name}.study"
    return importlib.import_module(home)


def find_experiment(name: str) -> Experiment:
    """The experiment of a name.

    Raises:
      RunError: there is none.
    """
    experiment, known = getattr(load(name), "EXPERIMENT", None), ", ".join(names())
    if not isinstance(experiment, Experiment) or experiment.name != name:
        raise RunError(f"{name} is no experiment: there are {known}")
    return experiment
