"""The two errors a person can cause: a wrong call, and a world that is not as the call needs it.

Every message is one line that names the value, what is legal, and the remedy.
"""

import contextlib
from collections.abc import Container, Iterator


class UsageError(ValueError):
    """An option or argument has an impossible value (exit status 2 on the command line)."""


class RunError(RuntimeError):
    """A file, data set or run folder is not as it must be (exit status 1)."""


# What the extras of bnjax bring, by the names that are imported.
BROUGHT = frozenset({
    "array_record", "filelock", "flax", "jinja2", "matplotlib", "mnist1d", "pandas", "PIL",
    "plotly", "rich", "sklearn", "tensorflow_datasets", "tyro", "xarray", "yaml",
})  # fmt: skip


class MissingPackage(RunError, ImportError):
    """A package that is not installed; the message has the command that installs it.

    Example:
      >>> raise MissingPackage("xarray", "plot")
      Traceback (most recent call last):
      bnjax.errors.MissingPackage: xarray is not installed: pip install "bnjax[plot]"
    """

    def __init__(self, package: str, extra: str) -> None:
        super().__init__(f'{package} is not installed: pip install "bnjax[{extra}]"')


@contextlib.contextmanager
def needs(extra: str) -> Iterator[None]:
    """Turn an import that fails inside the block into a `MissingPackage` of this extra.

    A package that no extra brings, as of a study of somebody else, stays the error that it is.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        package = (error.name or "").partition(".")[0]
        if package not in BROUGHT:
            raise
        raise MissingPackage(package, extra) from error


def told(error: BaseException, most: int = 200) -> str:
    r"""What somebody else's error says, in one line; its type where it says nothing.

    Example:
      >>> told(ValueError("no such file:\n  a"))
      'no such file: a'
    """
    return " ".join(str(error).split())[:most] or type(error).__name__


def require_new_name(kind: str, name: str, known: Container[str]) -> None:
    """Refuse a name that is taken, or is not of letters, digits and underscores.

    It becomes part of options, captions and file names.

    Example:
      >>> require_new_name("norm", "batch", {"batch"})
      Traceback (most recent call last):
      bnjax.errors.UsageError: norm 'batch' is known already: choose another name
    """
    if not (name.isidentifier() and name.isascii()):
        raise UsageError(f"{kind} name {name!r} must be of letters, digits and underscores")
    if name in known:
        raise UsageError(f"{kind} {name!r} is known already: choose another name")


def require(option: str, value: object, legal: bool, expected: str) -> None:
    """Raise a `UsageError` that names option, value and remedy unless `legal`.

    Args:
      option: as it is typed, e.g. `--lr`.
      value: what was given.
      legal: whether it may be that.
      expected: what it must be, e.g. `above 0`.

    Raises:
      UsageError: the value is not legal.

    Example:
      >>> require("--lr", -1, legal=False, expected="above 0, e.g. 0.1")
      Traceback (most recent call last):
      bnjax.errors.UsageError: --lr -1: must be above 0, e.g. 0.1
    """
    if not legal:
        raise UsageError(f"{option} {value}: must be {expected}")
