"""The line probe: losses and gradients along one direction, at one fixed state of training.

Loss variation, gradient predictiveness and effective β-smoothness of Santurkar et al. 2018
(Fig. 4) are all read off the `Line` that one compiled call returns.
"""

import functools
import warnings
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Float

from bnjax import fields
from bnjax.arithmetic import euclidean, trees
from bnjax.arithmetic.layers import Described, Parameter, describe, unknown
from bnjax.convolution.convolution import outside_loops
from bnjax.errors import UsageError
from bnjax.fields import Field
from bnjax.probes.composite import restrict
from bnjax.probes.curvature import Mode, find_matrix, mode_number, multiply
from bnjax.probes.points import (
    check_function,
    check_key,
    check_like,
    check_params,
    check_points,
    check_result,
    check_scalar,
    code_of,
    count_call,
    map_points,
    points_that_fit,
)
from bnjax.probes.rounding import RESOLVED, coarsest_epsilon, round_otherwise
from bnjax.probes.surface import values_on_line
from bnjax.types import Array, Flag, Loss, Params, Points, PRNGKey, PyTree, Scalar

PerStep: TypeAlias = Float[Array | np.ndarray, " step_size"]


class Line(NamedTuple):
    """On one batch, from θ along the direction d; g = ∇L(θ), g(η) = ∇L(θ − ηd).

    Losses and `scaled_smoothness` are in units of the loss; norms and distances of gradients in
    those over units of θ; `smoothness` and both limits in those over θ's squared; `direction_norm`
    in units of d; cosines have no unit.
    """

    step_sizes: Annotated[PerStep, Field("Step sizes η", "units of θ per unit of d")]
    losses: Annotated[PerStep, Field("Loss L(θ − ηd)")]
    gradient_norms: Annotated[PerStep, Field("Gradient norm ‖g(η)‖₂")]
    # "Gradient predictiveness" of Santurkar et al. 2018.
    gradient_distances: Annotated[PerStep, Field("Gradient difference ‖g(η) − g‖₂")]
    cosines: Annotated[PerStep, Field("Cosine of g(η) and g", bounded=True)]
    # ‖g(η) − g‖₂ / ‖η d‖₂
    smoothness: Annotated[PerStep, Field("Effective smoothness β(η)")]
    # β(η) of the kernels alone, each in units of its own norm, so that it does not depend on the
    # scale of weights that a normaliser makes irrelevant; NaN where none is known to be a kernel.
    scaled_smoothness: Annotated[PerStep, Field("Smoothness of kernels in units of their norm")]
    loss: Annotated[Scalar, Field("Loss L(θ) on the probed batch")]
    gradient_norm: Annotated[Scalar, Field("Gradient norm ‖g‖₂")]
    direction_norm: Annotated[Scalar, Field("Norm of the direction ‖d‖₂")]
    smoothness_limit: Annotated[Scalar, Field("Smoothness for η → 0, ‖Hd‖₂/‖d‖₂")]
    curvature_limit: Annotated[Scalar, Field("Sharpness along d, dᵀHd/‖d‖²")]
    derivative_mode: Mode  # of Hd; NaN where the limits were not measured
    # See `probes.rounding_noise`; NaN where it was not measured.
    rounding_noise: Annotated[Scalar, Field("Rounding noise of the gradient")]

    @property
    def resolved(self) -> Array:
        """Whether a gradient difference is three times its rounding noise or more, `[step_size]`.

        Where it is not, rounding may change the difference and β by more than 5 %. False where the
        noise was not measured.
        """
        noise = jnp.asarray(self.rounding_noise)[..., None]
        return jnp.asarray(self.gradient_distances) >= RESOLVED * noise

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


