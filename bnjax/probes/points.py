"""The same measurement at many points or on many chunks of data, in the memory of a few."""

import dataclasses
import functools
import inspect
import warnings
from collections import Counter
from collections.abc import Callable, Hashable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from bnjax.arithmetic import trees
from bnjax.arithmetic.equations import contents
from bnjax.errors import UsageError, told
from bnjax.probes.composite import Composite, Mean, on_chunk
from bnjax.types import Array, Loss, Params, Points, PyTree, Scalar


def check_scalar(loss: Loss, params: Params, what: str = "params") -> None:
    """Refuse a loss that does not return one real scalar, and parameters as `check_params` does."""
    check_params(params, what)
    check_function(loss, "the loss")
    try:
        result = jax.eval_shape(loss, params)
    except TypeError:  # a result that holds what is no array, or the loss's own error
        jax.eval_shape(lambda params: check_result(loss(params)), params)
        raise
    check_result(result)
    check_deterministic(loss, params)


def check_function(given: Any, what: str) -> None:
    if not callable(given):
        raise UsageError(
            f"{what} is a {type(given).__name__}; it must be a function: give lambda params: …"
        )


def check_key(key: Any, what: str = "key") -> None:
    """Refuse what is no PRNG key, such as a seed; keys of JAX's former kind will do."""
    typed = isinstance(key, jax.Array) and jnp.issubdtype(key.dtype, jax.dtypes.prng_key)
    if not typed and getattr(key, "dtype", None) != jnp.uint32:
        seed = key if isinstance(key, int) else 0
        raise UsageError(f"{what} is {key!r}: give a key, such as jax.random.key({seed})")


def check_counts(least: int = 1, **counts: Any) -> None:
    """Refuse numbers that are not whole or too small, by name."""
    for name, count in counts.items():
        whole = isinstance(count, int | np.integer) and not isinstance(count, bool)
        if not whole or count < least:
            raise UsageError(f"{name}={count} must be a whole number, {least} or more")


def check_result(result: Any) -> None:
    """Refuse what a loss returned unless it is one real floating-point number."""
    if isinstance(result, tuple | list | dict):
        raise UsageError(
            f"the loss returns a {type(result).__name__}; it must return one scalar: of a pair of "
            "loss and more give the first, lambda params: loss(params)[0]"
        )
    shape = getattr(result, "shape", None)
    if shape != ():
        found = result if shape is None else f"{result.dtype} of shape {shape}"
        raise UsageError(
            f"the loss returns {found}; it must return one scalar: reduce it, e.g. with jnp.mean"
        )
    if not jnp.issubdtype(result.dtype, jnp.floating):
        is_complex = jnp.issubdtype(result.dtype, jnp.complexfloating)
        remedy = "take its real part, jnp.real" if is_complex else "cast what it is computed from"
        raise UsageError(
            f"the loss returns {result.dtype}; it must return one real floating-point scalar: "
            f"{remedy}"
        )


def check_deterministic(loss: Loss, params: Params) -> None:
    """Refuse a loss that is another function at each call, as two traces of it tell.

    A first call may keep something for all later ones, so where these two differ, further ones
    decide; a draw from few values is often the same twice.
    """

    def trace() -> list[Any]:
        return list(contents(jax.make_jaxpr(lambda point: loss(point))(params)))

    def same(one: Any, other: Any) -> bool:
        if one is other or any(isinstance(value, jax.core.Tracer) for value in (one, other)):
            return True
        if isinstance(one, str) or isinstance(other, str):
            return bool(one == other)
        if jax.dtypes.issubdtype(getattr(one, "dtype", float), jax.dtypes.prng_key):
            one, other = map(jax.random.key_data, (one, other))
        return np.array_equal(one, other, equal_nan=True)

    def alike(one: list[Any], other: list[Any]) -> bool:
        return len(one) == len(other) and all(map(same, one, other))

    first, second = trace(), trace()
    if not alike(first, second) and not all(alike(second, trace()) for _ in range(8)):
        raise UsageError(
            "the loss is another function at each call: it draws random numbers or counts outside "
            "of JAX: draw once before it, or inside from a fixed jax.random.key"
        )


CALLED: Counter[Hashable] = Counter()  # probes outside of any program, by what they compiled
CALLED_AGAIN = (
    "{probe} is called a third time on the same loss and arrays of equal shapes, and compiles at "
    "each call: in a loop, call it inside one jax.jit of a function of all that changes"
)


def count_call(probe: str, loss: Any, params: Params, remedy: str = "") -> None:
    """Say where a probe is called over and over outside of any program.

    A loss that closes over its batch is another function at each step, so its code is compared.
    """
    leaves = jax.tree.leaves(params)
    if any(isinstance(leaf, jax.core.Tracer) for leaf in leaves):
        return
    shapes = tuple((np.shape(leaf), dtype_of(leaf)) for leaf in leaves)
    CALLED[again := (probe, code_of(loss), shapes)] += 1
    if CALLED[again] == 3:
        warnings.warn(CALLED_AGAIN.format(probe=probe) + remedy, stacklevel=3)


