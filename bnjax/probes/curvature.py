r"""Products of a vector with a curvature matrix: the Hessian, Gauss–Newton, the Fisher.

All four are sums over examples, in the normalisation of the loss itself (c is 1/n for a mean, 1 for
a sum). f are the model's outputs, J their Jacobian by the parameters, ℓ the cost of an example:

* Hessian $\nabla^2 L$;
* Gauss–Newton $J^\top \nabla_f^2 L\, J$: never negative where ℓ is convex in f;
* Fisher $c \sum_i E_y[\nabla \ell_i(y) \nabla \ell_i(y)^\top]$ with labels y that the model draws;
* empirical Fisher $c \sum_i \nabla \ell_i \nabla \ell_i^\top$ with the labels of the data.
"""

import contextlib
import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

from bnjax.arithmetic import trees
from bnjax.arithmetic.equations import contents
from bnjax.errors import UsageError
from bnjax.fields import Field
from bnjax.probes.composite import Composite, Mean, compose, mean_of_chunks, on_chunk, restrict
from bnjax.probes.points import check_counts, check_key, check_like, check_scalar, count_call
from bnjax.probes.rounding import coarsest_epsilon
from bnjax.types import Array, Loss, Params, PRNGKey, PyTree, Scalar

CURVATURES = ("hessian", "gauss_newton", "fisher", "empirical_fisher")
# How a gradient is differentiated once more. Some functions have a gradient of their own making
# (`jax.custom_vjp`: implicit solvers, fused kernels) and no derivative in forward mode.
MODES = ("forward", "reverse", "differences")
Curvature: TypeAlias = Annotated[
    Scalar,
    Field("Curvature matrix: 0 Hessian, 1 Gauss–Newton, 2 Fisher, 3 empirical Fisher"),
]
Mode: TypeAlias = Annotated[
    Scalar, Field("Derivative of the gradient: 0 forward mode, 1 reverse mode, 2 differences")
]


class Matrix(NamedTuple):
    """Which curvature matrix, and how to multiply with it."""

    curvature: str
    key: Any = None  # typed PRNG key of the labels that the model draws
    num_draws: int = 1
    mode: str = "forward"


@dataclasses.dataclass(frozen=True)
class Product:
    """`v -> M v` with a curvature matrix M.

    Attributes:
      mode: one of `MODES`: `forward` mode over the gradient; `reverse` mode over it, as exact, at a
        higher cost; `differences` of four gradients, of fourth order, where neither exists. With a
        fused attention in float32 their relative error was 5e-5 (measured once).
    """

    multiply: Callable[[PyTree], PyTree]
    mode: str

    def __call__(self, vector: PyTree) -> PyTree:
        return self.multiply(vector)


def hessian_vector_product(
    loss: Loss,
    params: Params,
    *,
    parameters: trees.Parameters | None = None,
    precision: str = "highest",
) -> Product:
    """`v -> H v`, H the Hessian of `loss` at `params`.

    Args:
      loss: `loss(params) -> scalar`, twice differentiable.
      params: pytree of float32 or float64 arrays.
      parameters: as for `line`: the product is that of the selected block, with zeros elsewhere.
      precision: a value of `jax.default_matmul_precision`.

    Returns:
      A `Product`: a function from a pytree like `params`, in its dtypes, to another; units of the
      gradient for a direction in units of the parameters. Its `mode` says how it is made.

    Raises:
      UsageError: as `curvature_vector_product`.

    Source: Pearlmutter 1994, "Fast Exact Multiplication by the Hessian".

    Example:
      >>> import jax.numpy as jnp
      >>> product = hessian_vector_product(lambda w: jnp.sum(w**3), jnp.array([1.0, 2.0]))
      >>> product(jnp.array([1.0, 1.0])).tolist(), product.mode
      ([6.0, 12.0], 'forward')
    """
    options: Any = {"parameters": parameters, "precision": precision}
    return curvature_vector_product(loss, params, "hessian", **options)


