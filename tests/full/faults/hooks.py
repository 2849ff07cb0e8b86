"""Changes to a study that make a fault possible, or a trial short."""

import dataclasses
from typing import Any

from bnjax.draw import Drawing
from bnjax.studies import landscape
from faults.memory import shortage
from faults.phases import pause
from faults.soak import soak

__all__ = ["pause", "shortage", "small_figure", "soak"]


def small_figure(faults: dict[str, Any]) -> None:
    """One curve instead of all panels: the real figures are three fifths of a toy run's time."""

    def figure(run: Any, published: Any) -> Drawing:
        drawing = Drawing("landscape", size=(2.0, 1.5))
        loss = run["train_loss"].values.reshape(-1)
        drawing.panels[0].line(range(len(loss)), loss, "loss")
        return drawing

    parts = {**landscape.STUDY.parts, "FIGURES": (figure,)}
    landscape.STUDY = dataclasses.replace(landscape.STUDY, parts=parts)
