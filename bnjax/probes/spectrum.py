"""The spectrum of a Hessian without the Hessian: Lanczos, stochastic trace, the gradient's share.

Everything acts on the flattened parameters of any `loss(params) -> scalar` by products with its
Hessian, or with another curvature matrix (`probes.curvature`).
"""

from collections.abc import Callable
from typing import Annotated, Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
from jaxtyping import Array, ArrayLike, Float, Key

from bnjax import fields
from bnjax.arithmetic import euclidean, trees
from bnjax.errors import UsageError
from bnjax.fields import Field
from bnjax.probes.composite import compose, restrict
from bnjax.probes.curvature import (
    Curvature,
    Matrix,
    Mode,
    curvature_number,
    find_matrix,
    mode_number,
    multiply,
)
from bnjax.probes.points import check_counts, check_key, check_scalar, count_call
from bnjax.types import Index, Loss, Params, PRNGKey, Scalar

Vector = Float[Array, " size"]
Nodes = Float[Array, " lanczos_steps"]


class Ritz(NamedTuple):
    """Ritz values and vectors of a symmetric matrix after m Lanczos steps, `[m]` each.

    Where the vector's Krylov space has fewer than m dimensions (low rank), the last nodes are NaN.
    Nodes and residuals are in units of the matrix (of a Hessian, the loss over parameters squared);
    weights and shares have no unit.
    """

    nodes: Nodes  # Ritz values λ_i, rising
    weights: Nodes  # of the quadrature vᵀ f(H) v / ‖v‖² ≈ Σ w_i f(λ_i); they add up to 1
    residuals: Nodes  # ‖H u_i − λ_i u_i‖₂ with the Ritz vector u_i, ‖u_i‖ = 1
    shares: Nodes  # ⟨u_i, g⟩² / ‖g‖² of a given vector g


def lanczos(product: Callable[[Vector], Vector], start: Vector, given: Vector, steps: int) -> Ritz:
    r"""Lanczos with full reorthogonalisation from one vector: $Q^T H Q = T = S \Lambda S^T$.

    Weights are $S_{1i}^2$, residuals $\beta_m |S_{mi}|$, Ritz vectors the columns of Q S.

    Args:
      product: `v -> H v`, H symmetric, `[size]` to `[size]`.
      start: the first Krylov vector, `[size]`, float32 or float64, of any length but 0.
      given: the vector g whose share in each Ritz vector is wanted, `[size]`.
      steps: m, from 1 to the size.

    Returns:
      A `Ritz`, in the dtype of the vectors.

    Raises:
      UsageError: `steps` is below 1.

    Source: Golub & Meurant 1994 (quadrature); Parlett 1980, §13.2 (residuals).

    Example:
      >>> eigenvalues = jnp.array([1.0, 2.0, 4.0])
      >>> found = lanczos(lambda v: eigenvalues * v, jnp.ones(3), jnp.array([0.0, 0.0, 1.0]), 3)
      >>> found.nodes.round(3).tolist(), found.shares.round(3).tolist()
      ([1.0, 2.0, 4.0], [0.0, 0.0, 1.0])
    """
    if steps < 1:
        raise UsageError(f"steps={steps} must be 1 or more")

    # The basis by rows: by columns, as libraries keep it, XLA holds a second copy of it.
    def step(row: Index, carry: tuple[Array, ...]) -> tuple[Array, ...]:
        basis, diagonal, lengths, rest = carry
        vector = rest / lengths[row]
        basis = basis.at[row].set(vector)
        rest = product(vector)
        diagonal = diagonal.at[row].set(jnp.vdot(vector, rest))
        for _ in range(2):  # once is not enough in float32
            rest = rest - (basis @ rest) @ basis
        return basis, diagonal, lengths.at[row + 1].set(trees.norm(rest)), rest

    zeros = jnp.zeros((steps, start.shape[0]), start.dtype)
    lengths = jnp.zeros(steps + 1, start.dtype).at[0].set(trees.norm(start))
    begun = zeros, jnp.zeros(steps, start.dtype), lengths, start
    basis, diagonal, lengths, _ = jax.lax.fori_loop(0, steps, step, begun)
    # A Krylov space of fewer than m dimensions leaves a rest of rounding errors, or exactly 0 and
    # NaN after it: Lanczos ends there, and further steps are cut off.
    beside, last = lengths[1:-1], lengths[-1]
    scale = jnp.nanmax(jnp.abs(jnp.concatenate([diagonal, beside])))
    goes_on = beside > jnp.finfo(beside.dtype).eps * scale
    kept = jnp.concatenate([jnp.ones_like(goes_on, shape=(1,)), jnp.cumprod(goes_on, dtype=bool)])
    # Cut rows get eigenvalues above all others (Gershgorin), so they come last.
    diagonal = jnp.where(kept, diagonal, 4 * scale + 1)
    beside = jnp.where(kept[1:], beside, 0)
    nodes, vectors = jnp.linalg.eigh(
        jnp.diag(diagonal) + jnp.diag(beside, 1) + jnp.diag(beside, -1)
    )
    real = jnp.arange(steps) < kept.sum()
    given = euclidean.scaled(given).values  # shares are squares
    along = vectors.T @ jnp.where(kept, basis @ given, 0)  # no second copy of the basis
    return Ritz(
        nodes=jnp.where(real, nodes, jnp.nan),
        weights=jnp.where(real, vectors[0] ** 2, 0),
        residuals=jnp.where(real, jnp.where(kept[-1], last * jnp.abs(vectors[-1]), 0), jnp.nan),
        shares=jnp.where(real, along**2 / jnp.vdot(given, given), 0),
    )


