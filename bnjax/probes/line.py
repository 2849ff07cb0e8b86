"""The line probe: losses and gradients along one direction, at one fixed state of training.

Loss variation, gradient predictiveness and effective β-smoothness of Santurkar et al. 2018
(Fig. 4) are all read off the `Line` that one compiled call returns.
"""

from typing import Annotated, Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float

from bnjax.arithmetic import trees
from bnjax.convolution.convolution import running_once
from bnjax.errors import UsageError
from bnjax.fields import Field
from bnjax.probes.points import check_like, check_scalar, map_points, points_that_fit
from bnjax.probes.surface import values_on_line
from bnjax.types import Array, Loss, Params, Points, PRNGKey, Scalar

PerStep: TypeAlias = Float[Array | np.ndarray, " step_size"]


class Line(NamedTuple):
    """On one batch, from θ along the direction d; g = ∇L(θ), g(η) = ∇L(θ − ηd).

    Losses and `scaled_smoothness` are in units of the loss; norms and distances of gradients in
    those over units of θ; `smoothness` and both limits in those over θ's squared; `direction_norm`
    in units of d; cosines have no unit.
    """

    step_sizes: Annotated[PerStep, Field("Step sizes η", "units of θ per unit of d")]
    losses: Annotated[PerStep, Field("Loss L(θ − ηd)")]
    gradient_norms: Annotated[PerStep, Field("Gradient norm ‖g(η)‖₂")]
    # "Gradient predictiveness" of Santurkar et al. 2018.
    gradient_distances: Annotated[PerStep, Field("Gradient difference ‖g(η) − g‖₂")]
    cosines: Annotated[PerStep, Field("Cosine of g(η) and g", bounded=True)]
    # ‖g(η) − g‖₂ / ‖η d‖₂
    smoothness: Annotated[PerStep, Field("Effective smoothness β(η)")]
    # β(η) of the kernels alone, each in units of its own norm, so that it does not depend on the
    # scale of weights that a normaliser makes irrelevant; NaN where no leaf has two or more axes.
    scaled_smoothness: Annotated[PerStep, Field("Smoothness of kernels in units of their norm")]
    loss: Annotated[Scalar, Field("Loss L(θ) on the probed batch")]
    gradient_norm: Annotated[Scalar, Field("Gradient norm ‖g‖₂")]
    direction_norm: Annotated[Scalar, Field("Norm of the direction ‖d‖₂")]
    smoothness_limit: Annotated[Scalar, Field("Smoothness for η → 0, ‖Hd‖₂/‖d‖₂")]
    curvature_limit: Annotated[Scalar, Field("Sharpness along d, dᵀHd/‖d‖²")]


def line(
    loss: Loss,
    params: Params,
    step_sizes: Points,
    *,
    direction: Params | None = None,
    random_key: PRNGKey | None = None,
    parameters: trees.Predicate | None = None,
    centre: tuple[Scalar, Params] | None = None,
    limits: bool = True,
    chunk: int | Literal["auto"] = "auto",
    mesh: jax.sharding.Mesh | None = None,
    precision: str = "highest",
) -> Line:
    r"""Measure losses and gradients at `params − η · direction` for every step size η.

    $\beta(\eta) = \|g(\eta) - g\|_2 / \|\eta d\|_2$ with $g(\eta) = \nabla L(\theta - \eta d)$,
    and its limit $\|Hd\| / \|d\|$ for η → 0 by one Hessian-vector product. Points are visited
    `chunk` at a time inside one program, so neither memory nor compilation grows with their
    number. Works under `jit`, in float32 and float64. NaN and inf are returned as they are.

    Args:
      loss: `loss(params) -> scalar`, differentiable; the batch and the statistics are inside it.
      params: pytree of floating-point arrays, the centre θ.
      step_sizes: η, `[num_step_sizes]`, positive for descent; units of θ over units of d.
      direction: pytree like `params`; by default the gradient at the centre.
      random_key: typed PRNG key; draws a Gaussian direction of the gradient's norm, a control that
        Santurkar et al. 2018 (§3.1) mention without a figure. Not together with `direction`.
      parameters: keeps only the leaves whose name (`"conv3/kernel"`) satisfies it; the others
        stay where they are, and gradients and norms are over the kept leaves. `direction`, if
        given, still has the structure of all of `params`.
      centre: value and gradient of `loss` at `params` where they are known already, e.g. from
        training.
      limits: whether to measure the limits for η → 0; without, they are NaN.
      chunk: points at a time, for fewer and larger products; `auto` takes one on a CPU and what
        stays in the cache together on an accelerator, see `points.points_that_fit`.
      mesh: devices with an axis `probe` over which the points are spread.
      precision: a value of `jax.default_matmul_precision` for the probe. At η = lr/100 the
        gradient moves by about 2 %, close to the rounding of TF32.

    Returns:
      A `Line`; arrays `[num_step_sizes]` in the dtype of the loss.

    Raises:
      UsageError: the loss is not scalar, a parameter is not float32 or float64, `direction` does
        not match `params`, `step_sizes` is empty or not one-dimensional, `direction` and
        `random_key` are both given, `parameters` selects nothing, `chunk` is below 1, or `mesh` has
        no axis `probe`.

    Source: Santurkar et al. 2018, §3.1 and Fig. 4 a–c.

    Example:
      >>> import jax.numpy as jnp
      >>> quadratic = lambda w: 0.5 * jnp.sum(jnp.array([1.0, 3.0]) * w**2)
      >>> probe = line(quadratic, jnp.array([0.0, 1.0]), jnp.array([0.1, 0.2]))
      >>> [round(float(beta), 3) for beta in probe.smoothness]
      [3.0, 3.0]
    """
    step_sizes = jnp.asarray(step_sizes)
    _check(loss, params, step_sizes, direction)
    if chunk == "auto":
        chunk = points_that_fit(loss, params, step_sizes.shape[0])
    if direction is not None and random_key is not None:
        raise UsageError("direction and random_key are both given: give one of them")
    if parameters is not None:
        params, rest = trees.partition(params, parameters)
        whole_loss = loss
        loss = lambda selected: whole_loss(trees.combine(selected, rest))  # noqa: E731
        if direction is not None:
            direction, _ = trees.partition(direction, parameters)
        if centre is not None:
            centre = centre[0], trees.partition(centre[1], parameters)[0]
    with jax.default_matmul_precision(precision):
        centre_loss, gradient = centre or jax.value_and_grad(loss)(params)
        gradient_norm = optax.tree.norm(gradient)
        if random_key is not None:
            direction = trees.random_direction(random_key, params, gradient_norm)
        elif direction is None:
            direction = gradient
        direction_norm = optax.tree.norm(direction)
        smoothness_limit = curvature_limit = jnp.full_like(direction_norm, jnp.nan)
        if limits:
            with running_once():
                _, hessian_direction = jax.jvp(jax.grad(loss), (params,), (direction,))
            smoothness_limit = optax.tree.norm(hessian_direction) / direction_norm
            curvature_limit = optax.tree.vdot(direction, hessian_direction) / direction_norm**2
        kernels = [
            optax.tree.norm(leaf) if jnp.ndim(leaf) >= 2 else None
            for leaf in jax.tree.leaves(params)
        ]

        def measure(step_size: Scalar) -> tuple[Scalar, ...]:
            point = trees.move(params, direction, step_size)
            point_loss, point_gradient = jax.value_and_grad(loss)(point)
            change = optax.tree.sub(point_gradient, gradient)
            distance = optax.tree.norm(change)
            length = jnp.abs(step_size).astype(distance.dtype)
            scaled_length = length * trees.scaled_norm(direction, kernels, -1)
            return (  # in the order of `Line`
                point_loss,
                optax.tree.norm(point_gradient),
                distance,
                trees.cosine(point_gradient, gradient),
                distance / (length * direction_norm),
                trees.scaled_norm(change, kernels, 1) / scaled_length,
            )

        measured = map_points(measure, step_sizes, chunk=chunk, mesh=mesh)
    central = centre_loss, gradient_norm, direction_norm, smoothness_limit, curvature_limit
    return Line(*(step_sizes, *measured, *central))


