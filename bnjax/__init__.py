"""bnjax: a microscope for normalisation.

Probes are pure functions of `loss(params) -> scalar`; models, data, training and studies are
there to feed them, each usable without the next. Each part is imported when it is first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bnjax import data, losses, models, probes, train
    from bnjax.commands.command_line import start
    from bnjax.draw.measured import plot
    from bnjax.fields import to_dataframe, to_xarray
    from bnjax.models import norms
    from bnjax.probes.audit import audit
    from bnjax.recorder import watch

__version__ = "0.2.0"
PARTS = {name: f"bnjax.{name}" for name in ("data", "losses", "models", "probes", "train")}
PARTS |= {"norms": "bnjax.models.norms"}
FUNCTIONS = {
    "audit": "bnjax.probes.audit",
    "plot": "bnjax.draw.measured",
    "start": "bnjax.commands.command_line",
    "to_dataframe": "bnjax.fields",
    "to_xarray": "bnjax.fields",
    "watch": "bnjax.recorder",
}
__all__ = [
    "audit", "data", "losses", "models", "norms", "plot", "probes", "start", "to_dataframe",
    "to_xarray", "train", "watch",
]  # fmt: skip


def __getattr__(name: str) -> Any:
    if name in FUNCTIONS:
        return getattr(importlib.import_module(FUNCTIONS[name]), name)
    if name not in PARTS:
        raise AttributeError(f"module 'bnjax' has no attribute {name!r}")
    return importlib.import_module(PARTS[name])


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
