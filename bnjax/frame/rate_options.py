"""The options of experiments that run every arm at several learning rates."""

import dataclasses
import math
from typing import Any

from bnjax.errors import UsageError
from bnjax.frame.config import RunConfig
from bnjax.frame.requirements import require_rates


@dataclasses.dataclass(frozen=True, kw_only=True)
class RatesConfig(RunConfig):
    """Options with --lrs in place of --lr."""

    lrs: tuple[float, ...] = (0.1, 0.01)
    """Learning rates; each normaliser runs at each."""
    lr: float = math.nan
    """Not for this experiment: give --lrs, one or several."""

    def validate(self) -> None:
        """Refuse impossible values."""
        if not math.isnan(self.lr):
            raise UsageError(f"--lr {self.lr:g} is not for this experiment: give --lrs {self.lr:g}")
        require_rates(self.lrs)
        super(RatesConfig, dataclasses.replace(self, lr=self.lrs[0])).validate()

    @property
    def arm_axes(self) -> dict[str, tuple[Any, ...]]:
        """Every normaliser at every learning rate."""
        return {"norm": self.norms, "lr": self.lrs}