def line(
    loss: Loss,
    params: Params,
    step_sizes: Points,
    *,
    direction: Params | None = None,
    random_key: PRNGKey | None = None,
    parameters: trees.Parameters | None = None,
    described: Described | None = None,
    centre: tuple[Scalar, Params] | None = None,
    limits: bool = True,
    rounding: bool = True,
    chunk: int | Literal["auto"] = "auto",
    mesh: jax.sharding.Mesh | None = None,
    precision: str = "highest",
) -> Line:
    r"""Measure losses and gradients at `params − η · direction` for every step size η.

    $\beta(\eta) = \|g(\eta) - g\|_2 / \|\eta d\|_2$ with $g(\eta) = \nabla L(\theta - \eta d)$,
    and its limit $\|Hd\| / \|d\|$ for η → 0 by one Hessian-vector product. Points are visited
    `chunk` at a time inside one program, so neither memory nor compilation grows with their
    number. Works under `jit`, in float32 and float64. NaN and inf are returned as they are.

    Args:
      loss: `loss(params) -> scalar`, differentiable; the batch and the statistics are inside it.
      params: pytree of floating-point arrays, the centre θ.
      step_sizes: η, `[num_step_sizes]`, positive for descent; units of θ over units of d.
      direction: pytree like `params`; by default the gradient at the centre.
      random_key: typed PRNG key; draws a Gaussian direction of the gradient's norm, a control that
        Santurkar et al. 2018 (§3.1) mention without a figure. Not together with `direction`.
      parameters: keeps only the leaves with a name, as `describe` has it, that fits a pattern, such
        as `"blocks/3/*"` or `"*/kernel"`, one of several, or a predicate; the others stay where
        they are, and gradients and norms are over the kept leaves. `direction`, if given, still has
        the structure of all of `params`.
      described: what `bnjax.probes.describe` does not find, by the leaf's name: which leaves are
        kernels, for `scaled_smoothness`. It is NaN where a leaf of two or more axes is unknown.
      centre: value and gradient of `loss` at `params` where they are known already, e.g. from
        training.
      limits: whether to measure the limits for η → 0; without, they are NaN. `derivative_mode` is
        the mode of their product, an index into `probes.MODES`.
      rounding: whether to measure the rounding noise, by one more gradient; see `Line.resolved`.
      chunk: points at a time, for fewer and larger products; `auto` takes one on a CPU and what
        stays in the cache together on an accelerator, see `points.points_that_fit`.
      mesh: devices with an axis `probe` over which the points are spread.
      precision: a value of `jax.default_matmul_precision` for the probe. At η = lr/100 the
        gradient moves by about 2 %, close to the rounding of TF32.

    Returns:
      A `Line`; arrays `[num_step_sizes]` in the dtype of the loss.

    Raises:
      UsageError: the loss is not scalar, a parameter is not float32 or float64 (16 bits: see
        `in_float32`), `direction` or `centre` does not match `params`, `step_sizes` is empty, not
        one-dimensional or not real and finite, `direction` and `random_key` are both given,
        `parameters` selects nothing, `chunk` is below 1, or `mesh` has no axis `probe`.

    Source: Santurkar et al. 2018, §3.1 and Fig. 4 a–c.

    Example:
      >>> import jax.numpy as jnp
      >>> quadratic = lambda w: 0.5 * jnp.sum(jnp.array([1.0, 3.0]) * w**2)
      >>> probe = line(quadratic, jnp.array([0.0, 1.0]), jnp.array([0.1, 0.2]))
      >>> [round(float(beta), 3) for beta in probe.smoothness]
      [3.0, 3.0]
    """
    step_sizes = check_points(step_sizes, "step_sizes")
    if direction is not None:
        check_like(params, direction, "direction")
    known = _kernels(params, described, parameters)
    whole_loss = loss
    loss, params = restrict(loss, params, parameters)
    if parameters is not None and direction is not None:
        direction, _ = trees.partition(direction, parameters)
    if parameters is not None and centre is not None:
        centre = centre[0], trees.partition(centre[1], parameters)[0]
    check_scalar(loss, params)
    count_call("line", whole_loss, params, ", or one probes.Probe of loss(params, *batch)")
    if centre is not None:
        check_result(centre[0])
        check_like(params, centre[1], "the gradient of centre")
    if chunk == "auto":
        chunk = points_that_fit(loss, params, step_sizes.shape[0])
    with jax.default_matmul_precision(precision):
        centre_loss, gradient = centre or jax.value_and_grad(loss)(params)
        gradient_norm = trees.norm(gradient)
        direction = _direction(params, gradient, gradient_norm, direction, random_key)
        direction_norm = trees.norm(direction)
        ends = (jnp.full_like(direction_norm, jnp.nan),) * 3
        if limits:
            ends = along(loss, params, direction)
        norms = _kernel_norms(params, known)
        scaled = trees.norm(_over(direction, norms))
        centre_of_line = _Centre(gradient, direction_norm, norms, scaled)

        count = step_sizes.shape[0]
        last = params
        if rounding:  # one more point, so that the program has one gradient for all
            last = round_otherwise(params, coarsest_epsilon(loss, params, precision=precision))

        def measure(place: Scalar) -> tuple[Scalar, ...]:
            step_size = step_sizes[jnp.minimum(place.astype(int), count - 1)]
            point = trees.move(params, direction, step_size)
            if rounding:
                point = jax.tree.map(functools.partial(_choose, place < count), point, last)
            return _compare(jax.value_and_grad(loss)(point), centre_of_line, step_size)

        places = jnp.arange(count + rounding, dtype=step_sizes.dtype)
        measured = map_points(measure, places, chunk=chunk, mesh=mesh)
    distances = measured[DISTANCES]
    noise = distances[count] if rounding else jnp.full_like(distances[0], jnp.nan)
    central = centre_loss, gradient_norm, direction_norm, *ends, noise
    return Line(*(step_sizes, *(values[:count] for values in measured), *central))


