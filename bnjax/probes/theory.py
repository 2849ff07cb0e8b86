r"""The theorems of Santurkar et al. 2018 on one normalised layer, measured side by side.

One BatchNorm follows one linear layer; everything is per channel, over the m rows of a batch (for
images batch times pixels): $\hat y = (y - \mu)/\sigma$, $z = \gamma \hat y + \beta$,
$g = \partial L/\partial z$, $v = \partial L/\partial y$, $H = \partial^2 L/\partial z^2$,
$\hat H = \partial^2 L/\partial y^2$.
Left sides come from automatic differentiation of the textbook formula, not from a closed
derivative of BatchNorm, so that they know nothing of the right sides.
"""

from collections.abc import Callable, Sequence
from typing import Annotated, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from bnjax.arithmetic.moments import moments, standardise
from bnjax.errors import UsageError
from bnjax.fields import Field
from bnjax.probes.points import check_params, check_scalar
from bnjax.types import PyTree, Scalar

Rows: TypeAlias = Float[Array, "row channel"]
PerChannel: TypeAlias = Float[Array, " channel"]
Chosen: TypeAlias = Float[Array, " chosen_channel"]


class Steepness(NamedTuple):
    """First and second order of a loss along its own gradient v by the rows y of one layer.

    v is in units of the loss over those of y, `gradient_squared` in these squared, the curvatures
    in the loss cubed over the fourth power of y's.
    """

    loss: Annotated[Scalar, Field("Loss of the batch")]
    gradient: Annotated[Rows, Field("v = ∂L/∂y")]
    gradient_squared: Annotated[PerChannel, Field("‖v‖² of channels")]  # the Lipschitz term
    curvature: Annotated[Chosen, Field("vᵀHv of chosen channels")]  # H of the channel alone
    layer_curvature: Annotated[Scalar, Field("vᵀHv of the layer")]


class Equality(NamedTuple):
    """Both sides of an equality, for each channel or for the chosen ones.

    Both sides have the units of the same term in `Steepness`; the residual has none.
    """

    left: Annotated[Float[Array, " channel"], Field("Left side")]
    right: Annotated[Float[Array, " channel"], Field("Right side")]
    # (left − right) / sum of the sizes of the terms on the right
    residual: Annotated[Float[Array, " channel"], Field("Residual")]


class Theory(NamedTuple):
    """On one batch: ŷ = (y − μ)/σ, z = γŷ + β, g = ∂L/∂z, v = ∂L/∂y, H and Ĥ by z and by y."""

    steepness: Steepness  # of the loss as a function of y, through the normaliser
    lipschitz: Equality  # Theorem 4.1 with the coefficient 1/m
    curvature: Equality  # Theorem 4.2, first line, of the chosen channels
    worst_gradient: Equality  # Theorem 4.4
    printed: Equality  # Theorem 4.1 with the coefficient 1/√m, as printed: no equality
    scaled_gradient_squared: Annotated[PerChannel, Field("γ²/σ² ‖g‖²")]  # first term of Theorem 4.1
    alignment: Annotated[PerChannel, Field("⟨g, ŷ⟩")]  # ∂L/∂γ; Theorem 4.2 assumes it is above 0
    quadratic: Annotated[Chosen, Field("vᵀHv")]  # Theorem 4.2 assumes it is 0 or more
    variance: Annotated[PerChannel, Field("σ²")]  # without epsilon, units of y squared


