"""Lanczos with full reorthogonalisation: Ritz values, their weights, residuals and shares.

The tridiagonalisation is matfree's; what it makes beyond a Krylov space that ends is cut away.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float
from matfree import decomp

from bnjax.errors import UsageError

Vector = Float[Array, " size"]
Nodes = Float[Array, " lanczos_steps"]


class Ritz(NamedTuple):
    """What Lanczos knows of a symmetric matrix after m steps from one vector, `[m]` each.

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
      given: the vector g whose share in each Ritz vector is wanted, likewise.
      steps: m, from 1 to the size.

    Returns:
      A `Ritz`, in the dtype of the vectors.

    Raises:
      UsageError: `steps` is below 1.
      ValueError: matfree's own, `steps` is above the size.

    Source: Golub & Meurant 1994 (quadrature); Parlett 1980, §13.2 (residuals).

    Example:
      >>> eigenvalues = jnp.array([1.0, 2.0, 4.0])
      >>> found = lanczos(lambda v: eigenvalues * v, jnp.ones(3), jnp.array([0.0, 0.0, 1.0]), 3)
      >>> found.nodes.round(3).tolist(), found.shares.round(3).tolist()
      ([1.0, 2.0, 4.0], [0.0, 0.0, 1.0])
    """
    if steps < 1:
        raise UsageError(f"steps={steps} must be 1 or more")
    basis, (diagonal, beside), rest, _ = decomp.tridiag_sym(
        steps, materialize=False, reortho="full", custom_vjp=False
    )(product, start)
    # A Krylov space of fewer than m dimensions leaves a rest of rounding errors, or exactly 0 and
    # NaN after it: Lanczos ends there, and what matfree made of the steps beyond is cut away.
    last = jnp.linalg.norm(rest)
    scale = jnp.nanmax(jnp.abs(jnp.concatenate([diagonal, beside])))
    goes_on = beside > jnp.finfo(beside.dtype).eps * scale
    kept = jnp.concatenate([jnp.ones_like(goes_on, shape=(1,)), jnp.cumprod(goes_on, dtype=bool)])
    # Cut rows stand apart, above all eigenvalues (Gershgorin), so they come last and are known.
    diagonal = jnp.where(kept, diagonal, 4 * scale + 1)
    beside = jnp.where(kept[1:], beside, 0)
    nodes, vectors = jnp.linalg.eigh(
        jnp.diag(diagonal) + jnp.diag(beside, 1) + jnp.diag(beside, -1)
    )
    real = jnp.arange(steps) < kept.sum()
    along = vectors.T @ (jnp.where(kept[:, None], basis, 0) @ given)
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