def curvature_vector_product(
    loss: Loss,
    params: Params,
    curvature: str,
    *,
    key: PRNGKey | None = None,
    num_draws: int = 1,
    parameters: trees.Parameters | None = None,
    precision: str = "highest",
) -> Product:
    r"""`v -> M v`, M one of the curvature matrices of a loss at `params`.

    Args:
      loss: `loss(params) -> scalar`; a `Composite`, or `mean_over` of one, for all but the Hessian.
      params: pytree of float32 or float64 arrays.
      curvature: `hessian`, $\nabla^2 L$; `gauss_newton`, $J^\top \nabla_f^2 L J$; `fisher`,
        the mean of $\nabla\ell \nabla\ell^\top$ over examples and labels that the model draws;
        `empirical_fisher`, the same with the labels of the data. For softmax cross-entropy and for
        half the squared error the Fisher's expectation is the Gauss–Newton matrix: that one is
        exact.
      key: typed PRNG key of the labels that the model draws, the same at every product; for
        `fisher`.
      num_draws: labels that are drawn for each example; for `fisher`.
      parameters: as for `line`: the product is that of the selected block, with zeros elsewhere.
      precision: a value of `jax.default_matmul_precision`.

    Returns:
      A `Product`: a function from a pytree like `params` to another, in their dtypes.

    Raises:
      UsageError: a curvature that is not known, a loss that does not tell what it needs, no key or
        less than one draw for `fisher`; a parameter that is not float32 or float64, `parameters`
        that select nothing, a loss that is no scalar; at the call, a vector unlike `params`.

    Source: Schraudolph 2002, "Fast Curvature Matrix-Vector Products" (Gauss–Newton); Kunstner,
    Balles & Hennig 2019 (1905.12558) for the two Fishers.

    Example:
      >>> import optax
      >>> inputs, labels = jnp.array([[1.0, 2.0]]), jnp.array([0])
      >>> cross_entropy = optax.losses.softmax_cross_entropy_with_integer_labels
      >>> loss = Composite(lambda w: inputs @ w, cross_entropy, labels)
      >>> product = curvature_vector_product(loss, jnp.zeros((2, 2)), "gauss_newton")
      >>> product(jnp.eye(2)).tolist()  # J = inputs, ∇²ℓ = ¼ [[1, −1], [−1, 1]]
      [[-0.25, 0.25], [-0.5, 0.5]]
    """
    check_scalar(loss, params)
    own, selected = restrict(loss, params, parameters)
    matrix = find_matrix(own, selected, curvature, key, num_draws)

    def product(vector: PyTree) -> PyTree:
        check_like(params, vector, "the vector")
        with jax.default_matmul_precision(precision):
            if parameters is None:
                return multiply(loss, params, vector, matrix)[1]
            part, rest = trees.partition(vector, parameters)
            found = multiply(own, selected, part, matrix)[1]
        return trees.combine(found, jax.tree.map(jnp.zeros_like, rest))

    return Product(product, matrix.mode)


class Diagonal(NamedTuple):
    """Of the Hessian, or of the curvature matrix that was asked for, M.

    In units of the loss over parameters squared; `sum_of_squares` in these squared.
    """

    values: Params  # M_ii, a pytree like the parameters
    errors: Params  # their standard errors; 0 where the values are exact
    # Σ M_ii², without the bias that the squares of the errors have
    sum_of_squares: Annotated[Scalar, Field("Sum of squares of the diagonal")]
    derivative_mode: Mode


