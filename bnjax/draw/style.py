"""One look for all figures: legible in print, in grey and to the colour-blind."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import matplotlib
import matplotlib.style


class Look(NamedTuple):
    """How an arm is drawn: hue and, for prints in grey, line, marker and hatch differ too."""

    colour: str
    line: str | tuple
    marker: str
    hatch: str
    label: str


# For normalisers of a user's own, in the order in which a figure asks for them.
SPARE_COLOURS = ("#999933", "#AA4499", "#661100", "#5891C8")
SPARE_LINES = ("-.", (0, (5, 1)), ":", (0, (3, 1, 1, 1)))


class Looks(dict[str, Look]):
    """Looks by the normaliser's name; an unknown name gets the next spare look."""

    def __missing__(self, name: str) -> Look:
        count = sum(look.hatch == "oo" for look in self.values())
        turn, colour = divmod(count, len(SPARE_COLOURS))
        other = (colour + turn) % len(SPARE_LINES)  # 16 looks, no two alike
        look = Look(SPARE_COLOURS[colour], SPARE_LINES[other], "*<>h"[other], "oo", name)
        self[name] = look
        return look


# Okabe & Ito's palette for the colour-blind, then Tol's muted hues, dark enough for white paper.
LOOKS = Looks(
    none=Look("#D55E00", "--", "o", "////", "no normalisation"),
    batch=Look("#0072B2", "-", "s", "", "BatchNorm"),
    l1=Look("#009E73", "-.", "^", "....", "ℓ₁ norm"),
    l2=Look("#CC79A7", (0, (5, 1)), "v", "xxxx", "ℓ₂ norm"),
    linf=Look("#E69F00", (0, (3, 1, 1, 1)), "D", "\\\\\\\\", "ℓ∞ norm"),
    noisy_batch=Look("#56B4E9", (0, (1, 1)), "P", "....", "BatchNorm + noise"),
    noise=Look("#000000", ":", "X", "xxxx", "noise alone"),
    layer=Look("#332288", (0, (5, 1)), "^", "++", "LayerNorm"),
    group=Look("#117733", "-.", "v", "--", "GroupNorm"),
    instance=Look("#5A98A7", (0, (3, 1, 1, 1)), "D", "||", "InstanceNorm"),
    rms=Look("#882255", ":", "<", "**", "RMSNorm"),
    unitize=Look("#2A9682", (0, (7, 2)), "P", "////", "Unitization"),
    weight_standard=Look("#9A9473", (0, (1, 1)), "X", "....", "weight standardisation"),
    weight_norm=Look("#E06D68", "-.", "h", "xxxx", "weight normalisation"),
)
PLAIN = Look("#000000", "-", "o", "", "")  # of a series that is no arm's
PUBLISHED = "published"  # in the names of series
PUBLISHED_NOTE = "thin lines: published"
GREY_DASHES: dict[str, Any] = {"color": "0.35", "linestyle": (0, (6, 2)), "linewidth": 0.9}
RC: Any = {
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 10,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.5,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "figure.dpi": 100,
    "savefig.dpi": 150,
    "pdf.fonttype": 42,
    "svg.hashsalt": "bnjax",  # the same names of clips and hatches each time
    "svg.fonttype": "path",  # looks the same wherever it is shown; no font of the reader is needed
    "hatch.linewidth": 0.4,
}


@contextmanager
def styled() -> Iterator[None]:
    """This look, whatever a `matplotlibrc` or a notebook has set; also a decorator.

    Every method of `Panel` and `Drawing` enters it. Enter it yourself around direct calls of
    `panel.axes`, and around a whole figure to save a millisecond a call.
    """
    if matplotlib.rcParams["svg.hashsalt"] == RC["svg.hashsalt"]:
        yield
    else:
        with matplotlib.style.context(["default", RC]):
            yield


def shades(count: int) -> list[tuple[float, float, float, float]]:
    """Colours from dark to light for steps in their order; in grey their lightness still rises."""
    return [matplotlib.colormaps["viridis"](0.9 * i / max(1, count - 1)) for i in range(count)]
