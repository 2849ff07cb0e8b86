"""A normaliser, or none, followed by noise that shifts every distribution anew at each step."""

import flax.linen as nn
from jaxtyping import Array, Float

from bnjax.arithmetic.noise import NoiseScale, draw_noise
from bnjax.errors import UsageError
from bnjax.models.norms.norm import Norm


class Noisy(nn.Module):
    r"""Noise on what `inner` makes of the layer's output; without noise when not training.

    $y = s\,x + m$ element by element, x being what `inner` makes, with s and m as
    `bnjax.arithmetic.noise.draw_noise` draws them. The random numbers come from the stream `noise`:
    `Model.apply(..., key=...)`.

    Called as `module(x, train=bool)`: x floating, `[batch, …, channels]`; y of the same shape and
    dtype.

    Collections: those of `inner`, under that name; the noise has none.

    Raises:
      UsageError: in the call, training without a key; and what `inner` raises.

    Source: Santurkar et al. 2018, Algorithm 1.
    """

    inner: Norm  # the normaliser, or `none()` for noise alone
    strength: NoiseScale  # the four constants

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