def ends(ritz: Ritz, count: int) -> tuple[Ritz, Ritz]:
    """The `count` largest Ritz values, falling, and the smallest, rising; NaN beyond the last."""
    found = jnp.isfinite(ritz.nodes).sum()
    ranks = jnp.arange(count, dtype=found.dtype)

    def taken(index: Array) -> Ritz:
        return Ritz(*(jnp.where(ranks < found, field[index], jnp.nan) for field in ritz))

    return taken(jnp.maximum(found - 1 - ranks, 0)), taken(ranks)


PerVector: TypeAlias = Float[Array, "vector node"]
PerRank: TypeAlias = Float[Array, " rank"]


class Spectrum(NamedTuple):
    """Of the Hessian of the loss, by Lanczos iterations; ∇L is the gradient at the same point.

    If `spectrum` was asked for another curvature matrix, of that one, as `curvature` says: its
    place in `probes.CURVATURES`. Eigenvalues, nodes,
    residuals, the trace and its error are in units of the loss over parameters squared; weights,
    shares and fractions have no unit. `nodes`, `weights`, `residuals` and `shares` are those of
    `Ritz`, a row for each random vector; eigenvalues are from the first.
    """

    loss: Annotated[Scalar, Field("Loss on the probed examples")]
    gradient_norm: Annotated[Scalar, Field("Gradient norm on the probed examples")]
    trace: Annotated[Scalar, Field("Trace")]  # mean of vᵀHv over random signs v
    trace_error: Annotated[Scalar, Field("Standard error of the trace")]
    nodes: Annotated[PerVector, Field("Ritz values")]
    weights: Annotated[PerVector, Field("Weights of the quadrature")]
    residuals: Annotated[PerVector, Field("Residuals of the Ritz vectors")]
    shares: Annotated[PerVector, Field("Share of ‖∇L‖² in each Ritz vector", bounded=True)]
    largest: Annotated[PerRank, Field("Greatest eigenvalues λ")]  # falling
    largest_residuals: Annotated[PerRank, Field("Residuals of the greatest eigenvalues")]
    smallest: Annotated[PerRank, Field("Least eigenvalues λ")]  # rising
    smallest_residuals: Annotated[PerRank, Field("Residuals of the least eigenvalues")]
    # ‖P_j g‖² / ‖g‖² with the projection P_j on the j greatest, j = 1 … top.
    gradient_fraction: Annotated[
        PerRank, Field("Share of ‖∇L‖² in the greatest eigenvectors", bounded=True)
    ]
    curvature: Curvature
    derivative_mode: Mode

    def plot(self, **options: Any) -> Any:
        """Draw it, see `bnjax.plot`."""
        return fields.plot(self, **options)

    def to_xarray(self) -> Any:
        """An `xarray.Dataset`, see `bnjax.to_xarray`."""
        return fields.to_xarray(self)

    def to_dataframe(self) -> Any:
        """A `pandas.DataFrame`, see `bnjax.to_dataframe`."""
        return fields.to_dataframe(self)

    def __repr__(self) -> str:
        return fields.summary(self)