def theory(
    head: Callable[[Rows], Scalar],
    y: Rows,
    scale: PerChannel,
    shift: PerChannel,
    *,
    channels: Sequence[int],
    epsilon: float = 0.0,
    input_norm: float = 1.0,
) -> Theory:
    r"""Both sides of Theorems 4.1, 4.2 and 4.4, their residuals and their assumptions.

    4.1: $\|v\|^2 = \frac{\gamma^2}{\sigma^2}
    (\|g\|^2 - \frac1m \langle 1, g\rangle^2 - \frac1m \langle g, \hat y\rangle^2)$, an equality
    once the printed coefficient $1/\sqrt m$ of the last term is corrected to $1/m$.

    4.2: $v^T \hat H v = \frac{\gamma^2}{\sigma^2} v^T H v
    - \frac{\gamma}{m \sigma^2} \langle g, \hat y\rangle \|v\|^2$, with H and $\hat H$ the blocks
    of the channel.

    4.4: with $g_j^2 = \max_{\|X\|_2 \le \lambda} \|X^T g\|^2 = \lambda^2 \|g\|^2$ and
    $\hat g_j^2 = \lambda^2 \|v\|^2$ for the gradient by the weights of a layer $y = X w$,
    $\hat g_j^2 = \frac{\gamma^2}{\sigma^2} (g_j^2 - \lambda^2 m \mu_g^2
    - \frac{\lambda^2}{m} \langle g, \hat y\rangle^2)$, $\mu_g$ the mean of g over the rows.

    All are exact at ε = 0; otherwise $\sigma^2 + \epsilon$ stands for $\sigma^2$, and they hold up
    to a share of about $\epsilon / \sigma^2$.

    Args:
      head: the loss as a function of the normaliser's output z `[rows, channels]`.
      y: the normaliser's input, `[rows, channels]`.
      scale: γ `[channels]`.
      shift: β `[channels]`.
      channels: the chosen ones, for which Hessian-vector products are taken.
      epsilon: of the normaliser, units of y squared.
      input_norm: λ of Theorem 4.4, the bound on the spectral norm of the layer's input.

    Returns:
      A `Theory`. Where all terms on the right are 0 (a channel without gradient) the residual is 0.

    Raises:
      UsageError: y is no matrix of float32 or float64, a channel that does not exist, or a loss
        that returns no scalar.

    Source: Santurkar et al. 2018 (1805.11604), Theorems 4.1, 4.2 and 4.4.

    Example:
      >>> y = jnp.array([[0.0], [1.0], [4.0]])
      >>> target = jnp.array([[1.0], [0.0], [0.5]])
      >>> head = lambda z: jnp.sum((z - target) ** 4)
      >>> measured = theory(head, y, 2 * jnp.ones(1), jnp.ones(1), channels=[0])
      >>> bool(abs(measured.lipschitz.residual[0]) < 1e-5)
      True
    """
    _check(head, y, channels)
    check_params(scale, "scale")
    check_params(shift, "shift")

    def normalise(y: Rows) -> Rows:
        return standardise(y, *moments(y, (0,)), epsilon) * scale[None] + shift[None]

    z, push = jax.linearize(normalise, y)
    (value, gradient), tangent = jax.linearize(jax.value_and_grad(head), z)

    def hessian(direction: Rows) -> Rows:
        return tangent(direction)[1]

    # With AVX-512 XLA (jax 0.12.0) fuses the gradient of a max pooling into what follows, and v is
    # wrong by 90 %; the test on a convolution of a network sees it.
    gradient = jax.lax.optimization_barrier(gradient)
    # By the chain rule, so that the head is differentiated twice only once.
    v, turn = jax.linearize(lambda y: jax.vjp(normalise, y)[1](gradient)[0], y)
    pull = jax.linear_transpose(push, y)

    def full_hessian(direction: Rows) -> Rows:
        return turn(direction) + pull(hessian(push(direction)))[0]

    def both(direction: Rows) -> tuple[Scalar, Scalar]:
        return jnp.sum(direction * hessian(direction)), jnp.sum(direction * full_hessian(direction))

    quadratic, curvature = over_channels(both, v, channels)
    seen = Steepness(value, v, jnp.sum(v**2, axis=0), curvature[:-1], curvature[-1])
    statistics = moments(y, (0,))
    standardised = standardise(y, *statistics, epsilon)

    m = y.shape[0]
    chosen = np.asarray(channels)
    deviation_squared = statistics.var + epsilon
    factor = scale**2 / deviation_squared
    squared = jnp.sum(gradient**2, axis=0)
    along_ones = jnp.sum(gradient, axis=0) ** 2
    alignment = jnp.sum(gradient * standardised, axis=0)
    quadratic = quadratic[:-1]
    bend = scale / (m * deviation_squared) * alignment * seen.gradient_squared
    terms = (factor * squared, -factor * along_ones / m, -factor * alignment**2 / m)
    mean_squared = jnp.mean(gradient, axis=0) ** 2
    worst = factor * input_norm**2
    return Theory(
        steepness=seen,
        lipschitz=equality(seen.gradient_squared, *terms),
        curvature=equality(seen.curvature, factor[chosen] * quadratic, -bend[chosen]),
        worst_gradient=equality(
            input_norm**2 * seen.gradient_squared,
            worst * squared,
            -worst * m * mean_squared,
            -worst * alignment**2 / m,
        ),
        printed=equality(seen.gradient_squared, *terms[:2], -factor * alignment**2 / m**0.5),
        scaled_gradient_squared=terms[0],
        alignment=alignment,
        quadratic=quadratic,
        variance=statistics.var,
    )


