"""A convolution whose value and gradients each use the form that is fastest for their shape."""

import contextlib
import contextvars
import functools
import os
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Float

from bnjax.convolution.forms import apply_form
from bnjax.convolution.geometry import Geometry, Images, Kernel, Output, make_axis
from bnjax.convolution.points import convolve_points
from bnjax.convolution.table import NATIVE, Choice, choose
from bnjax.errors import UsageError


def convolve(
    images: Float[Array, "..."],
    kernel: Float[Array, "..."],
    *,
    strides: tuple[int, int] = (1, 1),
    padding: str = "SAME",
) -> Output:
    r"""Two-dimensional convolution (cross-correlation, as everywhere in deep learning).

    $y_{bhwd} = \sum_{ijc} x_{b,\,s_h h + i - p_h,\,s_w w + j - p_w,\,c}\, k_{ijcd}$,
    zero outside of the image; equal to `lax.conv_general_dilated` up to rounding.

    Example:
      >>> import jax.numpy as jnp
      >>> convolve(jnp.ones((1, 3, 3, 1)), jnp.ones((3, 3, 1, 1)))[0, :, :, 0].tolist()
      [[4.0, 6.0, 4.0], [6.0, 9.0, 6.0], [4.0, 6.0, 4.0]]
    """
    if images.ndim != 4 or kernel.ndim != 4 or images.shape[3] != kernel.shape[2]:
        raise UsageError(
            f"images {images.shape} and kernel {kernel.shape} do not fit: give images "
            "[batch, height, width, in_channels] and a kernel "
            "[kernel_height, kernel_width, in_channels, out_channels]"
        )
    if images.dtype != kernel.dtype or not jnp.issubdtype(images.dtype, jnp.floating):
        raise UsageError(
            f"images are {images.dtype} and the kernel is {kernel.dtype}: "
            "give both the same floating dtype, e.g. by astype"
        )
    if padding not in ("SAME", "VALID"):
        raise UsageError(f"padding={padding!r} is not known: choose SAME or VALID")
    if len(strides) != 2 or min(strides) < 1:
        raise UsageError(f"strides={strides!r} must be two integers of 1 or more, e.g. (1, 1)")
    height = make_axis(images.shape[1], kernel.shape[0], strides[0], padding)
    width = make_axis(images.shape[2], kernel.shape[1], strides[1], padding)
    if not (height.out_size and width.out_size):
        raise UsageError(
            f"padding='VALID' leaves nothing of images {images.shape} under a kernel "
            f"{kernel.shape}: give larger images, a smaller kernel, or padding='SAME'"
        )
    geometry = Geometry(height, width)
    if jax.default_backend() != "cpu":
        return convolve_points(images, kernel, geometry)
    return _convolve(images, kernel, geometry)


_LOOPED: contextvars.ContextVar[bool] = contextvars.ContextVar("looped", default=True)


@contextlib.contextmanager
def outside_loops() -> Iterator[None]:
    """Within the block convolutions are traced for programs that no loop of XLA contains.

    XLA's own gradients are slow inside a loop only; outside they are as fast as other forms of few
    channels, and compile in a third of the time.
    """
    token = _LOOPED.set(False)
    try:
        yield
    finally:
        _LOOPED.reset(token)


def is_off(chosen: str) -> bool:
    """What `BNJAX_WINOGRAD` says: 0 for off; 1 or nothing for on."""
    if chosen not in ("", "0", "1"):
        raise UsageError(f"BNJAX_WINOGRAD={chosen} is not known: choose 0 or 1")
    return chosen == "0"


# JAX keeps compiled programs by it, so that none is taken for the other.
_DIRECT = jax.make_user_context(is_off(os.environ.get("BNJAX_WINOGRAD", "")))


def without_winograd() -> contextlib.AbstractContextManager[None]:
    """Within the block convolutions on a CPU sum directly, without Winograd's fewer products.

    The sums are XLA's own, where these are not slow (in loops they are), else products of the same
    accuracy. With `BNJAX_WINOGRAD=0` in the environment all convolutions are such. Accelerators
    have XLA's own in any case. From 256 channels on, Winograd's error in float32 is up to 2.1 times
    that of XLA's own (root mean squares, 1e-7 to 8e-7 of the result); with 64 it is no larger.

    Returns:
      A context manager. Functions that were compiled outside of it are compiled again within.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> images, kernel = jnp.ones((1, 8, 8, 256)), jnp.ones((3, 3, 256, 256))
      >>> with without_winograd():
      ...     output = jax.jit(convolve)(images, kernel)
      >>> float(output[0, 1, 1, 0])
      2304.0
    """
    found: contextlib.AbstractContextManager[None] = _DIRECT(True)
    return found


def _choose(geometry: Geometry, kernel: Kernel) -> Choice:
    if kernel.dtype.itemsize < 4:  # sums and transforms in half precision would lose what is left
        return NATIVE
    backend, looped, direct = jax.default_backend(), _LOOPED.get(), _DIRECT.value
    return choose(backend, geometry, *kernel.shape[2:], looped=looped, direct=direct)


@functools.partial(jax.custom_jvp, nondiff_argnums=(2,))
def _convolve(images: Images, kernel: Kernel, geometry: Geometry) -> Output:
    forms = _choose(geometry, kernel)
    return apply_form(forms.value, images, kernel, geometry)


def _term(form: str, images: Images, kernel: Kernel, geometry: Geometry) -> Output:
    # Patches and transforms of the fixed argument are several times as large as the argument: the
    # backward pass recomputes them.
    @jax.checkpoint
    def term(images: Images, kernel: Kernel) -> Output:
        return apply_form(form, images, kernel, geometry)

    return term(images, kernel)


# Reverse mode runs the transposes of the two terms below and nothing else: of the first, which is
# linear in the images, for the input gradient; of the second for the kernel gradient. Zero tangents
# are symbolic, so that arguments without a derivative (images of a first layer) cost nothing.
@functools.partial(_convolve.defjvp, symbolic_zeros=True)
def _convolve_jvp(
    geometry: Geometry, primals: tuple[Images, Kernel], tangents: tuple[Any, Any]
) -> tuple[Output, Output]:
    images, kernel = primals
    d_images, d_kernel = tangents
    forms = _choose(geometry, kernel)
    terms = []
    if not isinstance(d_images, SymbolicZero):
        terms.append(_term(forms.input_gradient, d_images, kernel, geometry))
    if not isinstance(d_kernel, SymbolicZero):
        terms.append(_term(forms.kernel_gradient, images, d_kernel, geometry))
    output = _convolve(images, kernel, geometry)
    return output, sum(terms[1:], terms[0]) if terms else jnp.zeros_like(output)
