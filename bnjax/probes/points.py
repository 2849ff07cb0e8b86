"""The same measurement at many points or on many chunks of data, in the memory of a few."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from bnjax.arithmetic import trees
from bnjax.errors import UsageError
from bnjax.types import Array, Loss, Params, Points, PyTree, Scalar


def check_scalar(loss: Loss, params: Params) -> None:
    """Refuse a loss that does not return one scalar, and parameters in half precision or none."""
    check_dtypes(params)
    result = jax.eval_shape(loss, params)
    if isinstance(result, tuple | dict):
        raise UsageError(
            f"the loss returns a {type(result).__name__}; it must return one scalar: of a pair of "
            "loss and more give the first, lambda params: loss(params)[0]"
        )
    if getattr(result, "shape", None) != ():
        raise UsageError(
            f"the loss returns {result}; it must return one scalar: reduce it, e.g. with jnp.mean"
        )


def check_dtypes(params: Params) -> None:
    """Refuse parameters that are not float32 or float64, by name."""
    named = trees.named_leaves(params)
    if not named:
        raise UsageError("params has no arrays: give a pytree with the parameters of the loss")
    for name, leaf in named.items():
        if (dtype := jnp.result_type(leaf)) not in (jnp.float32, jnp.float64):
            raise UsageError(
                f"params has {dtype} at {name or 'its only leaf'}; it must be float32 or float64: "
                "cast it by astype, or leave what is no parameter to the loss"
            )


def check_like(params: Params, other: Params, what: str) -> None:
    """Refuse a pytree that has other leaves or shapes than the parameters; nothing is run."""
    expected: Any = jax.tree.structure(params)
    given: Any = jax.tree.structure(other)
    remedy = "they must be the same: build it with jax.tree.map over params"
    if expected != given:
        raise UsageError(f"{what} has the structure {given}, params {expected}; {remedy}")
    leaves = (jax.tree.leaves(tree) for tree in (params, other))
    for name, here, there in zip(trees.leaf_names(params), *leaves, strict=True):
        if jnp.shape(here) != jnp.shape(there):
            raise UsageError(
                f"{what} has shape {jnp.shape(there)} at {name}, params {jnp.shape(here)}; {remedy}"
            )


def check_grid(params: Params, directions: tuple[Params, ...], axes: tuple[Array, ...]) -> None:
    """Refuse directions of another structure, and axes that are empty or not one-dimensional."""
    check_dtypes(params)
    for direction in directions:
        check_like(params, direction, "a direction")
    for axis in axes:
        if axis.ndim != 1 or axis.size == 0:
            raise UsageError(
                f"coordinates have shape {axis.shape}; they must be one-dimensional and not empty"
            )


# Bytes that one chunk of points may compute in its forward pass on an accelerator: about the size
# of its cache. A choice by reasoning, not yet by measurement.
ACCELERATOR_CACHE_BYTES = 48 * 2**20


def points_that_fit(loss: Loss, params: Params, num_points: int) -> int:
    """How many points of a line to measure at a time.

    On a CPU one: from a perceptron to VGG-11 several at once are slower, or at best a quarter
    faster (`benchmarks/tune_chunk.py`). On an accelerator as many as fit into its cache, judged by
    the arrays of the loss's forward pass; nothing is run.

    Args:
      loss: `loss(params) -> scalar`.
      params: pytree of arrays.
      num_points: the largest number to return.

    Returns:
      From 1 to `num_points`.
    """
    if jax.default_backend() == "cpu":
        return 1
    program = jax.make_jaxpr(loss)(params)
    made = sum(
        variable.aval.size * variable.aval.dtype.itemsize
        for equation in program.jaxpr.eqns
        for variable in equation.outvars
        if isinstance(variable.aval, jax.core.ShapedArray)
    )
    return int(min(max(1, ACCELERATOR_CACHE_BYTES // max(1, made)), num_points))


def map_points(
    measure: Callable[[Scalar], PyTree],
    step_sizes: Points,
    *,
    chunk: int = 1,
    mesh: jax.sharding.Mesh | None = None,
) -> PyTree:
    """`measure` at each step size, `chunk` at a time, spread over the axis `probe` of a mesh.

    Args:
      measure: of one step size; returns a pytree of arrays.
      step_sizes: `[num_step_sizes]`, 1 or more, in the units that `measure` takes.
      chunk: points that one pass through the program measures together.
      mesh: devices; None for the current one, or, inside a `jax.shard_map` that is manual along an
        axis `probe`, for those of that axis. If `measure` closes over arrays on a mesh, use the
        `shard_map`.

    Returns:
      The pytree with a leading axis `[num_step_sizes]`, in the dtypes and units of `measure`.

    Raises:
      UsageError: a chunk below 1, or a mesh without an axis `probe`.

    Example:
      >>> map_points(jnp.square, jnp.array([1.0, 2.0, 3.0]), chunk=2).tolist()
      [1.0, 4.0, 9.0]
    """
    if chunk < 1:
        raise UsageError(f"chunk={chunk} must be 1 or more points")
    if mesh is not None and "probe" not in mesh.axis_names:
        raise UsageError(f"the mesh has the axes {mesh.axis_names}: it needs one named 'probe'")
    around = jax.sharding.get_abstract_mesh()
    inside = mesh is None and "probe" in around.manual_axes
    devices = around.shape["probe"] if inside else 1 if mesh is None else mesh.shape["probe"]
    count = step_sizes.shape[0]
    # Padded with the last point to equal work for every device and chunk.
    rows = -(-count // (devices * chunk)) * devices
    padded = jnp.pad(step_sizes, (0, rows * chunk - count), mode="edge").reshape(rows, chunk)

    def visit(rows: Array) -> PyTree:
        if chunk == 1:
            return jax.lax.map(measure, rows[:, 0])
        together = jax.lax.map(jax.vmap(measure), rows)
        return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), together)

    def visit_own(rows: Array) -> PyTree:
        here = jax.lax.axis_index("probe") * (len(rows) // devices)
        own = visit(jax.lax.dynamic_slice_in_dim(rows, here, len(rows) // devices))
        return jax.tree.map(lambda leaf: jax.lax.all_gather(leaf, "probe", tiled=True), own)

    if inside:
        visited = visit_own(padded)
    elif mesh is None:
        visited = visit(padded)
    else:
        # An explicit mesh would require a placement of every closed-over array.
        automatic = (jax.sharding.AxisType.Auto,) * len(mesh.axis_names)
        mesh = jax.sharding.Mesh(mesh.devices, mesh.axis_names, axis_types=automatic)
        spec = jax.sharding.PartitionSpec("probe")
        visited = jax.shard_map(visit, mesh=mesh, in_specs=spec, out_specs=spec)(padded)
    return jax.tree.map(lambda leaf: leaf[:count], visited)


def mean_over(chunk_loss: Callable[[Params, PyTree], Scalar], chunks: PyTree) -> Loss:
    r"""The loss $\frac1n \sum_c L_c(\theta)$ over n chunks of examples, in the memory of one.

    The forward pass of its derivative adds up the chunks' gradients, so no chunk is kept for a
    backward pass. Use `jax.jvp` of `jax.grad` for a product with its Hessian; `jax.jvp` of the loss
    itself is refused by JAX.

    Args:
      chunk_loss: `chunk_loss(params, chunk) -> scalar`; batch statistics are those of a chunk.
      chunks: pytree of arrays with a leading axis `[num_chunks]`.

    Returns:
      `loss(params) -> scalar`, in the dtype and units of `chunk_loss`.

    Raises:
      UsageError: no chunks, a leaf without axes, or leaves that disagree on their number.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> loss = mean_over(lambda w, x: jnp.sum(x * w**2), jnp.array([[1.0], [3.0]]))
      >>> w = jnp.array([2.0])
      >>> float(loss(w)), jax.jvp(jax.grad(loss), (w,), (jnp.ones(1),))[1].tolist()
      (8.0, [4.0])
    """
    counts = {leaf.shape[0] if leaf.ndim else None for leaf in jax.tree.leaves(chunks)}
    if len(counts) != 1 or None in counts or 0 in counts:
        raise UsageError(
            f"the chunks' leading axes have the sizes {sorted(map(str, counts))}: give every leaf "
            "the same leading axis [num_chunks], 1 or more"
        )
    (count,) = counts
    if count == 1:
        only = jax.tree.map(lambda leaf: leaf[0], chunks)
        return lambda params: chunk_loss(params, only)

    @jax.custom_vjp
    def loss(params: Params, chunks: PyTree) -> Scalar:
        return jax.lax.map(lambda chunk: chunk_loss(params, chunk), chunks).mean()

    def forward(params: Params, chunks: PyTree) -> tuple[Scalar, Params]:
        def add(total: Any, chunk: PyTree) -> tuple[Any, None]:
            found = jax.value_and_grad(chunk_loss)(params, chunk)
            return jax.tree.map(jnp.add, total, found), None

        first = jax.tree.map(lambda leaf: leaf[0], chunks)
        shapes = jax.eval_shape(jax.value_and_grad(chunk_loss), params, first)
        zero = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        total, _ = jax.lax.scan(add, zero, chunks)
        return jax.tree.map(lambda leaf: leaf / count, total)

    def backward(gradient: Params, cotangent: Scalar) -> tuple[Params, None]:
        return jax.tree.map(lambda leaf: cotangent.astype(leaf.dtype) * leaf, gradient), None

    loss.defvjp(forward, backward)
    return lambda params: loss(params, chunks)