def steepness(loss: Callable[[Rows], Scalar], y: Rows, *, channels: Sequence[int]) -> Steepness:
    r"""The Lipschitz and curvature terms of a loss by the rows y of one layer.

    $\|v_j\|^2$ and $v_j^T H_{jj} v_j$ with $v = \partial L/\partial y$,
    $H = \partial^2 L/\partial y^2$; unlike in `theory` no normaliser is needed.

    Args:
      loss: as a function of y.
      y: `[rows, channels]`.
      channels: the chosen ones, for which Hessian-vector products are taken.

    Returns:
      A `Steepness`.

    Raises:
      UsageError: y is no matrix of float32 or float64, a channel that does not exist, or a loss
        that returns no scalar.

    Source: Santurkar et al. 2018, §4.1.
    """
    _check(loss, y, channels)
    (value, gradient), tangent = jax.linearize(jax.value_and_grad(loss), y)

    def form(direction: Rows) -> Scalar:
        return jnp.sum(direction * tangent(direction)[1])

    forms = over_channels(form, gradient, channels)
    return Steepness(value, gradient, jnp.sum(gradient**2, axis=0), forms[:-1], forms[-1])


def _check(loss: Callable[[Rows], Scalar], y: Rows, channels: Sequence[int]) -> None:
    check_scalar(loss, y, "y")
    if y.ndim != 2:
        raise UsageError(f"y has shape {y.shape}: flatten it to [batch · pixels, channels]")
    if illegal := [channel for channel in channels if not 0 <= channel < y.shape[1]]:
        raise UsageError(f"channels {illegal} do not exist: choose from 0 to {y.shape[1] - 1}")


def over_channels(
    measure: Callable[[Rows], PyTree], direction: Rows, channels: Sequence[int]
) -> PyTree:
    """`measure` of a direction's part in each chosen channel and, last, of the whole direction."""
    masks = np.ones((len(channels) + 1, direction.shape[1]))
    masks[:-1] = np.arange(direction.shape[1]) == np.asarray(channels, dtype=int)[:, None]

    def visit(mask: PerChannel) -> PyTree:
        return measure(direction * mask[None])

    return jax.lax.map(visit, jnp.asarray(masks, direction.dtype))


def equality(left: Array, *terms: Array) -> Equality:
    """A left side against the sum of some terms, with the residual relative to their sizes."""
    right, size = sum(terms[1:], terms[0]), sum(map(jnp.abs, terms[1:]), jnp.abs(terms[0]))
    residual = jnp.where(size == 0, left - right, (left - right) / jnp.where(size == 0, 1, size))
    return Equality(left, right, residual)