def losses_on_line(
    loss: Loss,
    params: Params,
    step_sizes: Points,
    direction: Params,
    *,
    chunk: int | Literal["auto"] = "auto",
    mesh: jax.sharding.Mesh | None = None,
    precision: str = "highest",
) -> Points:
    """Losses alone at `params − η · direction`: forward passes only.

    Args:
      loss: `loss(params) -> scalar`.
      params: pytree of float32 or float64 arrays, the centre.
      step_sizes: η, `[num_step_sizes]`, units of `params` over units of `direction`.
      direction: pytree like `params`.
      chunk: points at a time, see `line`.
      mesh: devices with an axis `probe` over which the points are spread.
      precision: a value of `jax.default_matmul_precision`.

    Returns:
      Losses `[num_step_sizes]`, in the dtype and units of the loss.

    Raises:
      UsageError: as `line`.

    Source: Santurkar et al. 2018, Fig. 4a.
    """
    step_sizes = jnp.asarray(step_sizes)
    _check(loss, params, step_sizes, direction)
    options: dict = {"chunk": chunk, "mesh": mesh, "precision": precision}
    return values_on_line(loss, params, direction, -step_sizes, **options)


def _check(loss: Loss, params: Params, step_sizes: Points, direction: Params | None) -> None:
    if step_sizes.ndim != 1 or step_sizes.size == 0:
        raise UsageError(
            f"step_sizes has shape {step_sizes.shape}; it must be one-dimensional and not empty: "
            "give e.g. jnp.array([0.05, 0.1, 0.2, 0.4])"
        )
    check_scalar(loss, params)
    if direction is not None:
        check_like(params, direction, "direction")


def rounding_noise(
    loss: Loss, params: Params, *, precision: str = "default", reference: str = "highest"
) -> Scalar:
    r"""Distance between the gradient at one matrix-product precision and at a better one.

    $\|g_\mathrm{precision} - g_\mathrm{reference}\|_2$: on recent GPUs float32 products run in
    TF32 by default, on TPUs in bfloat16; a gradient difference below this norm measures rounding,
    not the landscape. On a CPU the two are the same and the result is 0.

    Args:
      loss: `loss(params) -> scalar`.
      params: pytree of float32 or float64 arrays.
      precision: a value of `jax.default_matmul_precision`.
      reference: the better precision.

    Returns:
      Scalar, units of the gradient. Divide by ‖η g‖ to compare it with β(η).

    Raises:
      UsageError: the loss returns no scalar, or parameters are not float32 or float64.
    """
    check_scalar(loss, params)
    with jax.default_matmul_precision(precision):
        coarse = jax.grad(loss)(params)
    with jax.default_matmul_precision(reference):
        fine = jax.grad(loss)(params)
    return optax.tree.norm(optax.tree.sub(coarse, fine))
