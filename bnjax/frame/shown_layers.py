"""Options of the experiments that show some layers' activations."""

import dataclasses

from bnjax.errors import require
from bnjax.frame.config import RunConfig
from bnjax.frame.requirements import require_layers


@dataclasses.dataclass(frozen=True, kw_only=True)
class ShownLayersConfig(RunConfig):
    """A run that shows the activations of some layers, and those of one of their units."""

    layers: tuple[str, ...] = ("conv3", "conv7")
    """Layers whose activations are shown."""
    unit: int = 0
    """Unit (channel) whose own percentiles are taken."""

    def validate(self) -> None:
        """Refuse impossible values."""
        super().validate()
        require("--unit", self.unit, self.unit >= 0, "0 or more")
        distinct = len(set(self.layers)) == len(self.layers) > 0
        require("--layers", " ".join(self.layers), distinct, "one or more different layers")
        require_layers("--layers", self.layers, self)
