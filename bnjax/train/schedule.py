"""When to probe, evaluate or save: functions of the step."""

from collections.abc import Callable

from bnjax.errors import UsageError


def every(interval: int, *, last: int | None = None) -> Callable[[int], bool]:
    """True at steps 0, interval, 2·interval, …, and at `last` if it is given.

    Args:
      interval: in steps, 1 or more.
      last: a step that counts in any case, e.g. the last one.

    Returns:
      A function of the step, counted from 0.

    Raises:
      UsageError: the interval is below 1.

    Example:
      >>> [step for step in range(6) if every(2, last=5)(step)]
      [0, 2, 4, 5]
    """
    if interval < 1:
        raise UsageError(f"interval {interval} must be 1 step or more")
    return lambda step: step % interval == 0 or step == last
