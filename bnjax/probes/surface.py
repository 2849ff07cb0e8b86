"""Loss surfaces: values on lines and planes through a point, along filter-normalised directions.

Doubling a filter and halving the next layer leaves a network as it is, but changes the sharpness
in a plot. Directions whose filters have the norms of the network's own filters make plots of
different networks comparable (Li et al. 2018, §4).
"""

import zlib
from collections.abc import Callable
from typing import Annotated, Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from bnjax import fields
from bnjax.arithmetic import euclidean, trees
from bnjax.arithmetic.layers import Described, Parameter, check_told, describe
from bnjax.errors import UsageError
from bnjax.fields import Field
from bnjax.probes.points import (
    check_deterministic,
    check_function,
    check_key,
    check_like,
    check_params,
    check_points,
    count_call,
    map_points,
    points_that_fit,
)
from bnjax.types import Array, Params, Points, PRNGKey, PyTree, Scalar


class Plane(NamedTuple):
    """Losses on a plane through a point θ, at θ + row · d₁ + column · d₂.

    Coordinates are in units of θ over units of the directions; of `filter_direction`, in units of
    each filter's norm.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> loss, theta = lambda w: jnp.sum(w**2), jnp.zeros(2)
      >>> rows = columns = coordinates(3, -1.0, 1.0)
      >>> losses = values_on_plane(loss, theta, tuple(jnp.eye(2)), rows, columns)
      >>> Plane(rows, columns, losses).to_xarray()["losses"].sel(row=1.0).values.tolist()
      [2.0, 1.0, 2.0]
    """

    rows: Annotated[Float[Array | np.ndarray, " row"], Field("First direction")]
    columns: Annotated[Float[Array | np.ndarray, " column"], Field("Second direction")]
    losses: Annotated[Float[Array | np.ndarray, "row column"], Field("Loss")]

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


def filter_norms(kernel: Array, parameter: Parameter) -> Array:
    """Euclidean norm of each filter, in the kernel's axes, over a filter's of length 1."""
    axes = parameter.within_filter(kernel.ndim)
    return jnp.expand_dims(euclidean.norm(kernel, axes), axes)


def filter_normalise(
    direction: Params, params: Params, *, described: Described | None = None
) -> Params:
    r"""A direction whose filters have the norms of the filters that they move.

    $d_{ij} \leftarrow d_{ij} / \|d_{ij}\| \cdot \|\theta_{ij}\|$ for filter j of kernel i. Leaves
    that are no kernels (biases, scales and shifts of normalisers, embeddings) are not moved: their
    direction is zero. So is that of a filter that is zero, in `params` or in `direction`.

    Source: Li et al. 2018 (1712.09913), §4.
    """
    known = describe(params, described)
    check_told(known, params)

    def normalise(path: tuple, move: Array, kernel: Array) -> Array:
        parameter = known[trees.path_name(path)]
        if parameter.kind != "kernel":
            return jnp.zeros_like(kernel)
        own = filter_norms(move, parameter)
        length = filter_norms(kernel, parameter)
        return move * jnp.where(own > 0, length / jnp.where(own > 0, own, 1), 0)

    return jax.tree_util.tree_map_with_path(normalise, direction, params)


def filter_direction(
    key: PRNGKey,
    params: Params,
    *,
    parameters: trees.Parameters | None = None,
    described: Described | None = None,
) -> Params:
    """A Gaussian direction, filter-normalised.

    A filter is all weights of one output channel. Which leaves are kernels, and which of their axes
    count filters and stacked layers, `describe` finds by itself for linen, nnx, Haiku, Equinox and
    PyTorch's names. A leaf's draw depends on the key and the leaf's name alone, so two networks
    that differ in the normaliser get the same draw for the same kernel.

    Args:
      key: typed PRNG key.
      params: pytree of float32 or float64 arrays.
      parameters: moves only the selected leaves, as for `line`; the others are zero.
      described: what `describe` does not find, by the leaf's name.

    Returns:
      A pytree like `params`, in its shapes, dtypes and units; leaves that are no kernels are zero.

    Raises:
      UsageError: a parameter is not float32 or float64, or there is none; a leaf with two or more
        axes of which nobody knows what it is; `described` does not fit.

    Source: Li et al. 2018 (1712.09913), §4.

    Example:
      >>> import jax, jax.numpy as jnp
      >>> d = filter_direction(jax.random.key(0), {"kernel": jnp.array([[3.0], [4.0]])})
      >>> round(float(jnp.linalg.norm(d["kernel"])), 4)
      5.0
    """
    check_params(params)
    check_key(key)

    def draw(path: tuple, leaf: Array) -> Array:
        name = zlib.crc32(trees.path_name(path).encode())
        return jax.random.normal(jax.random.fold_in(key, name), leaf.shape, leaf.dtype)

    drawn = jax.tree_util.tree_map_with_path(draw, params)
    return trees.keep(filter_normalise(drawn, params, described=described), parameters)