def code_of(loss: Any) -> Hashable:
    """What is the same in closures that are made at one place of a program."""
    loss = loss.outputs if isinstance(loss, Composite) else loss
    loss = loss.func if isinstance(loss, functools.partial) else inspect.unwrap(loss)
    code: Any = getattr(loss, "__code__", type(loss))
    return code  # type: ignore[no-any-return]


WIDE = (np.dtype("float32"), np.dtype("float64"))


def check_params(params: Params, what: str = "params", *, narrow: bool = False) -> None:
    """Refuse leaves that are not float32 or float64 arrays, by name; of tracers the dtype counts.

    Args:
      params: a pytree.
      what: the name of the argument.
      narrow: whether all floating-point types will do.
    """
    leaves = jax.tree.leaves(params)
    if not leaves:
        raise UsageError(f"{what} has no arrays: give a pytree of float32 or float64 arrays")
    for place, leaf in enumerate(leaves):
        if not (is_a(jnp.floating, leaf) and (narrow or dtype_of(leaf) in WIDE)):
            name = trees.leaf_names(params)[place] or "its only leaf"
            legal = "floating point" if narrow else "float32 or float64"
            raise UsageError(
                f"{what} has {kind_of(leaf)} at {name}; it must be {legal}: "
                f"{remedy(leaf, what, narrow)}"
            )


def remedy(leaf: Any, what: str, narrow: bool) -> str:
    """What to do about a leaf that a probe does not take."""
    if is_a(jnp.floating, leaf):
        return "hold a float32 copy, loss, params = probes.in_float32(loss, params)"
    if isinstance(leaf, complex) or is_a(jnp.complexfloating, leaf):
        return "give its real and its imaginary part as two leaves"
    if isinstance(leaf, float):
        return f"make it an array, jax.tree.map(jnp.asarray, {what})"
    if narrow:
        return "cast it, jnp.asarray(…, float)"
    return "leave what is no parameter to the loss, which may close over it"


def dtype_of(leaf: Any) -> Any:
    """The dtype that an array has in JAX; None of anything else."""
    if isinstance(leaf, jax.Array):
        return leaf.dtype
    if not isinstance(leaf, np.ndarray | np.generic | jax.ShapeDtypeStruct):
        return None
    try:
        return jnp.result_type(leaf)  # with 64 bits only where JAX keeps them
    except TypeError:  # numpy's strings and objects
        return leaf.dtype


def is_a(kind: Any, leaf: Any) -> bool:
    dtype = dtype_of(leaf)
    return dtype is not None and bool(jnp.issubdtype(dtype, kind))


def kind_of(leaf: Any) -> str:
    """A leaf in an error: its dtype, or its type."""
    dtype = dtype_of(leaf)
    return f"a Python {type(leaf).__name__}" if dtype is None else str(dtype)


def check_like(params: Params, other: Params, what: str, like: str = "params") -> None:
    """Refuse a pytree with another structure, or with leaves of other shapes or dtypes."""
    expected: Any = jax.tree.structure(params)
    given: Any = jax.tree.structure(other)
    same = f"they must be the same: build it with jax.tree.map over {like}"
    if expected != given:
        names = [set(trees.leaf_names(tree)) for tree in (other, params)]
        apart = [", ".join(sorted(a - b))[:200] for a, b in (names, names[::-1])]
        shown = "; ".join(
            f"only {whose} has {which}"
            for whose, which in zip((what, like), apart, strict=True)
            if which
        )
        raise UsageError(
            f"{what} has another structure than {like} "
            f"({shown or f'{given} and {expected}'[:400]}); {same}"
        )
    leaves = (jax.tree.leaves(tree) for tree in (params, other))
    for place, (here, there) in enumerate(zip(*leaves, strict=True)):
        for differs, cast in ((np.shape, ""), (kind_of, ", leaf.astype(…)")):
            if differs(here) != differs(there):
                name = trees.leaf_names(params)[place] or "its only leaf"
                aspect = "shape " if differs is np.shape else ""
                raise UsageError(
                    f"{what} has {aspect}{differs(there)} at {name}, {like} {differs(here)}; "
                    f"{same}{cast}"
                )


def check_points(values: Any, what: str) -> Array:
    """Real, finite values `[num_points]` as a floating-point array; all else is refused."""
    expected = "give e.g. jnp.array([0.05, 0.1, 0.2, 0.4])"
    traced = any(isinstance(one, jax.core.Tracer) for one in jax.tree.leaves(values))
    try:
        points = jnp.asarray(values) if traced else np.asarray(values)
    except (TypeError, ValueError) as error:
        raise UsageError(f"{what} is no array ({told(error)}): {expected}") from error
    whole = jnp.issubdtype(points.dtype, jnp.integer)
    if not whole and not jnp.issubdtype(points.dtype, jnp.floating):
        raise UsageError(f"{what} has {points.dtype}; it must have real numbers: {expected}")
    if points.ndim != 1 or points.size == 0:
        raise UsageError(
            f"{what} has shape {points.shape}; it must be one-dimensional and not empty: {expected}"
        )
    if not traced and not (finite := np.isfinite(points.astype(float))).all():
        raise UsageError(f"{what} has {points[~finite][0]}; it must be finite: {expected}")
    return jnp.asarray(values, float if whole else None)


