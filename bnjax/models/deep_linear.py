"""The deep linear network of Santurkar et al. 2018: a product of square matrices."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn

from bnjax.errors import UsageError
from bnjax.models import initializers
from bnjax.models.layers import Dense
from bnjax.models.model import Model
from bnjax.models.norms import Norm
from bnjax.types import Images, Logits


class DeepLinear(nn.Module):
    """Square layers without bias or non-linearity, each with its normaliser behind it."""

    depth: int
    width: int
    norm: Norm
    kernel_init: Callable[..., Any]

    @nn.compact
    def __call__(self, images: Images, *, train: bool) -> Logits:
        """Inputs `[batch, 1, 1, width]` to outputs `[batch, width]`."""
        x = images.reshape(images.shape[0], -1)
        for index in range(1, self.depth + 1):
            name = f"dense{index}"
            layer = Dense(self.width, self.norm, self.kernel_init, use_bias=False, name=name)
            x = layer(x, train=train)
        return x


def deep_linear(
    *, norm: Norm, depth: int = 25, width: int = 10, initializer: str = "glorot_uniform"
) -> Model:
    r"""The network $W_k \cdots W_1 x$, with any normaliser behind every layer.

    Args:
      norm: normaliser, e.g. `bnjax.norms.batch_norm()`.
      depth: number k of layers; the paper's is 25.
      width: of inputs, layers and outputs; the paper's is 10.
      initializer: name of the kernel initialiser; the paper's is Glorot's.

    Returns:
      A `Model`; its layers are `dense1` … `dense<depth>` whatever the normaliser.

    Raises:
      UsageError: depth or width below 1, or unknown initialiser.

    Source: Santurkar et al. 2018, appendix A.1.

    Example:
      >>> from bnjax.models import norms
      >>> import jax, jax.numpy as jnp
      >>> model = deep_linear(norm=norms.none(), depth=3)
      >>> list(model.init(jax.random.key(0), jnp.zeros((1, 1, 1, 10)))["params"])
      ['dense1', 'dense2', 'dense3']
    """
    if depth < 1 or width < 1:
        raise UsageError(f"depth={depth} and width={width} must be 1 or more: give e.g. 25 and 10")
    return Model(DeepLinear(depth, width, norm, initializers.by_name(initializer)))
