"""What a normaliser is to a model."""

from collections.abc import Callable
from typing import NamedTuple

import flax.linen as nn


class Norm(NamedTuple):
    """A named constructor of normalisation modules; `build` is None for no normalisation."""

    name: str
    build: Callable[..., nn.Module] | None
