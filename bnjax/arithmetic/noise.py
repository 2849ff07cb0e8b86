"""The noise of Santurkar et al. 2018, Algorithm 1: every distribution shifts at every step."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from bnjax.types import PRNGKey


class NoiseScale(NamedTuple):
    """How strong the noise is; the defaults are the paper's (its appendix A.3)."""

    mean: float = 0.5  # n_μ: a unit's mean is uniform within ± this
    deviation: float = 1.25  # n_σ: a unit's deviation is uniform from 1 to this
    mean_spread: float = 0.1  # r_μ: an example's shift is uniform within ± this of the unit's mean
    deviation_spread: float = 0.1  # r_σ: deviation of an example's scale from the unit's


class Noise(NamedTuple):
    """`scale · x + shift`; both have the shape of x."""

    scale: Float[Array, "*batch units"]
    shift: Float[Array, "*batch units"]


def draw_noise(
    key: PRNGKey, shape: tuple[int, ...], dtype: jax.typing.DTypeLike, strength: NoiseScale
) -> Noise:
    r"""Draw the noise of one layer at one step.

    Per unit j: $\mu_j \sim U(-n_\mu, n_\mu)$, $\sigma_j \sim U(1, n_\sigma)$. Then per example and
    pixel i: $m_{ij} \sim U(\mu_j - r_\mu, \mu_j + r_\mu)$, $s_{ij} \sim N(\sigma_j, r_\sigma)$.

    Args:
      key: typed PRNG key of this layer and step.
      shape: of the activations, units last.
      dtype: floating.
      strength: the four constants.

    Returns:
      A `Noise` of that shape: $a_{ij} \leftarrow s_{ij} a_{ij} + m_{ij}$.

    Source: Santurkar et al. 2018, Algorithm 1.

    Example:
      >>> noise = draw_noise(jax.random.key(0), (4, 2), "float32", NoiseScale())
      >>> noise.shift.shape
      (4, 2)
    """
    # XLA's own generator: JAX's default one takes seconds to compile for every layer on a CPU. The
    # draws then depend on the backend and its version, which a run's fingerprint holds.
    words = jax.random.key_data(key).reshape(-1)
    key = jax.random.wrap_key_data(jnp.resize(words, (4,)), impl="rbg")
    keys = jax.random.split(key, 4)
    unit = (1,) * (len(shape) - 1) + shape[-1:]
    mean = jax.random.uniform(keys[0], unit, dtype, -strength.mean, strength.mean)
    deviation = jax.random.uniform(keys[1], unit, dtype, 1.0, strength.deviation)
    spread = jax.random.uniform(keys[2], shape, dtype, -strength.mean_spread, strength.mean_spread)
    scale = deviation + strength.deviation_spread * jax.random.normal(keys[3], shape, dtype)
    return Noise(scale, mean + spread)