def spectrum(
    loss: Loss,
    params: Params,
    key: PRNGKey,
    *,
    lanczos_steps: int = 30,
    num_vectors: int = 1,
    num_trace_vectors: int = 5,
    top: int = 10,
    curvature: str = "hessian",
    num_draws: int = 1,
    parameters: trees.Parameters | None = None,
    precision: str = "highest",
) -> Spectrum:
    r"""Measure eigenvalues, density, trace and gradient of a loss at one point.

    An m-step Lanczos run from each random vector v gives Ritz values λ_i and weights w_i, the
    nodes of a quadrature for the spectral density (see `density`); the outermost Ritz values
    converge to the outermost eigenvalues, each of which counts once however often it occurs.
    `largest[0]` is the sharpness, `smallest[0]` the most negative eigenvalue (if it is below 0),
    both as good as their residuals: an eigenvalue lies within a residual of each.
    Costs `num_vectors · lanczos_steps + num_trace_vectors` Hessian-vector products (two to three
    gradients each). Memory: `lanczos_steps` copies of the parameters beside that of one product,
    however many random vectors there are. Works under `jit`.

    Args:
      loss: `loss(params) -> scalar`, twice differentiable; the examples are inside it.
      params: pytree of float32 or float64 arrays, the point.
      key: typed PRNG key of the random vectors.
      lanczos_steps: m, from 2 to the number of parameters.
      num_vectors: Gaussian vectors that a Lanczos run starts from.
      num_trace_vectors: vectors of random signs for the trace; 2 or more.
      top: eigenvalues at each end, at most m.
      curvature: the matrix: `hessian`, `gauss_newton`, `fisher` or `empirical_fisher`, see
        `curvature_vector_product`. The latter three need a loss that tells the model's outputs.
      num_draws: labels that the model draws for each example, for `fisher`.
      parameters: as for `line`: the spectrum of one block of the matrix, such as that of the layer
        `"conv3/*"`; the gradient is that of the block, too.
      precision: a value of `jax.default_matmul_precision`.

    Returns:
      A `Spectrum`; the loss in its own dtype, all else in that of the parameters.

    Raises:
      UsageError: a parameter is not float32 or float64, a loss that is no scalar,
        `lanczos_steps`, `top`, `num_vectors` or `num_trace_vectors` out of its range, `parameters`
        that select nothing, or a curvature that `curvature_vector_product` refuses.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> quadratic = lambda w: 0.5 * jnp.sum(jnp.array([1.0, 2.0, 4.0]) * w**2)
      >>> found = spectrum(quadratic, jnp.ones(3), jax.random.key(0), lanczos_steps=3, top=2)
      >>> [round(float(x), 4) for x in found.largest], round(float(found.trace), 4)
      ([4.0, 2.0], 7.0)

    Source: Ghorbani, Krishnan & Xiao 2019 (1901.10159); Hutchinson 1989 (trace).
    """
    check_scalar(loss, params)
    check_key(key)
    count_call("spectrum", loss, params)
    loss, params = restrict(loss, params, parameters)
    point, unravel = trees.ravel(params)
    _check(point.size, lanczos_steps, num_vectors, num_trace_vectors, top)
    flat_loss = compose(loss, unravel)
    for_starts, for_signs, for_labels = (jax.random.fold_in(key, use) for use in (0, 1, 2))
    with jax.default_matmul_precision(precision):
        matrix = find_matrix(flat_loss, point, curvature, for_labels, num_draws)
        signs = jax.random.split(for_signs, num_trace_vectors)
        value, gradient, samples = _quadratic_forms(flat_loss, point, matrix, signs)

        def product(vector: Vector) -> Vector:
            return multiply(flat_loss, point, vector, matrix)[1]

        def run(key: PRNGKey) -> Ritz:
            start = jax.random.normal(key, point.shape, point.dtype)
            return lanczos(product, start, gradient, lanczos_steps)

        # One vector after the other: only one Krylov basis is in memory.
        found = jax.lax.map(run, jax.random.split(for_starts, num_vectors))
    mean, error = mean_and_error(samples)
    first = Ritz(*(field[0] for field in found))
    largest, smallest = ends(first, top)
    return Spectrum(
        loss=value,
        gradient_norm=trees.norm(gradient),
        trace=mean,
        trace_error=error,
        **found._asdict(),
        largest=largest.nodes,
        largest_residuals=largest.residuals,
        smallest=smallest.nodes,
        smallest_residuals=smallest.residuals,
        gradient_fraction=jnp.where(
            jnp.isfinite(largest.nodes[0]), jnp.cumsum(jnp.nan_to_num(largest.shares)), jnp.nan
        ),
        curvature=curvature_number(curvature, point.dtype),
        derivative_mode=mode_number(matrix.mode, point.dtype),
    )