DISTANCES = Line._fields.index("gradient_distances") - 1  # among what is measured of each point


def _direction(
    params: Params,
    gradient: Params,
    norm: Scalar,
    direction: Params | None,
    random_key: PRNGKey | None,
) -> Params:
    """The direction that is given, a random one of the gradient's norm, or the gradient."""
    if direction is not None and random_key is not None:
        raise UsageError("direction and random_key are both given: give one of them")
    if random_key is not None:
        check_key(random_key, "random_key")
        return trees.random_direction(random_key, params, norm)
    return gradient if direction is None else direction


def along(loss: Loss, params: Params, direction: Params) -> tuple[Scalar, Scalar, Scalar]:
    """‖Hd‖₂/‖d‖₂, dᵀHd/‖d‖², and the mode of the derivative."""
    with outside_loops():
        hessian = find_matrix(loss, params, "hessian")
        _, product = multiply(loss, params, direction, hessian)
    along, length = euclidean.scaled(direction)
    turned, size = euclidean.scaled(product)
    norm, ratio = optax.tree.norm(along), size / length
    limits = optax.tree.norm(turned) / norm, trees.vdot(along, turned) / norm**2
    return limits[0] * ratio, limits[1] * ratio, mode_number(hessian.mode, ratio.dtype)


class _Centre(NamedTuple):
    """What the points of a line are compared with."""

    gradient: Params
    direction_norm: Scalar
    kernel_norms: PyTree  # see `_kernel_norms`
    scaled_direction_norm: Scalar  # of each kernel's part over the kernel's norm


def _choose(condition: Flag, yes: Array, no: Array) -> Array:
    """One of two leaves, by a mask that is divided over an explicit mesh as they are."""
    return jnp.where(jnp.zeros_like(yes, bool) | condition, yes, no)


def _kernels(
    params: Params, described: Described | None, parameters: trees.Parameters | None
) -> tuple[Parameter | None, ...]:
    """Of each leaf that is kept what it is, if it is a kernel; of none if one is unknown."""
    kept = describe(params, described)
    if parameters is not None:
        kept = {name: kept[name] for name in trees.selected_names(params, parameters)}
    told = not unknown(kept, params)
    return tuple(one if told and one.kind == "kernel" else None for one in kept.values())


def _kernel_norms(params: Params, kernels: Sequence[Parameter | None]) -> PyTree:
    """Norm of each kernel, of each layer where some are stacked; 0 for what is no kernel."""
    leaves, structure = jax.tree.flatten(params)
    norms: list[Array] = []
    for leaf, kernel in zip(leaves, kernels, strict=True):
        axes = kernel.within_layer(leaf.ndim) if kernel else ()
        norms.append(
            jnp.expand_dims(euclidean.norm(leaf, axes), axes)
            if kernel
            else jnp.zeros((1,) * leaf.ndim, leaf.dtype)
        )
    return jax.tree.unflatten(structure, norms)


