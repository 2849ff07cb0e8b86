"""What every constructor of a network refuses."""

from bnjax.errors import UsageError

MOST_WIDTH = 16.0


def check_size(num_classes: int, width: float, dropout: float) -> None:
    """Refuse a network that cannot be or that nobody means.

    Args:
      num_classes: number of logits.
      width: factor on channels or units.
      dropout: share of features that are dropped.

    Raises:
      UsageError: fewer than two classes, a width outside (0, 16], a share outside [0, 1).

    Example:
      >>> check_size(10, -1.0, 0.0)
      Traceback (most recent call last):
      bnjax.errors.UsageError: width=-1.0 must be above 0 and at most 16: 1.0 is the full network
    """
    if num_classes < 2:
        raise UsageError(f"num_classes={num_classes} must be 2 or more")
    if not 0 < width <= MOST_WIDTH:
        raise UsageError(
            f"width={width} must be above 0 and at most {MOST_WIDTH:g}: 1.0 is the full network"
        )
    if not 0 <= dropout < 1:
        raise UsageError(f"dropout={dropout} must be 0 or more and below 1: give e.g. 0.5")
