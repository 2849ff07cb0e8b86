"""What the published curves of the VGG tell of their setting: the first points, and the penalty."""

from typing import NamedTuple

import numpy as np

from bnjax.frame.published_curves import Curve, Published

NUMBER_NAMES = (
    "loss, lower edge",
    "loss, upper edge",
    "loss, width of the band",
    "‖g(η) − g‖, lower edge",
    "‖g(η) − g‖, upper edge",
    "β, greatest",
)
LOSS, DISTANCE, SMOOTHNESS = PANELS = ("fig12b_vgg_loss", "fig12c_vgg_gradpred", "fig12d_vgg_beta")
WINDOW = (6000, 9000)  # steps in which the data are fitted and the loss is the penalty alone
RATE = 0.1  # the published learning rate


class Penalty(NamedTuple):
    """A penalty C · Σ kernel² read off the lower edge of a loss band."""

    slope: float  # of the logarithm of the loss, per step
    coefficient: float  # C
    start: float  # C · Σ kernel² before the first step, extrapolated


def first_numbers(published: Published) -> dict[str, tuple[float, ...]]:
    """The numbers of `NUMBER_NAMES` at the first point of the curves, by normaliser."""
    found = {}
    for _, norm in (key for key in published if key[0] == LOSS):
        if all((panel, norm) in published for panel in PANELS):
            loss, distance, smoothness = (published[panel, norm] for panel in PANELS)
            low, high = loss.low[0], loss.high[0]
            own = (low, high, high - low, distance.low[0], distance.high[0], smoothness.high[0])
            found[norm] = tuple(map(float, own))
    return found


def penalty(curve: Curve) -> Penalty:
    r"""The penalty of a loss band, from a straight line through ln(lower edge) in `WINDOW`.

    Where the data are fitted the loss is the penalty alone, and plain SGD shrinks every kernel by
    1 − 2 · C · lr a step. So the penalty falls by 4 · C · lr a step: C = −slope / (4 · lr).

    Example:
      >>> steps = np.arange(0.0, 15_000, 100)
      >>> edge = 2 * np.exp(-8e-5 * steps)
      >>> found = penalty(Curve(steps, edge, edge))
      >>> f"{found.coefficient:.3g} {found.start:.3g}"
      '0.0002 2'
    """
    inside = (curve.steps >= WINDOW[0]) & (curve.steps <= WINDOW[1])
    slope, start = np.polyfit(curve.steps[inside], np.log(curve.low[inside]), 1)
    return Penalty(float(slope), float(-slope / (4 * RATE)), float(np.exp(start)))
