"""The two errors a person can cause: a wrong call, and a world that is not as the call needs it.

Every message is one line that names the value, what is legal, and the remedy.
"""


class UsageError(ValueError):
    """An option or argument has an impossible value (exit status 2 on the command line)."""


class RunError(RuntimeError):
    """A file, data set or run folder is not as it must be (exit status 1)."""


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