def diagonal(
    loss: Loss,
    params: Params,
    key: PRNGKey,
    *,
    num_vectors: int = 100,
    curvature: str = "hessian",
    num_draws: int = 1,
    parameters: trees.Parameters | None = None,
    precision: str = "highest",
) -> Diagonal:
    r"""The diagonal of the Hessian, by Hutchinson's estimator or exactly.

    $M_{ii} \approx \frac1N \sum_n v_{ni} (M v_n)_i$ with N vectors of random signs, without bias;
    the variance of a sample is $\sum_{j \ne i} M_{ij}^2$. $\sum_i M_{ii}^2$ is the sum of the
    squared estimates less their squared standard errors, which has no bias either, and can be
    negative. If `num_vectors` reaches the number of parameters, it takes one product with each unit
    vector in their place, and all is exact: so small layers are, by `parameters="output/*"`.

    Args:
      loss: `loss(params) -> scalar`, twice differentiable; the examples are inside it.
      params: pytree of float32 or float64 arrays, the point.
      key: typed PRNG key of the random vectors.
      num_vectors: N, 2 or more: products that it may take.
      curvature: as for `spectrum`.
      num_draws: as for `spectrum`.
      parameters: as for `line`; the other leaves are None in the result.
      precision: a value of `jax.default_matmul_precision`.

    Returns:
      A `Diagonal`, in the dtypes of the parameters.

    Raises:
      UsageError: fewer than two vectors, else as `curvature_vector_product`.

    Source: Bekas, Kokiopoulou & Saad 2007, "An estimator for the diagonal of a matrix".

    Example:
      >>> loss = lambda w: w[0] ** 2 * w[1] + 3 * w[1] ** 2
      >>> found = diagonal(loss, jnp.array([1.0, 2.0]), jax.random.key(0))
      >>> found.values.tolist(), found.errors.tolist(), float(found.sum_of_squares)
      ([4.0, 6.0], [0.0, 0.0], 52.0)
    """
    check_counts(2, num_vectors=num_vectors)  # one has no standard error
    check_scalar(loss, params)
    check_key(key)
    count_call("diagonal", loss, params)
    loss, params = restrict(loss, params, parameters)
    point, unravel = trees.ravel(params)
    flat_loss = compose(loss, unravel)
    for_signs, for_labels = (jax.random.fold_in(key, use) for use in (1, 2))
    with jax.default_matmul_precision(precision):
        matrix = find_matrix(flat_loss, point, curvature, for_labels, num_draws)

        def exact(place: Array) -> Scalar:
            vector = jnp.zeros_like(point).at[place].set(1)
            return multiply(flat_loss, point, vector, matrix)[1][place]

        def visit(carry: tuple[Array, Array], numbered: tuple[Array, PRNGKey]) -> Any:
            mean, spread = carry
            number, own_key = numbered
            vector = jax.random.rademacher(own_key, point.shape, point.dtype)
            sample = vector * multiply(flat_loss, point, vector, matrix)[1]
            moved = mean + (sample - mean) / (number + 1)
            return (moved, spread + (sample - mean) * (sample - moved)), None

        if num_vectors >= point.size:
            values = jax.lax.map(exact, jnp.arange(point.size))
            squared_errors = jnp.zeros_like(values)
        else:
            keys = jax.random.split(for_signs, num_vectors)
            numbers = jnp.arange(num_vectors, dtype=point.dtype)
            begun = jnp.zeros_like(point), jnp.zeros_like(point)
            (values, spread), _ = jax.lax.scan(visit, begun, (numbers, keys))
            squared_errors = spread / ((num_vectors - 1) * num_vectors)
    return Diagonal(
        unravel(values),
        unravel(jnp.sqrt(squared_errors)),
        jnp.sum(values**2 - squared_errors),
        mode_number(matrix.mode, point.dtype),
    )


def mode_number(mode: str, dtype: Any) -> Scalar:
    return jnp.full((), MODES.index(mode), dtype)


def curvature_number(curvature: str, dtype: Any) -> Scalar:
    return jnp.full((), CURVATURES.index(curvature), dtype)


def find_matrix(
    loss: Any, params: Params, curvature: str, key: PRNGKey | None = None, num_draws: int = 1
) -> Matrix:
    """The matrix that is asked for, if the loss tells what it needs, and the mode that works.

    Forward mode, if the loss has no `jax.custom_vjp`; else the first of `MODES` that can be traced.
    Nothing is computed.
    """
    if isinstance(loss, Mean):
        loss = on_chunk(loss.chunk_loss, jax.tree.map(lambda leaf: leaf[0], loss.chunks))
    if curvature not in CURVATURES:
        raise UsageError(f"curvature={curvature!r} is not known: choose {', '.join(CURVATURES)}")
    if curvature != "hessian":
        check_composite(loss, params, curvature)
    check_counts(num_draws=num_draws)
    if curvature == "fisher" and key is None:
        raise UsageError("the Fisher draws labels: give key=, e.g. jax.random.key(0)")
    if key is not None:
        check_key(key)
    if curvature == "fisher" and loss.sample is None:
        raise UsageError(
            "the Fisher draws labels, and the loss does not say how: give Composite(…, sample=), "
            "e.g. jax.random.categorical for cross-entropy"
        )
    matrix = Matrix(curvature, key, num_draws)
    if "custom_vjp_call" not in names(jax.make_jaxpr(loss)(params)):
        return matrix
    for mode in MODES[:-1]:
        tried = matrix._replace(mode=mode)
        # JAX raises errors of several types where a derivative does not exist, some of them only
        # when it compiles: then the program has an equation that stands for the error.
        with contextlib.suppress(Exception):
            program = jax.make_jaxpr(partial(multiply, loss, matrix=tried))(params, params)
            if "custom_lin" not in names(program):
                return tried
    return matrix._replace(mode=MODES[-1])


def check_composite(loss: Any, params: Params, curvature: str) -> None:
    if not isinstance(loss, Composite):
        raise UsageError(
            f"curvature={curvature!r} needs the model's outputs, and the loss does not tell them: "
            "give probes.Composite(outputs, costs, labels) as the loss, or as that of mean_over"
        )
    costs = jax.eval_shape(lambda params: loss.costs(loss.outputs(params), loss.labels), params)
    if curvature != "gauss_newton" and not costs.shape:
        raise UsageError(
            f"curvature={curvature!r} needs the cost of each example, and the costs are one "
            "scalar: return them before their mean"
        )


