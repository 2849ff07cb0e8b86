"""bnjax: a microscope for normalisation.

Probes are pure functions of `loss(params) -> scalar`; models, data, training and studies are
there to feed them, each usable without the next. Each part is imported when it is first used.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from bnjax import data, losses, models, probes, train
    from bnjax.commands.command_line import start
    from bnjax.models import norms

__version__ = "0.2.0"
__all__ = ["data", "losses", "models", "norms", "probes", "start", "train"]

HOMES = {"norms": "bnjax.models.norms", "start": "bnjax.commands.command_line"}


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'bnjax' has no attribute {name!r}")
    module = importlib.import_module(HOMES.get(name, f"bnjax.{name}"))
    return getattr(module, name) if name == "start" else module


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
