"""A normaliser, or none, followed by noise that shifts every distribution anew at each step."""

import flax.linen as nn
from jaxtyping import Array, Float

from bnjax.arithmetic.noise import NoiseScale, draw_noise
from bnjax.errors import UsageError
from bnjax.models.norms.norm import Norm


class Noisy(nn.Module):
    """Noise on what `inner` makes of the layer's output; without noise when not training.

    The random numbers come from the stream `noise`: `Model.apply(..., key=...)`.

    Source: Santurkar et al. 2018, Algorithm 1.
    """

    inner: Norm
    strength: NoiseScale

    @nn.compact
    def __call__(
        self, x: Float[Array, "*batch channels"], *, train: bool
    ) -> Float[Array, "*batch channels"]:
        """Normalise and disturb `x`."""
        if self.inner.build is not None:
            x = self.inner.build(name="inner")(x, train=train)
        if not train:
            return x
        if not self.has_rng("noise"):
            raise UsageError(
                "this normaliser draws random numbers when training: give Model.apply a key= "
                "(of the step, so that all probes of a step see the same noise)"
            )
        noise = draw_noise(self.make_rng("noise"), x.shape, x.dtype, self.strength)
        return noise.scale * x + noise.shift
