"""Normalisers made of normalisers."""

import functools
from collections.abc import Mapping

from bnjax.arithmetic.noise import NoiseScale
from bnjax.models.norms.noise import Noisy
from bnjax.models.norms.norm import Norm


def noisy(inner: Norm, strength: NoiseScale | None = None) -> Norm:
    """A normaliser with the noise of Santurkar et al. 2018, Algorithm 1, behind it.

    Args:
      inner: the normaliser, or `none()` for noise alone; one of kernels keeps its kernels.
      strength: constants of the noise; by default the paper's.

    Returns:
      A `Norm` named `noisy_<inner>`, or `noise`; layers with a normaliser of their own have the
      noise behind that one. The convolutions of a ResNet have no bias in front of it.

    Source: Santurkar et al. 2018 (1805.11604), Algorithm 1.

    Example:
      >>> from bnjax.models.norms import batch_norm, none
      >>> noisy(batch_norm()).name, noisy(none()).name
      ('noisy_batch', 'noise')
    """
    return inner._replace(
        name="noise" if inner.build is inner.reparametrise is None else f"noisy_{inner.name}",
        build=functools.partial(Noisy, inner=inner, strength=strength or NoiseScale()),
        exceptions=tuple((layer, noisy(own, strength)) for layer, own in inner.exceptions),
    )


def with_exceptions(norm: Norm, exceptions: Mapping[str, Norm]) -> Norm:
    """A normaliser for all layers but some, which have their own.

    Args:
      norm: of all other layers; the result is named like it.
      exceptions: by the layer's name, e.g. `{"conv3": none()}`.

    Returns:
      A `Norm`.

    Example:
      >>> from bnjax.models.norms import batch_norm, none
      >>> norm = with_exceptions(batch_norm(), {"conv3": none()})
      >>> norm.for_layer("conv3").name, norm.for_layer("conv4").name
      ('none', 'batch')
    """
    return norm._replace(exceptions=tuple(exceptions.items()))