def _over(direction: Params, norms: PyTree) -> Params:
    """A direction in units of the kernels' norms; what is no kernel does not move."""
    return jax.tree.map(lambda d, norm: jnp.where(norm == 0, 0, d / norm), direction, norms)


def _compare(
    found: tuple[Scalar, Params], centre: _Centre, step_size: Scalar
) -> tuple[Scalar, ...]:
    """What `Line` says of one point, in the order of its fields."""
    loss, gradient = found
    distance = trees.norm(gradient, less=centre.gradient)
    length = jnp.abs(step_size).astype(distance.dtype)
    # In coordinates w/‖w‖ a gradient is ‖w‖ times as large, a displacement 1/‖w‖ times.
    scaled_distance = trees.norm(gradient, less=centre.gradient, times=centre.kernel_norms)
    return (
        loss,
        trees.norm(gradient),
        distance,
        trees.cosine(gradient, centre.gradient),
        distance / (length * centre.direction_norm),
        scaled_distance / (length * centre.scaled_direction_norm),
    )


# How often the same code was compiled for equal shapes by Probes that were called once.
COMPILED: Counter[Any] = Counter()
COMPILED_AGAIN = (
    "a Probe compiles the same loss a third time for arrays of equal shapes: make one Probe of "
    "loss(params, *batch) before the loop, and call it with what changes as arrays, "
    "probe(params, *batch); if these are different networks, all is well"
)


