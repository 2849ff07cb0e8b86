r"""How sharp the loss is for the steps that training takes, beside the edge of stability at 2/lr.

On a quadratic each of these is the curvature along a direction: of the gradient of one batch (step
sharpness) or of many (batch sharpness), of the optimiser's own direction (critical sharpness), of
the largest eigenvalue on the sphere of scale-invariant weights (spherical sharpness).
"""

from collections.abc import Callable
from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float
from scipy.special import stdtrit

from bnjax.arithmetic import trees
from bnjax.errors import UsageError
from bnjax.fields import Field
from bnjax.probes.composite import compose, restrict
from bnjax.probes.curvature import find_matrix, multiply
from bnjax.probes.line import along
from bnjax.probes.points import (
    check_counts,
    check_function,
    check_key,
    check_like,
    check_scalar,
    count_call,
)
from bnjax.probes.spectrum import ends, lanczos, mean_and_error
from bnjax.types import Index, Loss, Params, PRNGKey, PyTree, Scalar

CONFIDENCE = 0.95
PASSES = 6  # of the loss, for one critical step
FIRST = (0.0, 0.5, 1.0)  # their first steps, in units of the given one
FARTHEST, NEAREST = 10.0, 0.25  # factors from one step to the next, where none is enclosed yet
OVERSHOOT = 1.2  # so that an extrapolated step encloses the critical one


# Step and batch sharpness


class BatchSharpness(NamedTuple):
    """gᵀHg/‖g‖² on each of some batches, with g and H of that batch, and the mean over batches.

    In units of the loss over parameters squared. The interval is a 95 % t interval of the mean over
    the draw of batches; NaN of one batch.
    """

    steps: Annotated[Float[Array, " batch"], Field("Step sharpness gᵀHg/‖g‖²")]
    mean: Annotated[Scalar, Field("Batch sharpness")]
    low: Annotated[Scalar, Field("Batch sharpness, lower end of its interval")]
    high: Annotated[Scalar, Field("Batch sharpness, upper end of its interval")]


def step_sharpness(
    loss: Loss,
    params: Params,
    *,
    parameters: trees.Parameters | None = None,
    precision: str = "highest",
) -> Scalar:
    r"""The curvature along the gradient, $g^\top Hg/\|g\|^2$, on one batch.

    Costs a gradient and a Hessian-vector product. NaN where the gradient is 0.

    Args:
      loss: `loss(params) -> scalar` on the batch, twice differentiable.
      params: pytree of float32 or float64 arrays.
      parameters: as for `line`: gradient and Hessian are those of the selected block.
      precision: a value of `jax.default_matmul_precision`.

    Returns:
      Scalar, units of the loss over parameters squared.

    Raises:
      UsageError: as `line`.

    Source: Andreyev & Beneventano 2024 (2412.20553).

    Example:
      >>> curvature = jnp.array([1.0, 3.0])
      >>> loss = lambda w: 0.5 * jnp.sum(curvature * w**2)
      >>> round(float(step_sharpness(loss, jnp.array([3.0, 1.0]))), 6)  # g = (3, 3)
      2.0
    """
    check_scalar(loss, params)
    count_call("step_sharpness", loss, params)
    return along_gradient(*restrict(loss, params, parameters), precision)


def along_gradient(loss: Loss, params: Params, precision: str) -> Scalar:
    with jax.default_matmul_precision(precision):
        return along(loss, params, jax.grad(loss)(params))[1]


