r"""The convolution of accelerators: many points of a line at a time, each with a kernel of its own.

`jax.vmap` over kernels makes a grouped convolution, whose gradients are slow (jax issues 13800,
26266). Here the points of small images, one of which leaves an accelerator idle, are one batched
product per tap; those of larger images, each of which fills it, take XLA's own convolution, one
after the other.

A convolution is bilinear, and so are both its gradients: with
$T(x, k, y) = \langle y, k * x \rangle$ each is the derivative of T by one of its arguments as a
function of the other two. So the three are closed under differentiation, at any order and mode.
"""

from typing import Any

import jax
from jax.extend.core import Primitive
from jax.interpreters import ad, batching, mlir

from bnjax.convolution.forms import native, taps
from bnjax.convolution.geometry import Geometry, Images, Kernel, Output
from bnjax.types import Array

TOGETHER = 16  # pixels: up to 4×4 the points are one product
# By which argument T is derived: the result. The other two, in this order, are given.
GIVEN = {"output": ("images", "kernel"), "images": ("output", "kernel"),
         "kernel": ("images", "output")}  # fmt: skip


def convolve_points(images: Images, kernel: Kernel, geometry: Geometry) -> Output:
    """The convolution; equal to `forms.native` up to rounding, differently mapped by `jax.vmap`."""
    # Kept as a parameter: the primitive is lowered when the block that sets it has been left.
    precision = jax.config.jax_default_matmul_precision
    output: Output = term_p.bind(
        images, kernel, result="output", geometry=geometry, precision=precision
    )
    return output


def evaluate(
    a: Array, b: Array, *, result: str, geometry: Geometry, precision: Any, form: Any = native
) -> Array:
    """The derivative of T by `result` at the two that are `GIVEN`."""
    with jax.default_matmul_precision(precision):
        return derive(a, b, result, geometry, form)


def derive(a: Array, b: Array, result: str, geometry: Geometry, form: Any) -> Array:
    """`evaluate` at the precision around it."""
    if result == "output":
        output: Array = form(a, b, geometry)
        return output
    height, width = geometry
    if result == "images":
        shape = (a.shape[0], height.size, width.size, b.shape[2])
        function = lambda images: form(images, b, geometry)  # noqa: E731
        cotangent = a
    else:
        shape = (height.taps, width.taps, a.shape[3], b.shape[3])
        function = lambda kernel: form(a, kernel, geometry)  # noqa: E731
        cotangent = b
    transpose = jax.linear_transpose(function, jax.ShapeDtypeStruct(shape, a.dtype))
    (found,) = transpose(cotangent)
    return found


term_p = Primitive("convolution_term")
term_p.def_impl(jax.jit(evaluate, static_argnames=("result", "geometry", "precision")))


@term_p.def_abstract_eval
def _shape(a: Any, b: Any, **options: Any) -> Any:
    given = (jax.ShapeDtypeStruct(x.shape, x.dtype) for x in (a, b))
    found = jax.eval_shape(lambda a, b: evaluate(a, b, **options), *given)
    return a.update(shape=found.shape, dtype=found.dtype)


def _transpose(cotangent: Array, a: Any, b: Any, *, result: str, **options: Any) -> list:
    """The cotangent of the argument that is not known."""
    first, second = GIVEN[result]
    wanted = first if ad.is_undefined_primal(a) else second
    known = {result: cotangent, **({second: b} if wanted == first else {first: a})}
    found = term_p.bind(*(known[name] for name in GIVEN[wanted]), result=wanted, **options)
    return [found, None] if wanted == first else [None, found]


def _jvp(primals: tuple, tangents: tuple, **options: Any) -> tuple[Array, Any]:
    (a, b), (da, db) = primals, tangents
    terms = []
    if type(da) is not ad.Zero:
        terms.append(term_p.bind(da, b, **options))
    if type(db) is not ad.Zero:
        terms.append(term_p.bind(a, db, **options))
    return term_p.bind(a, b, **options), sum(terms[1:], terms[0])


def _map(arguments: tuple, axes: tuple, **options: Any) -> tuple[Array, int]:
    """The rule of `jax.vmap`."""
    if None in axes:  # no groups: the points are more examples, or more channels
        return jax.vmap(lambda a, b: evaluate(a, b, **options), axes)(*arguments), 0
    points = tuple(jax.numpy.moveaxis(x, axis, 0) for x, axis in zip(arguments, axes, strict=True))
    height, width = options["geometry"]
    if height.size * width.size <= TOGETHER:
        return jax.vmap(lambda a, b: evaluate(a, b, form=taps, **options))(*points), 0
    return jax.lax.map(lambda point: term_p.bind(*point, **options), points), 0


ad.primitive_jvps[term_p] = _jvp
ad.primitive_transposes[term_p] = _transpose
batching.primitive_batchers[term_p] = _map
mlir.register_lowering(term_p, mlir.lower_fun(evaluate, multiple_results=False))