def names(program: Any) -> set[str]:
    """The names of the operations of a program and of all programs inside it."""
    return {one for one in contents(program) if isinstance(one, str)}


def multiply(
    loss: Any, params: Params, vector: Params, matrix: Matrix
) -> tuple[tuple[Scalar, Params], Params]:
    """The loss and its gradient, and the matrix times a vector."""
    if isinstance(loss, Mean):

        def on_one(number: Array, chunk: PyTree) -> PyTree:
            key = None if matrix.key is None else jax.random.fold_in(matrix.key, number)
            own = on_chunk(loss.chunk_loss, chunk)
            return multiply(own, params, vector, matrix._replace(key=key))

        return mean_of_chunks(on_one, loss.chunks)
    if matrix.curvature == "hessian":
        return hessian(loss, params, vector, matrix.mode)
    found = jax.value_and_grad(loss)(params)
    if matrix.curvature == "gauss_newton":

        def slopes(params: Params) -> PyTree:
            return jax.grad(loss.cost)(loss.outputs(params))

        _, change = derivative(slopes, params, vector, matrix.mode)
        return found, jax.vjp(loss.outputs, params)[1](change)[0]
    costs = drawn_costs(loss, params, matrix) if matrix.curvature == "fisher" else data_costs(loss)
    own_costs, change = derivative(costs, params, vector, matrix.mode)
    share = 1 / own_costs.shape[0] if loss.summed else 1 / own_costs.size
    return found, jax.vjp(costs, params)[1](share * change)[0]


def data_costs(loss: Composite) -> Callable[[Params], Array]:
    """The costs of the data's labels, `[1, *examples]`."""
    return lambda params: loss.costs(loss.outputs(params), loss.labels)[None]


def drawn_costs(loss: Composite, params: Params, matrix: Matrix) -> Callable[[Params], Array]:
    """The costs of labels that the model draws at this point, `[num_draws, *examples]`."""
    sample: Any = loss.sample
    keys = jax.random.split(matrix.key, matrix.num_draws)
    labels = jax.vmap(sample, (0, None))(keys, loss.outputs(params))

    def costs(params: Params) -> Array:
        outputs = loss.outputs(params)
        return jax.vmap(lambda own: loss.costs(outputs, own))(labels)

    return costs


def hessian(
    loss: Loss, params: Params, vector: Params, mode: str
) -> tuple[tuple[Scalar, Params], Params]:
    """The loss and its gradient, and the Hessian times a vector."""
    if mode == "reverse":  # the Hessian is its own transpose
        found, pull = jax.vjp(jax.value_and_grad(loss), params)
        return found, pull((jnp.zeros_like(found[0]), vector))[0]
    found, (_, product) = derivative(jax.value_and_grad(loss), params, vector, mode)
    return found, product


def derivative(
    function: Callable[[Params], PyTree], params: Params, vector: Params, mode: str
) -> tuple[PyTree, PyTree]:
    """The value of a function, and its derivative along a vector."""
    if mode == "forward":
        return jax.jvp(function, (params,), (vector,))
    if mode == "reverse":  # u ↦ Jᵀu is linear, and its transpose is J
        value, pull = jax.vjp(function, params)
        nothing = jax.tree.map(jnp.zeros_like, value)
        return value, jax.vjp(lambda slope: pull(slope)[0], nothing)[1](vector)[0]
    # Central differences over a distance of ε^⅓ ‖θ‖, where rounding weighs little, and over half of
    # it: together they are of fourth order (Richardson).
    length, size = trees.norm(vector), trees.norm(params)
    precision = jax.config.jax_default_matmul_precision or "default"
    epsilon = coarsest_epsilon(function, params, precision=precision)
    far = epsilon ** (1 / 3) * jnp.where(size > 0, size, 1)
    step = far / jnp.where(length > 0, length, 1)

    def difference(step: Scalar) -> PyTree:
        ahead, behind = (function(trees.move(params, vector, way)) for way in (-step, step))
        return jax.tree.map(lambda a, b: (a - b) / (2 * step).astype(a.dtype), ahead, behind)

    near, further = difference(step / 2), difference(step)
    change = jax.tree.map(lambda near, further: (4 * near - further) / 3, near, further)
    return function(params), change
