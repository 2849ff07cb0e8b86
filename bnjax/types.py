"""The type aliases of bnjax: what an argument's shape and dtype must be, in one place.

Shapes are checked when the tests run (jaxtyping and beartype), and cost nothing otherwise.
"""

from collections.abc import Callable
from typing import Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from jaxtyping import Array, Bool, Float, Int, Integer, Key, UInt8

PyTree: TypeAlias = Any
Params: TypeAlias = Any  # a pytree of floating-point arrays
BatchStats: TypeAlias = Any  # running statistics, a pytree; {} where a model has none
Scalar: TypeAlias = Float[Array, ""]
Loss: TypeAlias = Callable[[Any], Any]  # params -> scalar
PRNGKey: TypeAlias = Key[Array, ""]
Images: TypeAlias = Float[Array, "batch height width channels"]
# What a model takes: images, or whole numbers such as tokens.
Inputs: TypeAlias = Float[Array, " batch *example"] | Integer[Array, " batch *example"]
# Grey levels 0 … 255; floating-point inputs or tokens, which are used as they are.
Pixels: TypeAlias = (
    UInt8[Array, "num_images height width channels"]
    | Float[Array, "num_images height width channels"]
    | Int[Array, "num_images length"]
)
# Classes, of an example or of each position in it; or targets, or shares of classes.
Labels: TypeAlias = Int[Array, " batch *positions"] | Float[Array, "batch *positions num_classes"]
Logits: TypeAlias = Float[Array, "batch *positions num_classes"]
Points: TypeAlias = Float[Array | np.ndarray, " num_step_sizes"]
Flag: TypeAlias = Bool[Array, ""]
Index: TypeAlias = Int[Array, ""]


@runtime_checkable
class Network(Protocol):
    """All that a loss on a batch asks of a model; `bnjax.models.Model` says what arguments are."""

    def apply(
        self,
        params: Params,
        batch_stats: BatchStats,
        images: Inputs,
        *,
        train: bool,
        key: PRNGKey | None = None,
    ) -> tuple[Logits, BatchStats]:
        """Logits, and the running statistics after this batch."""

    def moments(
        self,
        params: Params,
        batch_stats: BatchStats,
        images: Inputs,
        *,
        key: PRNGKey | None = None,
    ) -> BatchStats:
        """The statistics of this very batch, in the structure of `batch_stats`."""