def density(nodes: ArrayLike, weights: ArrayLike, grid: ArrayLike, width: float) -> Vector:
    r"""The spectral density, each eigenvalue broadened to a Gaussian of standard deviation `width`.

    $\phi(t) = \sum_i w_i\, N(t; \lambda_i, \mathrm{width}^2)$, mean over the random vectors.

    Args:
      nodes: Ritz values `[…, lanczos_steps]`, of one vector or of several; NaN counts nothing.
      weights: of the same shape; those of a vector add up to 1.
      grid: where to evaluate it, `[size]`, floating-point, units of the nodes.
      width: of the kernel, above 0, units of the nodes.

    Returns:
      `[size]`, share of all eigenvalues per unit of the nodes, in the dtype of `grid`; integrates
      to 1.

    Raises:
      UsageError: `width` is not above 0.

    Example:
      >>> import jax.numpy as jnp
      >>> grid = jnp.linspace(-1.0, 3.0, 401)
      >>> values = density(jnp.array([0.0, 2.0]), jnp.array([0.75, 0.25]), grid, 0.1)
      >>> round(float(values.sum() * (grid[1] - grid[0])), 4), round(float(values[100]), 3)
      (1.0, 2.992)

    Source: Ghorbani et al. 2019, §2.
    """
    if isinstance(width, float | int) and not width > 0:  # not of a traced one
        raise UsageError(f"width={width} must be above 0")
    grid = jnp.asarray(grid)
    nodes, weights = (jnp.atleast_2d(jnp.asarray(rows, grid.dtype)) for rows in (nodes, weights))
    nodes, weights = (rows.reshape(-1, rows.shape[-1]) for rows in (nodes, weights))
    apart = (grid[:, None, None] - jnp.nan_to_num(nodes)[None]) / width
    kernel = jnp.exp(-0.5 * apart**2) / (width * (2 * jnp.pi) ** 0.5)
    return (kernel * weights[None]).sum(axis=2).mean(axis=1)


def mean_and_error(samples: Float[Array, " num_samples"]) -> tuple[Scalar, Scalar]:
    """Mean of independent samples and its standard error s/√N, s² unbiased."""
    values, scale = euclidean.scaled(samples)
    return samples.mean(), values.std(ddof=1) / samples.shape[0] ** 0.5 * scale


def _quadratic_forms(
    loss: Loss, point: Vector, matrix: Matrix, keys: Key[Array, " num_vectors"]
) -> tuple[Scalar, Vector, Float[Array, " num_vectors"]]:
    """Loss, gradient, and vᵀMv of a vector of random signs for each key, from one pass per vector.

    One vector is in memory at a time: each is drawn where it is used.
    """

    def visit(carry: tuple[Scalar, Vector], key: PRNGKey) -> tuple[tuple[Scalar, Vector], Scalar]:
        del carry  # the same at every vector
        vector = jax.random.rademacher(key, point.shape, point.dtype)
        found, product = multiply(loss, point, vector, matrix)
        return found, jnp.vdot(vector, product)

    shape: Any = jax.eval_shape(loss, point)
    (value, gradient), samples = jax.lax.scan(
        visit, (jnp.zeros(shape.shape, shape.dtype), jnp.zeros_like(point)), keys
    )
    return value, gradient, samples


def _check(
    size: int, lanczos_steps: int, num_vectors: int, num_trace_vectors: int, top: int
) -> None:
    check_counts(lanczos_steps=lanczos_steps, top=top, num_vectors=num_vectors)
    if not 2 <= lanczos_steps <= size:
        raise UsageError(
            f"lanczos_steps={lanczos_steps} must be from 2 to the number of parameters, {size}"
        )
    if not 1 <= top <= lanczos_steps:
        raise UsageError(f"top={top} must be from 1 to lanczos_steps={lanczos_steps}")
    check_counts(2, num_trace_vectors=num_trace_vectors)  # one has no standard error
