"""Noise behind a normaliser, or alone: every distribution shifts at every step."""

import functools
from typing import NamedTuple

import flax.linen as nn
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from bnjax.errors import UsageError
from bnjax.models.norms.norm import Norm
from bnjax.types import PRNGKey


class NoiseScale(NamedTuple):
    """How strong the noise is; the defaults are the paper's (its appendix A.3)."""

    mean: float = 0.5  # n_μ: a channel's mean is uniform within ± this
    deviation: float = 1.25  # n_σ: a channel's deviation is uniform from 1 to this
    mean_spread: float = 0.1  # r_μ: an example's shift is uniform within ± this of μ_j
    deviation_spread: float = 0.1  # r_σ: deviation of an example's scale from the channel's


class Noise(NamedTuple):
    """`scale · x + shift`; both have the shape of x."""

    scale: Float[Array, "*batch channels"]
    shift: Float[Array, "*batch channels"]


def draw_noise(
    key: PRNGKey, shape: tuple[int, ...], dtype: jax.typing.DTypeLike, strength: NoiseScale
) -> Noise:
    r"""Draw the noise of one layer at one step.

    Per channel j: $\mu_j \sim U(-n_\mu, n_\mu)$, $\sigma_j \sim U(1, n_\sigma)$. Then per
    example and pixel i: $m_{ij} \sim U(\mu_j - r_\mu, \mu_j + r_\mu)$,
    $s_{ij} \sim N(\sigma_j, r_\sigma)$.

    Source: Santurkar et al. 2018, Algorithm 1.
    """
    # XLA's own generator: JAX's default one takes seconds to compile for every layer on a CPU. The
    # draws then depend on the backend and its version, which a run's fingerprint holds.
    words = jax.random.key_data(key).reshape(-1)
    key = jax.random.wrap_key_data(jnp.resize(words, (4,)), impl="rbg")
    keys = jax.random.split(key, 4)
    channel = (1,) * (len(shape) - 1) + shape[-1:]
    mean = jax.random.uniform(keys[0], channel, dtype, -strength.mean, strength.mean)
    deviation = jax.random.uniform(keys[1], channel, dtype, 1.0, strength.deviation)
    spread = jax.random.uniform(keys[2], shape, dtype, -strength.mean_spread, strength.mean_spread)
    scale = deviation + strength.deviation_spread * jax.random.normal(keys[3], shape, dtype)
    return Noise(scale, mean + spread)


class Noisy(nn.Module):
    r"""The normaliser `inner` and, when training, noise on its output.

    $y = s\,x + m$ element by element, where x is the output of `inner` and `draw_noise` draws s
    and m. The random numbers come from the stream `noise`: `Model.apply(..., key=...)`.

    Called as `module(x, train=bool)`: x floating, `[batch, …, channels]`; y of the same shape and
    dtype. Collections are those of `inner`, under that name.

    Raises:
      UsageError: in the call, training without a key.

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


def noisy(inner: Norm, strength: NoiseScale | None = None) -> Norm:
    """A normaliser with the noise of Santurkar et al. 2018, Algorithm 1, behind it.

    Args:
      inner: the normaliser, or `none()` for noise alone; one of kernels keeps its kernels.
      strength: constants of the noise; by default the paper's.

    Returns:
      A `Norm` named `noisy_<inner>`, or `noise`; a layer with a normaliser of its own has the
      noise behind that one. The convolutions of a ResNet have no bias in front of it.

    Source: Santurkar et al. 2018 (1805.11604), Algorithm 1.
    """
    return inner._replace(
        name="noise" if inner.build is inner.reparametrise is None else f"noisy_{inner.name}",
        build=functools.partial(Noisy, inner=inner, strength=strength or NoiseScale()),
        exceptions=tuple((layer, noisy(own, strength)) for layer, own in inner.exceptions),
    )
