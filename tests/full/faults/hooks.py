"""Changes to an experiment that make a fault possible, or a trial short."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bnjax.draw import style
from bnjax.studies.landscape import study as landscape
from faults.memory import shortage
from faults.phases import pause
from faults.soak import soak

__all__ = ["pause", "shortage", "small_figure", "soak"]


def small_figure(faults: dict[str, Any]) -> None:
    """One curve instead of six panels: the real figures are three fifths of a toy run's time."""

    def draw(results: Any, published: Any, folder: Path) -> Sequence[Path]:
        with style.figure(1, 1, size=(2.0, 1.5)) as (drawn, panels):
            panels[0].plot(results.arrays["train.loss"].reshape(-1))
            return style.save(drawn, folder, "landscape")

    landscape.EXPERIMENT = landscape.EXPERIMENT._replace(draw=draw)
