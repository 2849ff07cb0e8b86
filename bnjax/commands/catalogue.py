"""The experiments, by the names of their scripts."""

import ast
import importlib.util
import re
import sys
from pathlib import Path
from types import ModuleType

from bnjax.errors import RunError
from bnjax.runs.experiment import PLACES, Experiment

SCRIPTS = next(filter(Path.is_dir, PLACES), PLACES[0])
NAME = re.compile(r"[a-z][a-z0-9_]{0,40}")


def names() -> list[str]:
    """The names of all scripts, in the order of the alphabet."""
    return sorted(path.stem for path in SCRIPTS.glob("*.py") if NAME.fullmatch(path.stem))


def sentence(name: str) -> str:
    """What a script is for: the first line of its docstring; nothing of it is run."""
    tree = ast.parse((SCRIPTS / f"{name}.py").read_text(encoding="utf-8"))
    return (ast.get_docstring(tree) or "").split("\n", 1)[0]


def load(name: str) -> ModuleType:
    """The module of a script.

    Raises:
      RunError: no script has that name.
    """
    script = SCRIPTS / f"{name}.py"
    if not NAME.fullmatch(name) or not script.is_file():
        raise RunError(
            f"no experiment is named {name!r}: there are {', '.join(names())}; one of your own is "
            "called, and goes on, by its own script"
        )
    own = f"bnjax_experiment_{name}"
    if own not in sys.modules:
        spec = importlib.util.spec_from_file_location(own, script)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        sys.modules[own] = module
        spec.loader.exec_module(module)
    return sys.modules[own]


def find_experiment(name: str) -> Experiment:
    """The experiment of a name, from its script.

    Raises:
      RunError: there is none.
    """
    experiment, known = getattr(load(name), "EXPERIMENT", None), ", ".join(names())
    if not isinstance(experiment, Experiment) or experiment.name != name:
        raise RunError(f"{SCRIPTS / name}.py has no experiment of that name: there are {known}")
    return experiment