def coordinates(points: int, low: float, high: float) -> np.ndarray:
    """Equally spaced coordinates from `low` or below to `high` or above, one of them exactly 0.

    Args:
      points: 3 or more.
      low: below 0, finite; units of θ over units of the direction.
      high: above 0, finite; the same units.

    Returns:
      Whole multiples of one spacing, float64 `[points]`, units of the ends; from −high to high
      exactly where `low = −high` and `points` is odd.

    Raises:
      UsageError: too few points, 0 is not between the ends, or one of them is not finite.

    Example:
      >>> coordinates(5, -1.0, 1.0).tolist()
      [-1.0, -0.5, 0.0, 0.5, 1.0]
    """
    legal = all(np.asarray(value).dtype.kind in "iuf" for value in (points, low, high))
    if not legal or points < 3 or not -np.inf < low < 0 < high < np.inf:
        raise UsageError(f"{points} points from {low} to {high}: must be 3 or more, around 0")
    below = int(np.clip(round(-low / (high - low) * (points - 1)), 1, points - 2))
    above = points - 1 - below
    # Numerators are divided last, so that the ends are exact.
    if -low / below >= high / above:
        return -low * np.arange(-below, above + 1) / below
    return high * np.arange(-below, above + 1) / above


def values_on_line(
    measure: Callable[[Params], PyTree],
    params: Params,
    direction: Params,
    coordinates: Points,
    *,
    parameters: trees.Parameters | None = None,
    chunk: int | Literal["auto"] = "auto",
    mesh: jax.sharding.Mesh | None = None,
    precision: str = "highest",
) -> PyTree:
    r"""`measure` at $\theta + b\,d$ for every coordinate b.

    Args:
      measure: `params -> pytree of scalars`, e.g. loss and accuracy.
      params: pytree of float32 or float64 arrays, θ.
      direction: pytree like `params`, d.
      coordinates: b, `[num_points]`, units of θ over units of d.
      parameters: keeps only the selected leaves of the direction, as for `line`.
      chunk: points at a time; `auto` takes one on a CPU and what stays in the cache together on an
        accelerator, see `points.points_that_fit`.
      mesh: devices with an axis `probe` over which the points are spread.
      precision: a value of `jax.default_matmul_precision`.

    Returns:
      What `measure` returns with a leading axis `[num_points]`, in its dtypes and units.

    Raises:
      UsageError: a parameter is not float32 or float64, or none is there or selected; coordinates
        that are not real and finite, empty or not one-dimensional; structures, shapes or dtypes
        that differ; a chunk below 1, or a mesh without `probe`.

    Source: Li et al. 2018 (1712.09913), §3; Goodfellow et al. 2015 (1412.6544).

    Example:
      >>> import jax.numpy as jnp
      >>> theta, direction = jnp.array(2.0), jnp.array(1.0)
      >>> values_on_line(jnp.square, theta, direction, jnp.array([-2.0, 0.0])).tolist()
      [0.0, 4.0]
    """
    check_params(params)
    check_function(measure, "measure")
    check_like(params, direction, "direction")
    coordinates = check_points(coordinates, "coordinates")
    check_deterministic(measure, params)
    direction = trees.keep(direction, parameters)
    if chunk == "auto":
        chunk = points_that_fit(measure, params, coordinates.shape[0])

    def visit(coordinate: Scalar) -> PyTree:
        return measure(trees.move(params, direction, -coordinate))

    with jax.default_matmul_precision(precision):
        return map_points(visit, coordinates, chunk=chunk, mesh=mesh)


def values_on_plane(
    measure: Callable[[Params], PyTree],
    params: Params,
    directions: tuple[Params, Params],
    rows: Float[Array | np.ndarray, " num_rows"],
    columns: Float[Array | np.ndarray, " num_columns"],
    *,
    parameters: trees.Parameters | None = None,
    chunk: int | Literal["auto"] = "auto",
    mesh: jax.sharding.Mesh | None = None,
    precision: str = "highest",
) -> PyTree:
    r"""`measure` at $\theta + a\,d_1 + b\,d_2$ for every pair of coordinates.

    Rows follow one another inside one program. To stop between rows, call
    `values_on_line(measure, move(params, d1, -a), d2, columns)` for each.

    Args:
      measure: `params -> pytree of scalars`.
      params: pytree of float32 or float64 arrays, θ.
      directions: $(d_1, d_2)$, pytrees like `params`.
      rows: a, `[num_rows]`, units of θ over units of $d_1$.
      columns: b, `[num_columns]`, units of θ over units of $d_2$.
      parameters: keeps only the selected leaves of both directions, as for `line`.
      chunk: points of a row at a time, see `values_on_line`.
      mesh: devices with an axis `probe` over which the points of a row are spread.
      precision: a value of `jax.default_matmul_precision`.

    Returns:
      What `measure` returns with leading axes `[num_rows, num_columns]`, in its dtypes and units.
      Where rows and columns hold 0, that point is θ itself, to the last bit.

    Raises:
      UsageError: as `values_on_line`.

    Source: Li et al. 2018 (1712.09913), §3, eq. (1).
    """
    check_params(params)
    check_function(measure, "measure")
    count_call("values_on_plane", measure, params)
    if len(directions) != 2:
        raise UsageError(f"directions has {len(directions)} entries: give two, each like params")
    for direction in directions:
        check_like(params, direction, "a direction")
    rows, columns = check_points(rows, "rows"), check_points(columns, "columns")
    first, second = (trees.keep(direction, parameters) for direction in directions)
    options: dict = {"chunk": chunk, "mesh": mesh, "precision": precision}

    def one_row(row: Scalar) -> PyTree:
        start = trees.move(params, first, -row)
        return values_on_line(measure, start, second, columns, **options)

    return jax.lax.map(one_row, rows)