class Probe:
    """The line probe of a training loop: compiled once, called at any step on any batch.

    On a CPU the points of a line are calls of one compiled gradient, which the training step can
    share; on an accelerator they are one program, that of `line`. Both are compiled at the first
    call, and again only for arrays of other shapes or dtypes; a warning says where that fails, for
    a Probe that is made anew at each step, or for a batch whose metadata change.

    Attributes:
      gradient: `gradient(params, *batch) -> (loss, gradient)`, compiled.

    Example:
      >>> import jax.numpy as jnp
      >>> loss = lambda w, x: 0.5 * jnp.sum(x * w**2)
      >>> probe = Probe(loss, jnp.array([0.1, 0.2]))
      >>> params = jnp.array([0.0, 1.0])
      >>> for batch in (jnp.array([1.0, 3.0]), jnp.array([1.0, 5.0])):
      ...     centre = probe.gradient(params, batch)  # for the training step, too
      ...     line = probe(params, batch, centre=centre)
      ...     print([round(float(beta), 3) for beta in line.smoothness])
      [3.0, 3.0]
      [5.0, 5.0]
    """

    def __init__(
        self,
        loss: Callable[..., Scalar],
        step_sizes: Points,
        *,
        parameters: trees.Parameters | None = None,
        described: Described | None = None,
        chunk: int | Literal["auto"] = "auto",
        mapped: bool | None = None,
        precision: str = "highest",
        gradient: Callable[..., tuple[Scalar, Params]] | None = None,
    ) -> None:
        """Say what is probed; nothing is compiled yet.

        Args:
          loss: `loss(params, *batch) -> scalar`, differentiable in `params`.
          step_sizes: η, `[num_step_sizes]`, as for `line`.
          parameters: as for `line`.
          described: as for `line`.
          chunk: points at a time where they are mapped, as for `line`.
          mapped: whether the points are one program; None: on accelerators.
          precision: a value of `jax.default_matmul_precision` for the probe.
          gradient: the compiled `(params, *batch) -> (loss, gradient)` of a training step, to take
            in place of a further one; it must be that of `loss`, at `precision`.

        Raises:
          UsageError: `step_sizes` as for `line`, or a loss that is no function; at the first call,
            as `line`.
        """
        check_function(loss, "the loss")
        check_points(step_sizes, "step_sizes")
        self.step_sizes = np.asarray(step_sizes)
        self._loss, self._mapped = loss, mapped
        self._compiled: Counter[Any] = Counter()
        self._called = False
        self._selection = trees.leaves_where(parameters) if parameters else trees.EVERYTHING
        self._options: dict[str, Any] = {
            "parameters": parameters,
            "described": described,
            "chunk": chunk,
            "precision": precision,
        }

        def value_and_grad(params: Params, *batch: Any) -> tuple[Scalar, Params]:
            self._count("gradient", (params, batch))

            def own_loss(selected: Params) -> Any:
                return loss(self._selection.merge(params, selected), *batch)

            selected = self._selection.split(params)
            check_scalar(own_loss, selected)
            with jax.default_matmul_precision(precision), outside_loops():
                return jax.value_and_grad(own_loss)(selected)

        def limits_at(params: Params, direction: Params, *batch: Any) -> tuple[Scalar, ...]:
            def own_loss(selected: Params) -> Any:
                return loss(self._selection.merge(params, selected), *batch)

            with jax.default_matmul_precision(precision):
                return along(own_loss, self._selection.split(params), direction)

        def rounded(params: Params, *batch: Any) -> Params:
            epsilon = coarsest_epsilon(loss, params, *batch, precision=precision)
            split, merge = self._selection
            return merge(params, round_otherwise(split(params), epsilon))

        def compiled_line(
            params: Params, batch: Any, sizes: Points, limits: bool, rounding: bool, **given: Any
        ) -> Line:
            self._count((limits, rounding), (params, batch, given))
            return self._line(params, batch, sizes, limits, rounding, **given)

        self._rounded = jax.jit(rounded)
        self.gradient = gradient or jax.jit(value_and_grad)
        self._limits_at = jax.jit(limits_at)
        self._compiled_line = jax.jit(compiled_line, static_argnums=(3, 4))

    def __call__(
        self,
        params: Params,
        *batch: Any,
        direction: Params | None = None,
        random_key: PRNGKey | None = None,
        centre: tuple[Scalar, Params] | None = None,
        limits: bool = True,
        rounding: bool | None = None,
    ) -> Line:
        """Measure losses and gradients at `params − η · direction` on one batch.

        Args:
          params: pytree of float32 or float64 arrays, the centre θ.
          *batch: what the loss takes beside the parameters.
          direction: as for `line`.
          random_key: as for `line`.
          centre: `gradient(params, *batch)` where it is known already.
          limits: whether to measure the limits for η → 0 this time; without, they are NaN.
          rounding: whether to measure the rounding noise, by one more gradient; by default where
            limits are measured.

        Returns:
          A `Line`; equal to that of `line` up to rounding.

        Raises:
          UsageError: as `line`.
        """
        split, merge = self._selection
        check_params(split(params))
        if direction is not None:
            check_like(params, direction, "direction")
        if centre is not None:
            check_result(centre[0])
            check_like(split(params), split(centre[1]), "the gradient of centre")
        options: dict[str, Any] = {"direction": direction, "random_key": random_key}
        options["centre"] = centre
        rounding = limits if rounding is None else rounding
        if any(isinstance(leaf, jax.core.Tracer) for leaf in jax.tree.leaves((params, batch))):
            return self._line(params, batch, self.step_sizes, limits, rounding, **options)
        if self._called:
            COMPILED.clear()  # it is not made anew for each call
        self._called = True
        on_cpu = jax.default_backend() == "cpu"
        if self._mapped or (self._mapped is None and not on_cpu):
            own = params, batch, self.step_sizes, limits, rounding
            return self._compiled_line(*own, **options)
        if direction is not None:
            direction = split(direction)
        loss, gradient = centre or self.gradient(params, *batch)
        kernels = _kernels(params, self._options["described"], self._options["parameters"])
        centre_of_line, direction, norm = _begin(
            split(params), split(gradient), direction, random_key, kernels
        )
        ends: tuple[Any, ...] = (np.full_like(norm, np.nan),) * 3
        if limits:
            ends = self._limits_at(params, direction, *batch)
        rows: list[Any] = []
        for step_size in self.step_sizes:
            point = merge(params, _move(split(params), direction, step_size))
            point_loss, point_gradient = self.gradient(point, *batch)
            found = point_loss, _flat(split(point_gradient))
            rows.append(_compare_one(found, centre_of_line, step_size))
            jax.block_until_ready(rows[-2:-1])  # so that few gradients are in memory at a time
        measured = [np.stack(values) for values in zip(*jax.device_get(rows), strict=True)]
        noise = np.full_like(norm, np.nan)
        if rounding:
            _, other = self.gradient(self._rounded(params, *batch), *batch)
            noise = _apart(_flat(split(other)), less=centre_of_line.gradient)
        central = loss, norm, centre_of_line.direction_norm, *ends, noise
        return Line(*(self.step_sizes, *measured, *central))

    def _line(
        self,
        params: Params,
        batch: Any,
        step_sizes: Points,
        limits: bool,
        rounding: bool,
        **options: Any,
    ) -> Line:
        def own_loss(params: Params) -> Any:
            return self._loss(params, *batch)

        given = {"limits": limits, "rounding": rounding, **self._options, **options}
        return line(own_loss, params, step_sizes, **given)

    def _count(self, program: Any, inputs: Any) -> None:
        """Called while a program is compiled; says when that is done over and over."""
        shapes = program, *((leaf.shape, leaf.dtype) for leaf in jax.tree.leaves(inputs))
        selected = repr(self._options["parameters"])
        anew = code_of(self._loss), selected, self.step_sizes.tobytes(), shapes
        self._compiled[shapes] += 1
        COMPILED[anew] += 1
        if 3 in (self._compiled[shapes], COMPILED[anew]):
            warnings.warn(COMPILED_AGAIN, stacklevel=2)