def batch_sharpness(
    loss: Callable[..., Scalar],
    params: Params,
    batches: PyTree,
    *,
    parameters: trees.Parameters | None = None,
    precision: str = "highest",
) -> BatchSharpness:
    r"""The mean over batches of the step sharpness, $E_B[g_B^\top H_B g_B/\|g_B\|^2]$.

    It settles at 2/lr under SGD, where the largest eigenvalue of the whole loss stays below. It is
    the mean of ratios, and not $E[g_B^\top H_B g_B]/E\|g_B\|^2$. Batches are taken one at a time.

    Args:
      loss: `loss(params, batch) -> scalar`, twice differentiable in the parameters.
      params: pytree of float32 or float64 arrays, the point.
      batches: pytree of arrays with a leading axis `[num_batches]`; batches of the size of
        training's, drawn as these are.
      parameters: as for `step_sharpness`.
      precision: a value of `jax.default_matmul_precision`.

    Returns:
      `BatchSharpness`, in the dtype of the parameters.

    Raises:
      UsageError: as `line`.

    Source: Andreyev & Beneventano 2024 (2412.20553), and their code for the mean of ratios. With
    momentum b it settles at 2(1 − b)/lr in small batches and at 2(1 + b)/lr in large ones
    (2604.14108).

    Example:
      >>> loss = lambda w, curvature: 0.5 * jnp.sum(curvature * w**2)
      >>> found = batch_sharpness(loss, jnp.ones(2), jnp.array([[1.0, 1.0], [3.0, 3.0]]))
      >>> [round(float(one), 6) for one in (*found.steps, found.mean)]
      [1.0, 3.0, 2.0]
    """
    check_function(loss, "the loss")
    leaves = jax.tree.leaves(batches)
    if not leaves or not all(jnp.ndim(leaf) and jnp.shape(leaf)[0] for leaf in leaves):
        raise UsageError("batches are empty: give arrays with a leading axis [num_batches]")

    def of_batch(batch: PyTree) -> Loss:
        return lambda params: loss(params, batch)

    first = of_batch(jax.tree.map(lambda leaf: leaf[0], batches))
    check_scalar(first, params)
    count_call("batch_sharpness", loss, params)

    def measure(batch: PyTree) -> Scalar:
        return along_gradient(*restrict(of_batch(batch), params, parameters), precision)

    steps = lax.map(measure, batches)
    mean, error = mean_and_error(steps)
    half = float(stdtrit(steps.shape[0] - 1, (1 + CONFIDENCE) / 2)) * error
    return BatchSharpness(steps, mean, mean - half, mean + half)


# The critical step


class CriticalStep(NamedTuple):
    """Along a direction Δ on one batch; NaN where L(θ) is not finite.

    The step is 0 if Δ leads upward, infinite if no step that was tried raises the loss.
    """

    loss: Annotated[Scalar, Field("Loss L(θ)")]
    step: Annotated[Scalar, Field("Critical step η_c: least η with L(θ − ηΔ) > L(θ)")]
    sharpness: Annotated[Scalar, Field("Critical sharpness 2/η_c")]
    # By the losses at 0, half the given step and the given step.
    curvature: Annotated[Scalar, Field("ΔᵀHΔ / Δᵀg")]


def critical_step(
    loss: Loss,
    params: Params,
    direction: Params,
    step_size: float | Scalar,
    *,
    precision: str = "highest",
) -> CriticalStep:
    r"""The least step that raises the loss.

    $\eta_c = \min\{\eta > 0 : L(\theta - \eta\Delta) > L(\theta)\}$ by six forward passes: at 0, at
    half the given step, at the step, and at three that enclose the first rise. Exact on a
    quadratic, where $2/\eta_c = \Delta^\top H\Delta/\Delta^\top g$; elsewhere it is interpolated
    between two steps that were tried. At the edge of stability of gradient descent 2/η_c is
    2/lr − wd.

    Args:
      loss: `loss(params) -> scalar` on the batch of the step; no derivative is taken.
      params: pytree of float32 or float64 arrays, θ.
      direction: Δ, pytree like `params`; of gradient descent the gradient, of another optimiser
        minus its update over the learning rate, without weight decay.
      step_size: where the search begins, above 0: the learning rate.
      precision: a value of `jax.default_matmul_precision`.

    Returns:
      `CriticalStep`, in the dtype of the loss; steps in units of θ over units of Δ.

    Raises:
      UsageError: as `line`, and a direction unlike `params`.

    Source: Kalra et al. 2026 (2601.16979).

    Example:
      >>> curvature = jnp.array([1.0, 3.0])
      >>> loss = lambda w: 0.5 * jnp.sum(curvature * w**2)
      >>> w = jnp.array([0.0, 1.0])
      >>> round(float(critical_step(loss, w, jax.grad(loss)(w), 0.1).sharpness), 4)
      3.0
    """
    check_scalar(loss, params)
    check_like(params, direction, "direction")
    count_call("critical_step", loss, params)
    dtype = jax.eval_shape(loss, params).dtype
    size = jnp.asarray(step_size, dtype)
    with jax.default_matmul_precision(precision):
        return critical_on_line(lambda step: loss(trees.move(params, direction, step * size)), size)


