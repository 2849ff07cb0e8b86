"""The options of experiments that count the steps of a training curve to a target."""

import dataclasses
import math

from bnjax.errors import require
from bnjax.frame.config import RunConfig


@dataclasses.dataclass(frozen=True, kw_only=True)
class TargetConfig(RunConfig):
    """The options of a target."""

    target_accuracy: float = 0.9
    """Training accuracy, above 0 and at most 1, to which steps are counted."""
    target_loss: float | None = None
    """Training loss to which steps are counted, in place of --target-accuracy."""
    window: int = 11
    """Training loss and accuracy are medians over so many last minibatches."""

    def validate(self) -> None:
        """Refuse impossible values."""
        super().validate()
        accuracy, loss = self.target_accuracy, self.target_loss
        require("--target-accuracy", accuracy, 0 < accuracy <= 1, "above 0 and at most 1, e.g. 0.9")
        positive = loss is None or 0 < loss < math.inf
        require("--target-loss", loss, positive, "above 0 and finite, e.g. 0.5")
        known = loss is not None or self.model != "dln"
        require("--target-loss", loss, known, "a number, e.g. 5000: there is no accuracy here")
        require("--window", self.window, 1 <= self.window <= self.steps, f"from 1 to {self.steps}")
