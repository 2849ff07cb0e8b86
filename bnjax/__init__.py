"""bnjax: a microscope for normalisation.

Probes are pure functions of `loss(params) -> scalar`; models, data, training and experiments are
there to feed them, each usable without the next.
"""

from bnjax import data, losses, models, probes, train
from bnjax.models import norms

__version__ = "0.1.0"
__all__ = ["data", "losses", "models", "norms", "probes", "train"]
