"""Numbers along axes: plain ones on short logarithmic axes, whole ones along training steps."""

import math

import numpy as np
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.ticker import AutoLocator, LogLocator, MaxNLocator, NullFormatter

STEP = "training step"  # the label of axes along which there are whole numbers only


def finish(drawn: Figure) -> None:
    """Mend the ticks of all axes that a figure has not set itself."""
    for panel in drawn.axes:
        for axis in (panel.xaxis, panel.yaxis):
            locator = axis.get_major_locator()
            low, high = sorted(axis.get_view_interval())
            if axis.get_scale() == "log" and type(locator) is LogLocator:
                if (
                    getattr(axis.get_transform(), "base", 0) == 10
                    and low > 0
                    and decades(low, high) < 2
                ):
                    plain_log_ticks(axis)
            elif axis.get_label_text() == STEP and isinstance(locator, AutoLocator):
                axis.set_major_locator(MaxNLocator("auto", steps=[1, 2, 5, 10], integer=True))


def decades(low: float, high: float) -> int:
    """How many powers of ten lie between two positive numbers, themselves included."""
    return math.floor(math.log10(high)) - math.ceil(math.log10(low)) + 1


def plain_log_ticks(axis: Axis) -> None:
    """Plain numbers on a logarithmic axis: 1, 2, 5 of each decade, more on a short axis."""
    low, high = sorted(axis.get_view_interval())
    axis.set_major_locator(LogLocator(subs=parts(low, high)))
    axis.set_major_formatter(lambda value, _: f"{value:.3g}")
    axis.set_minor_formatter(NullFormatter())


def log_ticks(low: float, high: float) -> list[float]:
    """The numbers that stand along an axis of logarithms, from least to greatest."""
    subs = [1.0] if decades(low, high) >= 2 else parts(low, high)
    found = np.asarray(LogLocator(subs=subs).tick_values(low, high))
    return found[(found >= low) & (found <= high)].tolist()


def parts(low: float, high: float) -> list[float]:
    """Multiples of powers of ten that stand along an axis, the more the shorter it is."""
    if high > 8 * low:
        return [1.0, 2.0, 5.0]
    return np.arange(1, 10, 1.0 if high > 3 * low else 0.2).tolist()