def in_float32(loss: Callable[..., Any], params: Params) -> tuple[Callable[..., Any], Params]:
    """A 16-bit network for probes: float32 parameters, and the loss of what they are in 16 bits.

    The network computes as before, for the loss casts each parameter back to its own dtype; points
    and gradients are float32. A probe takes no 16-bit parameters: the next bfloat16 is 0.8 % away,
    so a small step is lost or rounded to another direction. A step below that spacing is lost in
    the cast here, too: `Line.resolved` says where.

    Args:
      loss: `loss(params, *batch) -> scalar`.
      params: pytree of floating-point arrays, float16 or bfloat16 in some or all leaves.

    Returns:
      The loss of the copy, and the copy. The loss serves all later parameters of these dtypes: make
      it once in a training loop.

    Raises:
      UsageError: the loss is no function, or a leaf no floating-point array.

    Example:
      >>> params = {"w": jnp.array([1.0, 2.0], jnp.bfloat16)}
      >>> loss, wide = in_float32(lambda params: jnp.sum(params["w"] ** 2), params)
      >>> jax.grad(loss)(wide)["w"].dtype, loss(wide).dtype
      (dtype('float32'), dtype('float32'))
    """
    check_function(loss, "the loss")
    check_params(params, narrow=True)
    dtypes = jax.tree.map(dtype_of, params)

    def widened(tree: PyTree) -> PyTree:
        def widen(leaf: Any) -> Any:
            is_narrow = is_a(jnp.floating, leaf) and dtype_of(leaf) not in WIDE
            return leaf.astype(jnp.float32) if is_narrow else leaf

        return jax.tree.map(widen, tree)

    def of_copy(loss: Any) -> Any:
        if isinstance(loss, Mean):
            return Mean(of_copy(loss.chunk_loss), loss.chunks)
        if isinstance(loss, Composite):  # the costs are float32 then
            return dataclasses.replace(loss, outputs=of_copy(loss.outputs))

        def wide_loss(wide: Params, *batch: Any) -> Any:
            narrow = jax.tree.map(lambda leaf, dtype: leaf.astype(dtype), wide, dtypes)
            return widened(loss(narrow, *batch))

        return wide_loss

    return of_copy(loss), widened(params)


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
      UsageError: step sizes that are not real and finite, empty or not one-dimensional, a chunk
        below 1, or a mesh without an axis `probe`.

    Example:
      >>> map_points(jnp.square, jnp.array([1.0, 2.0, 3.0]), chunk=2).tolist()
      [1.0, 4.0, 9.0]
    """
    check_function(measure, "measure")
    step_sizes = check_points(step_sizes, "step_sizes")
    check_counts(chunk=chunk)
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
    backward pass, and the probes add up products with the Hessian or another curvature matrix
    chunk by chunk. `jax.jvp` of the loss itself is refused by JAX.

    Args:
      chunk_loss: `chunk_loss(params, chunk) -> scalar`; batch statistics are those of a chunk. For
        a Gauss–Newton matrix or a Fisher of all chunks a `Composite`.
      chunks: pytree of arrays with a leading axis `[num_chunks]`.

    Returns:
      `loss(params) -> scalar`, in the dtype and units of `chunk_loss`.

    Raises:
      UsageError: no chunks, a leaf without axes, or leaves that disagree on their number; where it
        is called, `chunk_loss` returns no scalar.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> loss = mean_over(lambda w, x: jnp.sum(x * w**2), jnp.array([[1.0], [3.0]]))
      >>> w = jnp.array([2.0])
      >>> float(loss(w)), jax.jvp(jax.grad(loss), (w,), (jnp.ones(1),))[1].tolist()
      (8.0, [4.0])
    """
    check_function(chunk_loss, "chunk_loss")
    counts = {np.shape(leaf)[0] if np.ndim(leaf) else None for leaf in jax.tree.leaves(chunks)}
    if len(counts) != 1 or None in counts or 0 in counts:
        raise UsageError(
            f"the chunks' leading axes have the sizes {sorted(map(str, counts))}: give every leaf "
            "the same leading axis [num_chunks], 1 or more"
        )

    def checked(params: Params, chunk: PyTree) -> Scalar:
        value: Scalar = chunk_loss(params, chunk)
        check_result(value)
        return value

    tells_outputs = isinstance(chunk_loss, Composite)
    own_loss = chunk_loss if tells_outputs else checked
    if counts == {1}:
        return on_chunk(own_loss, jax.tree.map(lambda leaf: leaf[0], chunks))
    return Mean(own_loss, chunks)
