"""Files of a user's own that make further normalisers and networks known."""

import hashlib
import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path

from bnjax.errors import RunError, UsageError
from bnjax.frame import files

LARGEST = 2**20  # bytes


def load(paths: Iterable[Path]) -> None:
    """Run Python files that call `register` of `norms` or `models`, each once in a process.

    Args:
      paths: of the files; what they do they do with the user's own rights.

    Raises:
      UsageError: a path is no file.
      RunError: a file does not run.
    """
    for path in paths:
        (content,) = digests([path])
        name = f"bnjax_plugin_{content[:12]}"
        if name in sys.modules:
            continue
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise UsageError(f"--plugins {path}: is not a Python file: its name must end in .py")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        try:
            spec.loader.exec_module(module)
        except UsageError as error:
            del sys.modules[name]
            raise UsageError(f"--plugins {path}: {error}") from error
        except Exception as error:  # it is the user's own code: whatever it raises
            del sys.modules[name]
            raise RunError(f"--plugins {path} does not run: {error!r}; mend it") from error


def digests(paths: Iterable[Path]) -> list[str]:
    """The SHA-256 of what is in each file.

    Raises:
      UsageError: a path is no file, or one too large.
    """
    try:
        return [
            hashlib.sha256(files.read(path, LARGEST, follow=True)).hexdigest() for path in paths
        ]
    except ValueError as error:
        shown = " ".join(map(str, paths))
        raise UsageError(
            f"--plugins {shown}: is not a file ({error}): give one that registers a norm or a model"
        ) from error