# A point is compared as one vector: XLA compiles sums over one array in a tenth of the time that it
# takes for those over every leaf.
@jax.jit
def _flat(tree: Params) -> Float[Array, " size"]:
    return trees.ravel(tree)[0]


@functools.partial(jax.jit, static_argnames="kernels")
def _begin(
    params: Params,
    gradient: Params,
    direction: Params | None,
    random_key: PRNGKey | None,
    kernels: tuple[Parameter | None, ...],
) -> tuple[_Centre, Params, Scalar]:
    """What a line's points are compared with, as vectors; the direction, the gradient's norm."""
    flat = _flat(gradient)
    norm = trees.norm(flat)
    direction = _direction(params, gradient, norm, direction, random_key)
    norms = _flat(
        jax.tree.map(
            lambda norm, leaf: jnp.broadcast_to(norm, leaf.shape),
            _kernel_norms(params, kernels),
            params,
        )
    )
    along = _flat(direction)
    centre = _Centre(flat, trees.norm(along), norms, trees.norm(_over(along, norms)))
    return centre, direction, norm


_move = jax.jit(trees.move)
_apart = jax.jit(trees.norm)
_compare_one = jax.jit(_compare)


def losses_on_line(
    loss: Loss,
    params: Params,
    step_sizes: Points,
    direction: Params,
    *,
    parameters: trees.Parameters | None = None,
    chunk: int | Literal["auto"] = "auto",
    mesh: jax.sharding.Mesh | None = None,
    precision: str = "highest",
) -> Points:
    """Losses alone at `params − η · direction`: forward passes only.

    Args:
      loss: `loss(params) -> scalar`.
      params: pytree of float32 or float64 arrays, the centre.
      step_sizes: η, `[num_step_sizes]`, units of `params` over units of `direction`.
      direction: pytree like `params`.
      parameters: keeps only the selected leaves of the direction, see `line`.
      chunk: points at a time, see `line`.
      mesh: devices with an axis `probe` over which the points are spread.
      precision: a value of `jax.default_matmul_precision`.

    Returns:
      Losses `[num_step_sizes]`, in the dtype and units of the loss.

    Raises:
      UsageError: as `line`.

    Source: Santurkar et al. 2018, Fig. 4a.
    """
    check_scalar(loss, params)
    count_call("losses_on_line", loss, params)
    check_like(params, direction, "direction")
    step_sizes = check_points(step_sizes, "step_sizes")
    options: dict = {"chunk": chunk, "mesh": mesh, "precision": precision, "parameters": parameters}
    return values_on_line(loss, params, direction, -step_sizes, **options)