def critical_on_line(loss_at: Callable[[Scalar], Scalar], step_size: Scalar) -> CriticalStep:
    """`critical_step` of a loss at multiples of a step size."""
    steps, losses = search(loss_at, step_size.dtype)
    step = step_size * critical_multiple(steps, losses)
    chords = (losses[1:3] - losses[0]) / steps[1:3]
    slope = chords[1] - 2 * chords[0]
    curvature = 4 * (chords[1] - chords[0]) / (slope * step_size)
    return CriticalStep(losses[0], step, 2 / step, curvature)


def search(loss_at: Callable[[Scalar], Scalar], dtype: Any) -> tuple[Array, Array]:
    """Steps in units of the given one, and the losses there, `[PASSES]`; the first is 0."""
    steps = jnp.full((PASSES,), jnp.nan, dtype).at[: len(FIRST)].set(jnp.asarray(FIRST, dtype))

    def one(place: Index, found: tuple[Array, Array]) -> tuple[Array, Array]:
        steps, losses = found
        step = jnp.where(place < len(FIRST), steps[place], next_step(steps, losses))
        return steps.at[place].set(step), losses.at[place].set(loss_at(step))

    found: tuple[Array, Array] = lax.fori_loop(
        0, PASSES, one, (steps, jnp.full_like(steps, jnp.nan))
    )
    return found


class Enclosed(NamedTuple):
    """Two steps between which the loss first rises above that at 0; `high` is inf if it never does.

    A chord is (L(s) − L(0))/s, on a quadratic a linear function of s; its root is the critical
    step. At 0 it is extrapolated from the two smallest steps.
    """

    low: Scalar
    low_chord: Scalar
    high: Scalar
    high_chord: Scalar
    before: Scalar  # the step below `low`
    before_chord: Scalar

    @property
    def root(self) -> Scalar:
        """The step at which the chord is 0, if it is linear between both."""
        inner = self.low_chord / (self.low_chord - self.high_chord)
        usable = jnp.isfinite(self.high_chord) & ((self.low_chord < 0) | (self.low > 0))
        share = jnp.where(usable, inner, jnp.where(self.low > 0, 0.5, NEAREST))
        return self.low + share * (self.high - self.low)


def enclose(steps: Array, losses: Array) -> Enclosed:
    order = jnp.argsort(steps)  # NaN last
    steps, losses = steps[order], losses[order]
    chords = (losses - losses[0]) / steps
    first = chords[1] - steps[1] * (chords[2] - chords[1]) / (steps[2] - steps[1])
    chords = chords.at[0].set(first)
    rises = (steps > 0) & ~(losses <= losses[0])  # also where the loss is NaN
    above = jnp.argmax(rises)  # the first one; 0 if there is none
    none = ~rises.any()
    last = jnp.sum(~jnp.isnan(steps)) - 1
    low = jnp.where(none, last, above - 1)
    before = jnp.maximum(low - 1, 0)
    high = jnp.where(none, jnp.inf, steps[above])
    return Enclosed(steps[low], chords[low], high, chords[above], steps[before], chords[before])


def next_step(steps: Array, losses: Array) -> Scalar:
    """The step to try next."""
    found = enclose(steps, losses)
    growth = (found.low_chord - found.before_chord) / (found.low - found.before)
    ahead = found.low - found.low_chord / growth
    ahead = jnp.where(growth > 0, OVERSHOOT * ahead, jnp.inf)
    ahead = jnp.clip(ahead, OVERSHOOT * found.low, FARTHEST * found.low)
    # The root is too small where the loss grows faster than a quadratic, and a guess where the
    # chord at 0 is extrapolated.
    middle = jnp.maximum(found.root, jnp.sqrt(found.low * found.high))
    inside = jnp.where(found.low > 0, middle, jnp.minimum(found.root, NEAREST * found.high))
    return jnp.where(jnp.isinf(found.high), ahead, inside)


