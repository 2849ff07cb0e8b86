"""How much of a gradient is rounding: the noise floor under every gradient difference."""

import jax
import optax

from bnjax.probes.checks import check_scalar
from bnjax.types import Loss, Params, Scalar


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
      reference: likewise, the one that is trusted.

    Returns:
      Scalar, units of the gradient. Divide by ‖η g‖ to compare it with β(η).

    Raises:
      UsageError: the loss returns no scalar, or a parameter is not float32 or float64, or there is
        none.

    Source: `jax.default_matmul_precision`, whose default depends on the device.

    Example:
      >>> import jax.numpy as jnp
      >>> float(rounding_noise(lambda w: jnp.sum(w**2), jnp.ones(3)))
      0.0
    """
    check_scalar(loss, params)
    with jax.default_matmul_precision(precision):
        coarse = jax.grad(loss)(params)
    with jax.default_matmul_precision(reference):
        fine = jax.grad(loss)(params)
    return optax.tree.norm(optax.tree.sub(coarse, fine))
