"""The constructors: options of a normaliser in, a `Norm` out."""

import functools
import math
from collections.abc import Callable

import flax.linen as nn
from jaxtyping import Array

from bnjax.errors import UsageError
from bnjax.models.norms.batch import BatchNorm
from bnjax.models.norms.checks import check_epsilon, check_momentum
from bnjax.models.norms.kernel import WeightNorm, WeightStandardisation
from bnjax.models.norms.lp import LpNorm
from bnjax.models.norms.norm import Norm
from bnjax.models.norms.sample import SampleNorm
from bnjax.models.norms.unitization import Unitization


def batch_norm(
    momentum: float = 0.9,
    epsilon: float = 1e-5,
    *,
    scale_init: Callable[..., Array] = nn.initializers.ones,
    use_scale: bool = True,
    use_bias: bool = True,
) -> Norm:
    """Batch normalisation, y = γ (x − μ)/√(σ² + ε) + β with the batch's moments; see `BatchNorm`.

    Args:
      momentum: weight of the old running statistics at each step, in [0, 1).
      epsilon: added to the variance, units of the input squared.
      scale_init: `(key, shape, dtype) -> γ` before the first step.
      use_scale: train a γ per channel, else it is 1.
      use_bias: train a β per channel, else it is 0.

    Returns:
      A `Norm` named `batch`.

    Raises:
      UsageError: momentum outside [0, 1) or epsilon below 0.

    Source: Ioffe & Szegedy 2015 (1502.03167).

    Example:
      >>> batch_norm(momentum=0.99).batch_statistics
      True
    """
    check_momentum(momentum)
    check_epsilon(epsilon)
    build = functools.partial(
        BatchNorm,
        momentum=momentum,
        epsilon=epsilon,
        scale_init=scale_init,
        use_scale=use_scale,
        use_bias=use_bias,
    )
    return Norm("batch", build, batch_statistics=True, cancels_bias=True)


def none() -> Norm:
    """No normalisation: the "standard" network of Santurkar et al. 2018.

    Returns:
      A `Norm` named `none`.

    Source: Santurkar et al. 2018 (1805.11604).

    Example:
      >>> none().name
      'none'
    """
    return Norm("none")


def unitize(momentum: float = 0.9, epsilon: float = 1e-5) -> Norm:
    """Batch normalisation and a trained share of unit size for each sample; see `Unitization`.

    Args:
      momentum: weight of the old running statistics at each step, in [0, 1).
      epsilon: added to the variance, units of the input squared, and to the mean square of what is
        standardised already, which has no unit.

    Returns:
      A `Norm` named `unitize`.

    Raises:
      UsageError: momentum outside [0, 1) or epsilon below 0.

    Source: Huang & Yu 2020 (2001.02814).

    Example:
      >>> unitize().name
      'unitize'
    """
    check_momentum(momentum)
    check_epsilon(epsilon)
    build = functools.partial(Unitization, momentum=momentum, epsilon=epsilon)
    return Norm("unitize", build, batch_statistics=True, cancels_bias=True)


def layer_norm(epsilon: float = 1e-5) -> Norm:
    """Each sample over all its channels and pixels; see `SampleNorm`.

    Args:
      epsilon: added to the variance, units of the input squared.

    Returns:
      A `Norm` named `layer`.

    Raises:
      UsageError: epsilon below 0.

    Source: Ba, Kiros & Hinton 2016 (1607.06450).

    Example:
      >>> layer_norm().batch_statistics
      False
    """
    check_epsilon(epsilon)
    return Norm("layer", functools.partial(SampleNorm, groups=1, epsilon=epsilon))


def group_norm(groups: int = 32, epsilon: float = 1e-5) -> Norm:
    """Each sample over its pixels and groups of channels; see `SampleNorm`.

    Args:
      groups: number of groups; of narrow layers as many as leave four channels in each.
      epsilon: added to the variance, units of the input squared.

    Returns:
      A `Norm` named `group`.

    Raises:
      UsageError: no group, or epsilon below 0.

    Source: Wu & He 2018 (1803.08494).

    Example:
      >>> group_norm(groups=8).name
      'group'
    """
    if groups < 1:
        raise UsageError(f"groups={groups} must be 1 or more: give e.g. 32")
    check_epsilon(epsilon)
    return Norm("group", functools.partial(SampleNorm, groups=groups, epsilon=epsilon))


def instance_norm(epsilon: float = 1e-5) -> Norm:
    """Each sample over the pixels of one channel, see `SampleNorm`; not for dense layers.

    Args:
      epsilon: added to the variance, units of the input squared.

    Returns:
      A `Norm` named `instance`; its call raises a `UsageError` where a channel has one pixel.

    Raises:
      UsageError: epsilon below 0.

    Source: Ulyanov et al. 2016 (1607.08022).

    Example:
      >>> instance_norm().name
      'instance'
    """
    check_epsilon(epsilon)
    build = functools.partial(SampleNorm, groups=None, epsilon=epsilon)
    return Norm("instance", build, cancels_bias=True)


def rms_norm(epsilon: float = 1e-5) -> Norm:
    """Each sample by its root mean square over channels and pixels; see `SampleNorm`.

    Args:
      epsilon: added to the mean square, units of the input squared.

    Returns:
      A `Norm` named `rms`.

    Raises:
      UsageError: epsilon below 0.

    Source: Zhang & Sennrich 2019 (1910.07467).

    Example:
      >>> rms_norm().name
      'rms'
    """
    check_epsilon(epsilon)
    return Norm("rms", functools.partial(SampleNorm, groups=1, centred=False, epsilon=epsilon))


def weight_standard() -> Norm:
    """Kernels of mean 0 and unit size, see `WeightStandardisation`.

    Returns:
      A `Norm` named `weight_standard`, of kernels: activations are left as they come.

    Source: Qiao et al. 2019 (1903.10520), Brock et al. 2021 (2101.08692).

    Example:
      >>> weight_standard().build is None
      True
    """
    return Norm("weight_standard", reparametrise=WeightStandardisation)


def weight_norm() -> Norm:
    """Kernels as lengths and directions, see `WeightNorm`.

    Returns:
      A `Norm` named `weight_norm`, of kernels: activations are left as they come.

    Source: Salimans & Kingma 2016 (1602.07868).

    Example:
      >>> weight_norm().build is None
      True
    """
    return Norm("weight_norm", reparametrise=WeightNorm)


def lp_norm(power: float, momentum: float = 0.9, epsilon: float = 1e-5) -> Norm:
    """Mean of the batch, average ℓp norm of the batch; see `LpNorm`.

    Args:
      power: p, 1 or more; `math.inf` for the maximum.
      momentum: weight of the old running statistics at each step, in [0, 1).
      epsilon: added to the norm, units of the input.

    Returns:
      A `Norm` named `l1`, `l2`, `linf`, ….

    Raises:
      UsageError: a power below 1, momentum outside [0, 1) or epsilon below 0.

    Source: Santurkar et al. 2018 (1805.11604), §3.3.

    Example:
      >>> lp_norm(1.0).name, lp_norm(math.inf).name
      ('l1', 'linf')
    """
    if not power >= 1:
        raise UsageError(f"power={power} must be 1 or more: give 1, 2 or math.inf")
    check_momentum(momentum)
    check_epsilon(epsilon)
    name = "linf" if math.isinf(power) else f"l{power:g}"
    build = functools.partial(LpNorm, power=power, momentum=momentum, epsilon=epsilon)
    return Norm(name, build, batch_statistics=True)