def critical_multiple(steps: Array, losses: Array) -> Scalar:
    """The critical step in units of the given one; inf where no step that was tried rises.

    0 where every step rises, and the losses tell no fall before the smallest; NaN where the loss
    at 0 is not finite.
    """
    found = enclose(steps, losses)
    upward = (found.low == 0) & (found.low_chord >= 0)
    multiple = jnp.where(upward, 0, jnp.where(jnp.isinf(found.high), jnp.inf, found.root))
    return jnp.where(jnp.isfinite(losses[0]), multiple, jnp.nan)


# Spherical sharpness


class SphericalSharpness(NamedTuple):
    """Of one group of weights w, all other parameters held; λ in units of the loss over w squared.

    `product` is lr · λ_max, and 2 at the edge of stability. `invariance` is rounding where the loss
    does not depend on the scale of w; elsewhere the other numbers are those of a block of H.
    """

    sharpness: Annotated[Scalar, Field("Spherical sharpness ‖w‖² λ_max")]
    effective_rate: Annotated[Scalar, Field("Effective learning rate lr/‖w‖²")]
    product: Annotated[Scalar, Field("Spherical sharpness times effective rate")]
    residual: Annotated[Scalar, Field("Residual of λ_max")]
    invariance: Annotated[Scalar, Field("κ = |⟨w, g⟩| / (‖w‖ ‖g‖)", bounded=True)]


def spherical_sharpness(
    loss: Loss,
    params: Params,
    key: PRNGKey,
    learning_rate: float | Scalar,
    *,
    parameters: trees.Parameters | None = None,
    lanczos_steps: int = 20,
    precision: str = "highest",
) -> SphericalSharpness:
    r"""The largest eigenvalue on the sphere of scale-invariant weights.

    $\|w\|^2\lambda_{\max}(H_w)$. If $L(cw) = L(w)$, gradient descent on w is that on the sphere
    $w/\|w\|$ at the rate $lr/\|w\|^2$, and its Hessian there is $\|w\|^2 H$. `bnjax.audit` says
    which weights these are: `parameters=audit(…).scale_invariant`. Several such groups together
    are scale-invariant, too.

    Args:
      loss: `loss(params) -> scalar`, twice differentiable.
      params: pytree of float32 or float64 arrays, the point.
      key: typed PRNG key of the vector that Lanczos starts from.
      learning_rate: of plain gradient descent.
      parameters: the group w, as for `line`; None: all parameters.
      lanczos_steps: products with the Hessian, at most as many as weights are taken.
      precision: a value of `jax.default_matmul_precision`.

    Returns:
      `SphericalSharpness`, in the dtype of the parameters.

    Raises:
      UsageError: as `line`, `lanczos_steps` below 1, or no key.

    Source: Lyu, Li & Arora 2022 (2206.07085).

    Example:
      >>> loss = lambda w: 3 * w[1] ** 2 / (w[0] ** 2 + w[1] ** 2)  # of the angle alone
      >>> w = jnp.array([2.0, 0.0])
      >>> found = spherical_sharpness(loss, w, jax.random.key(0), 0.4)
      >>> [round(float(x), 4) for x in (found.sharpness, found.effective_rate, found.product)]
      [6.0, 0.1, 0.6]
    """
    check_scalar(loss, params)
    check_key(key)
    check_counts(lanczos_steps=lanczos_steps)
    count_call("spherical_sharpness", loss, params)
    loss, params = restrict(loss, params, parameters)
    point, unravel = trees.ravel(params)
    flat_loss: Any = compose(loss, unravel)
    with jax.default_matmul_precision(precision):
        matrix = find_matrix(flat_loss, point, "hessian")
        gradient = jax.grad(flat_loss)(point)
        start = jax.random.normal(key, point.shape, point.dtype)
        found = lanczos(
            lambda vector: multiply(flat_loss, point, vector, matrix)[1],
            start,
            gradient,
            min(lanczos_steps, point.size),
        )
    largest, _ = ends(found, 1)
    eigenvalue, square = largest.nodes[0], jnp.square(trees.norm(point))
    rate = jnp.asarray(learning_rate, point.dtype)
    return SphericalSharpness(
        square * eigenvalue,
        rate / square,
        rate * eigenvalue,
        largest.residuals[0],
        jnp.abs(trees.cosine(point, gradient)),
    )
