r"""How much of a gradient difference is rounding.

A probe compares nearly equal gradients: at a small step size their difference is what arithmetic
rounds, not what the landscape does. The noise is measured with the arithmetic that a loss really
uses: its parameters move by the rounding error of its coarsest type, and the gradient with them.
"""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

from bnjax.arithmetic import trees
from bnjax.arithmetic.equations import programs_inside
from bnjax.probes.composite import restrict
from bnjax.probes.points import check_scalar
from bnjax.types import Array, Loss, Params, Scalar

# Relative spacing of what an accelerator multiplies 32-bit numbers in, by backend and the precision
# of the product: TF32 has 10 bits of fraction, bfloat16 7, three bfloat16 about 16.
PRODUCTS = {
    ("gpu", "DEFAULT"): 2.0**-10, ("gpu", "HIGH"): 2.0**-10,
    ("tpu", "DEFAULT"): 2.0**-7, ("tpu", "HIGH"): 2.0**-16,
}  # fmt: skip
RESOLVED = 3.0  # times the noise: rounding then changes a distance by 1 part in 18 (√(1 + 1/9))


def rounding_noise(
    loss: Loss,
    params: Params,
    *,
    parameters: trees.Parameters | None = None,
    precision: str = "highest",
) -> Scalar:
    r"""How far rounding alone moves a gradient.

    $\|\nabla L(\tilde\theta) - \nabla L(\theta)\|_2$ with
    $\tilde\theta_i = \theta_i \pm \tfrac{\epsilon}{2}|\theta_i|$, the largest rounding error of the
    coarsest arithmetic in the loss: ε of float32, of bfloat16 where the loss computes in it, of
    TF32 where a GPU multiplies in it. A gradient difference below three times this noise is not
    resolved: rounding may change it by more than 5 %.

    Args:
      loss: `loss(params) -> scalar`.
      params: pytree of float32 or float64 arrays.
      parameters: as for `line`: only the selected leaves are moved, and the gradient is by them.
      precision: a value of `jax.default_matmul_precision` for the probe.

    Returns:
      Scalar, units of the gradient. Divide by ‖η d‖ to compare it with β(η).

    Raises:
      UsageError: the loss returns no scalar, parameters are not float32 or float64, or `parameters`
        select none.

    Source: definition, as a difference of gradients at points that the arithmetic cannot tell
    apart (Higham 2002, "Accuracy and Stability of Numerical Algorithms", §1.5, backward error).

    Example:
      >>> import jax.numpy as jnp
      >>> fine = lambda w: jnp.sum(w**3)
      >>> coarse = lambda w: jnp.sum(w.astype(jnp.bfloat16).astype(jnp.float32) ** 3)
      >>> w = jnp.array([1.5, -2.25], jnp.float32)
      >>> [f"{float(rounding_noise(loss, w)):.0e}" for loss in (fine, coarse)]
      ['3e-06', '2e-01']
    """
    check_scalar(loss, params)
    loss, params = restrict(loss, params, parameters)
    epsilon = coarsest_epsilon(loss, params, precision=precision)
    with jax.default_matmul_precision(precision):
        here, there = (
            jax.grad(loss)(point) for point in (params, round_otherwise(params, epsilon))
        )
    return trees.norm(there, less=here)


def round_otherwise(params: Params, epsilon: float) -> Params:
    """The parameters, each moved by ε/2 of itself; the lowest bit of its own fraction says where.

    Args:
      params: pytree of float32 or float64 arrays.
      epsilon: relative spacing of a floating-point type.

    Returns:
      A pytree like `params`, the same at every call.
    """

    def move(leaf: Array) -> Array:
        bits = jax.lax.bitcast_convert_type(leaf, f"uint{8 * leaf.dtype.itemsize}")
        sign = jnp.where(bits & 1 == 1, 1, -1).astype(leaf.dtype)
        return leaf + sign * (epsilon / 2) * jnp.abs(leaf)

    return jax.tree.map(move, params)


def coarsest_epsilon(loss: Any, *arguments: Any, precision: str = "highest") -> float:
    """Relative spacing of the coarsest arithmetic in a function; nothing is computed.

    Args:
      loss: a traceable function.
      *arguments: of it.
      precision: a value of `jax.default_matmul_precision` for its products.

    Returns:
      The largest ε among the floating-point types that its operations return and, on accelerators,
      those that its products of 32-bit numbers round their factors to.

    Example:
      >>> coarsest_epsilon(lambda w: w.astype("bfloat16").sum(), jnp.ones(3)) == 2**-7
      True
    """
    with jax.default_matmul_precision(precision):
        program = jax.make_jaxpr(loss)(*arguments)
    return max(spacings(program.jaxpr), default=0.0)


def spacings(program: Any) -> Iterator[float]:
    """ε of each floating-point result in a program and in all programs inside it."""
    for equation in program.eqns:
        for variable in equation.outvars:
            if jnp.issubdtype(getattr(variable.aval, "dtype", jnp.int32), jnp.floating):
                yield float(jnp.finfo(variable.aval.dtype).eps)
        if "precision" in equation.params and equation.outvars[0].aval.dtype == jnp.float32:
            yield PRODUCTS.get((jax.default_backend(), product_precision(equation)), 0.0)
        for program_inside in programs_inside(equation):
            yield from spacings(program_inside)


def product_precision(equation: Any) -> str:
    """DEFAULT, HIGH or HIGHEST, of the coarser factor."""
    given = equation.params["precision"]
    pair = given if isinstance(given, tuple) else (given,)
    names = [str(getattr(one, "name", one) or "DEFAULT").upper() for one in pair]
    return min(names, key=["DEFAULT", "HIGH", "HIGHEST"].index)
