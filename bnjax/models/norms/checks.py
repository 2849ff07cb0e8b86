"""What options of a normaliser cannot be."""

import math

from bnjax.errors import UsageError


def check_momentum(momentum: float) -> None:
    """Refuse an impossible weight of old running statistics."""
    if not 0 <= momentum < 1:
        raise UsageError(f"momentum={momentum} must be in [0, 1): give e.g. 0.9")


def check_epsilon(epsilon: float) -> None:
    """Refuse what would make a root of a negative number."""
    if not 0 <= epsilon < math.inf:
        raise UsageError(f"epsilon={epsilon} must be 0 or more and finite: give e.g. 1e-5")
