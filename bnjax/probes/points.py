"""The same measurement at many points or on many chunks of data, in the memory of a few."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from bnjax.errors import UsageError
from bnjax.types import Array, Loss, Params, Points, PyTree, Scalar

# What the points of one chunk may make on their way forward on an accelerator, in bytes: about its
# cache. A choice by reasoning, not yet by measurement.
ACCELERATOR_CACHE_BYTES = 48 * 2**20


def points_that_fit(loss: Loss, params: Params, num_points: int) -> int:
    """How many points of a line to measure at a time.

    On a CPU one: from a perceptron to VGG-11 several at once are slower, or at best a quarter
    faster (`benchmarks/tune_chunk.py`). On an accelerator as many as stay in its cache together,
    by the sum of all that the loss computes on its way forward; nothing is run.

    Args:
      loss: `loss(params) -> scalar`.
      params: pytree of arrays.
      num_points: more than that are never taken.

    Returns:
      From 1 to `num_points`.

    Source: none; a rule of this project, on a CPU by measurement, on an accelerator by reasoning.

    Example:
      >>> import jax.numpy as jnp
      >>> 1 <= points_that_fit(lambda w: jnp.sum(w**2), jnp.zeros(1000), num_points=8) <= 8
      True
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
        axis `probe`, for those of that axis. Arrays that `measure` closes over must not be on a
        mesh already: those need the `shard_map` around all of it.

    Returns:
      The pytree with a leading axis `[num_step_sizes]`, in the dtypes and units of `measure`.

    Raises:
      UsageError: a chunk below 1, or a mesh without an axis `probe`.

    Source: none; this project's arrangement of `jax.lax.map`, `jax.vmap` and `jax.shard_map`.

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
    # Padded with the last point, so that every device and every chunk does the same.
    rows = -(-count // (devices * chunk)) * devices
    padded = jnp.pad(step_sizes, (0, rows * chunk - count), mode="edge").reshape(rows, chunk)
    single = chunk == 1

    def visit(rows: Array) -> PyTree:
        if single:
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
        # Sharding by the compiler: an explicit mesh would want every closed-over array placed.
        automatic = (jax.sharding.AxisType.Auto,) * len(mesh.axis_names)
        mesh = jax.sharding.Mesh(mesh.devices, mesh.axis_names, axis_types=automatic)
        spec = jax.sharding.PartitionSpec("probe")
        visited = jax.shard_map(visit, mesh=mesh, in_specs=spec, out_specs=spec)(padded)
    return jax.tree.map(lambda leaf: leaf[:count], visited)


def mean_over(piece_loss: Callable[[Params, PyTree], Scalar], pieces: PyTree) -> Loss:
    r"""The loss $\frac1n \sum_p L_p(\theta)$ over n pieces, in the memory of one.

    Differentiated, it adds up the pieces' gradients on its way forward, so nothing of a piece is
    kept until a backward pass; a product with its Hessian is `jax.jvp` of `jax.grad`, as
    anywhere. (`jax.jvp` of the loss itself is what JAX refuses of such a function.)

    Args:
      piece_loss: `piece_loss(params, piece) -> scalar`; what it normalises with batch statistics,
        it normalises piece by piece.
      pieces: pytree of arrays with a leading axis `[num_pieces]`.

    Returns:
      `loss(params) -> scalar`, in the dtype and units of `piece_loss`.

    Raises:
      UsageError: no pieces, a leaf without axes, or leaves that disagree on their number.

    Source: none; a definition, and this project's way to differentiate it.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> loss = mean_over(lambda w, x: jnp.sum(x * w**2), jnp.array([[1.0], [3.0]]))
      >>> w = jnp.array([2.0])
      >>> float(loss(w)), jax.jvp(jax.grad(loss), (w,), (jnp.ones(1),))[1].tolist()
      (8.0, [4.0])
    """
    counts = {leaf.shape[0] if leaf.ndim else None for leaf in jax.tree.leaves(pieces)}
    if len(counts) != 1 or None in counts or 0 in counts:
        raise UsageError(
            f"the pieces' leading axes have the sizes {sorted(map(str, counts))}: give every leaf "
            "the same leading axis [num_pieces], 1 or more"
        )
    (count,) = counts
    if count == 1:
        (only,) = [jax.tree.map(lambda leaf: leaf[0], pieces)]
        return lambda params: piece_loss(params, only)

    @jax.custom_vjp
    def loss(params: Params, pieces: PyTree) -> Scalar:
        return jax.lax.map(lambda piece: piece_loss(params, piece), pieces).mean()

    def forward(params: Params, pieces: PyTree) -> tuple[Scalar, Params]:
        def add(total: Any, piece: PyTree) -> tuple[Any, None]:
            found = jax.value_and_grad(piece_loss)(params, piece)
            return jax.tree.map(jnp.add, total, found), None

        first = jax.tree.map(lambda leaf: leaf[0], pieces)
        shapes = jax.eval_shape(jax.value_and_grad(piece_loss), params, first)
        zero = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
        total, _ = jax.lax.scan(add, zero, pieces)
        mean: tuple[Scalar, Params] = jax.tree.map(lambda leaf: leaf / count, total)
        return mean

    def backward(gradient: Params, cotangent: Scalar) -> tuple[Params, None]:
        return jax.tree.map(lambda leaf: cotangent.astype(leaf.dtype) * leaf, gradient), None

    loss.defvjp(forward, backward)
    return lambda params: loss(params, pieces)
