"""The type aliases of bnjax: what an argument's shape and dtype must be, in one place.

Shapes are checked when the tests run (jaxtyping and beartype), and cost nothing otherwise.
"""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from jaxtyping import Array, Bool, Float, Int, Key, UInt8

PyTree: TypeAlias = Any
Params: TypeAlias = Any  # a pytree of floating-point arrays
BatchStats: TypeAlias = Any  # running statistics, a pytree; {} where a model has none
Scalar: TypeAlias = Float[Array, ""]
Loss: TypeAlias = Callable[[Any], Any]  # params -> scalar
PRNGKey: TypeAlias = Key[Array, ""]
Images: TypeAlias = Float[Array, "batch height width channels"]
# Grey levels 0 … 255, or floating-point inputs that are used as they are.
Pixels: TypeAlias = (
    UInt8[Array, "num_images height width channels"]
    | Float[Array, "num_images height width channels"]
)
Labels: TypeAlias = Int[Array, " batch"] | Float[Array, "batch num_classes"]  # or targets
Logits: TypeAlias = Float[Array, "batch num_classes"]
Points: TypeAlias = Float[Array | np.ndarray, " num_step_sizes"]
Flag: TypeAlias = Bool[Array, ""]
Index: TypeAlias = Int[Array, ""]
