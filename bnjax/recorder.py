"""A flight recorder for anyone's training loop: an optax wrapper that changes nothing.

    optimizer = bnjax.watch(optax.adamw(1e-3), 1e-3, weight_decay=1e-4, b1=0.9, loss=loss)
    state = optimizer.init(params)
    updates, state = optimizer.update(gradient, state, params, images=images, labels=labels)
    state.recorder.plot()

What is recorded is computed beside the optimiser's own update, from the same gradient, state and
parameters. The update that trains is that of the optimiser without it.
"""

import functools
import inspect
import math
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Annotated, Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax import lax
from jaxtyping import Float, Int, UInt8

from bnjax import fields
from bnjax.arithmetic import trees
from bnjax.arithmetic.moments import accumulator
from bnjax.errors import UsageError, require
from bnjax.fields import Field
from bnjax.probes.rotation import Groups, compare, floating, leaves_of_groups, of_group, rest_factor
from bnjax.probes.sharpness import critical_on_line
from bnjax.types import Array, Index, Loss, Params, PyTree, Scalar

ByGroup: TypeAlias = Float[Array | np.ndarray, " group"]
Number: TypeAlias = Float[Array | np.ndarray, ""]
Hyperparameter: TypeAlias = float | Scalar | Callable[[Index], Any] | None

SATURATED = 2.0  # |x| of an input of tanh: the output is beyond 0.96


class Recording(NamedTuple):
    """One update θ → θ′ as the flight recorder saw it; g is the gradient before any transformation.

    Δ is the optimiser's own direction: θ′ = θ − lr · (Δ + wd · θ), so weight decay is no part of
    it. Losses, the critical step and curvature are NaN where no loss was given, or none was due.
    """

    gradient_norms: Annotated[ByGroup, Field("Gradient norm ‖g‖, before clipping")]
    weight_norms: Annotated[ByGroup, Field("Weight norm ‖w‖")]
    update_norms: Annotated[ByGroup, Field("Update norm ‖Δw‖")]
    update_ratios: Annotated[ByGroup, Field("Update over weight ‖Δw‖/‖w‖")]
    rotations: Annotated[ByGroup, Field("Rotation: angle from w to the next w", "rad")]
    # NaN of a group in which some leaf does not decay.
    rotation_ratios: Annotated[ByGroup, Field("Rotation over its equilibrium")]
    learning_rate: Annotated[Number, Field("Learning rate")]
    loss: Annotated[Number, Field("Loss L(θ) on the batch of the step")]
    critical_step: Annotated[Number, Field("Critical step η_c: least η with L(θ − ηΔ) > L(θ)")]
    critical_sharpness: Annotated[Number, Field("Critical sharpness 2/η_c")]
    curvature: Annotated[Number, Field("ΔᵀHΔ / Δᵀg")]
    edge: Annotated[Number, Field("2/lr − wd")]
    momentum_edge: Annotated[Number, Field("Edge of stability with momentum")]


class Optimization(NamedTuple):
    """The numbers of an optimiser at one step that decide its equilibrium and its edges."""

    learning_rate: Scalar
    weight_decay: Scalar
    momentum: Scalar  # b; NaN where none of the formulas below holds
    # Adam's m ← b·m + (1 − b)·g with decay outside of it; else SGD's m ← b·m + g with decay in g.
    averaged: bool = False

    @property
    def equilibrium(self) -> Scalar:
        r"""The angle per step of a scale-invariant group at rest.

        $\sqrt{2\,lr\,wd/(1+b)}$ of SGD, $\sqrt{2\,lr\,wd\,(1-b)/(1+b)}$ of AdamW; NaN
        without decay.

        Source: Kosson et al. 2024 (2305.17212).
        """
        b, decay = self.momentum, self.learning_rate * self.weight_decay
        angle = jnp.sqrt(2 * decay * rest_factor(b, self.averaged))
        return jnp.where(decay > 0, angle, jnp.nan)

    @property
    def edge(self) -> Scalar:
        """2/lr − wd: on a quadratic, the critical sharpness of a step that ends at equal loss."""
        return 2 / self.learning_rate - self.weight_decay

    @property
    def momentum_edge(self) -> Scalar:
        r"""The largest stable sharpness on a quadratic, of Adam the preconditioned one.

        $(2+2b)/lr - wd$ of SGD, $\frac{1+b}{1-b}(2/lr - wd)$ of AdamW: 38/lr at b = 0.9.

        Source: Cohen et al. 2022 (2207.14484), here with weight decay.
        """
        b = self.momentum
        if self.averaged:
            return (1 + b) / (1 - b) * self.edge
        return (2 + 2 * b) / self.learning_rate - self.weight_decay


class Recorder(NamedTuple):
    """The last rows that were recorded, in arrays of fixed size (a ring).

    It is a pytree of arrays: it goes through `jit`, `scan` and checkpoints with the optimiser's
    state.
    """

    step: Index  # updates so far
    steps: Int[Array, " row"]  # the update of each row, from 0; −1 of an empty one
    names: UInt8[Array, "group byte"]  # of the groups, in UTF-8: a pytree has no room for text
    rows: Recording  # arrays `[row]` and `[row, group]`
    saturation: dict[str, Float[Array, " row"]]  # by the name of the activation

    def to_xarray(self) -> Any:
        """An `xarray.Dataset` with the axes `step` and `group`, in the order of the steps.

        Raises:
          UsageError: nothing was recorded yet.
        """
        steps = np.asarray(self.steps)
        order = np.argsort(steps)[np.count_nonzero(steps < 0) :]
        if not len(order):
            raise UsageError("nothing was recorded yet: call update first")
        rows = Recording(*(np.asarray(values)[order] for values in self.rows))
        data = fields.to_xarray(rows).assign_coords(step=steps[order], group=decoded(self.names))
        data["step"].attrs["long_name"] = fields.AXIS_LABELS["step"]
        if self.saturation:
            shares = np.stack([np.asarray(share)[order] for share in self.saturation.values()], 1)
            field = Field(f"Saturation: share of |x| > {SATURATED:g}", bounded=True)
            attributes = fields.attributes(Recording, field, "recording")
            data["saturation"] = (("step", "activation"), shares, attributes)
            data = data.assign_coords(activation=list(self.saturation))
        return data

    def to_dataframe(self) -> Any:
        """A `pandas.DataFrame`, see `bnjax.to_dataframe`."""
        return fields.to_dataframe(self.to_xarray())

    def plot(self) -> Any:
        """Draw it, see `bnjax.plot`."""
        return fields.plot(self.to_xarray())

    def line(self) -> str:
        """The newest row in a line, for a loop that prints as it runs; empty before the first.

        Norms are those of all groups together, update/weight and rotation their medians, without
        groups of weights that are 0, as biases are at first. The last critical sharpness is shown
        in units of its edge: above 1 a step raises the loss of its batch.
        """
        steps = np.asarray(self.steps)
        if (steps < 0).all():
            return ""
        newest = int(steps.argmax())
        row = {name: np.asarray(values)[newest] for name, values in self.rows._asdict().items()}
        shown = {
            "lr": row["learning_rate"],
            "‖g‖": np.sqrt(np.sum(np.square(row["gradient_norms"], dtype=float))),
            "‖w‖": np.sqrt(np.sum(np.square(row["weight_norms"], dtype=float))),
            "update/weight": middle(row["update_ratios"][row["weight_norms"] != 0]),
            "rotation/equilibrium": middle(row["rotation_ratios"]),
        }
        sharpness = np.asarray(self.rows.critical_sharpness / self.rows.edge, float)
        known = np.flatnonzero(~np.isnan(sharpness))
        if len(known):
            last = known[steps[known].argmax()]
            shown["loss"] = np.asarray(self.rows.loss)[last]
            shown["critical sharpness/edge"] = sharpness[last]
        parts = [f"{name} {value:.3g}" for name, value in shown.items() if not np.isnan(value)]
        return "  ".join([f"step {steps[newest]}", *parts])


def middle(values: np.ndarray) -> float:
    """The median of what is not NaN; NaN where nothing is."""
    known = values[~np.isnan(values)]
    return float(np.median(known)) if len(known) else math.nan


class WatchState(NamedTuple):
    """The state of a watched optimiser."""

    inner: PyTree  # of the optimiser itself
    recorder: Recorder


def watch(
    optimizer: optax.GradientTransformation,
    learning_rate: Hyperparameter = None,
    weight_decay: Hyperparameter = None,
    *,
    momentum: Hyperparameter = None,
    b1: Hyperparameter = None,
    decays: trees.Parameters | None = None,
    groups: Groups | None = None,
    loss: Callable[..., Scalar] | None = None,
    activations: Sequence[str] = (),
    every: int = 20,
    critical_every: int = 200,
    rows: int = 1000,
) -> optax.GradientTransformationExtraArgs:
    r"""An optimiser with a flight recorder in its state; it trains the same, bit for bit.

    Every `every` updates the recorder writes a row, see `Recording`. Given a loss, every
    `critical_every` updates the row has the critical step
    $\eta_c = \min\{\eta > 0 : L(\theta - \eta\Delta) > L(\theta)\}$ by six forward passes, and
    $\Delta^\top H\Delta/\Delta^\top g$ from the losses at 0, lr/2 and lr among these, without
    another pass. Both are exact on a quadratic. A critical sharpness 2/η_c above 2/lr − wd says
    that the step raises the loss of its batch.

    Args:
      optimizer: any optax optimiser, whole: with its clipping and its weight decay. Inside
        `optax.MultiSteps`, not around it.
      learning_rate: that of the optimiser: a number, or its schedule. None takes it from the state
        of `optax.inject_hyperparams`, where it is named `learning_rate` or `lr`.
      weight_decay: the coefficient of the optimiser, per step and unit of learning rate, 0 if it
        has none; a number, a schedule, or None as above.
      momentum: b of SGD, m ← b·m + g. None as above, or 0 where the optimiser's state has none. NaN
        for an optimiser to which the formulas of `Optimization` do not apply.
      b1: b₁ of Adam and its kin, m ← b₁·m + (1 − b₁)·g; in place of `momentum`.
      decays: which leaves the weight decay moves, as `parameters=` of `probes.line`; None: all.
      groups: patterns as `parameters=` of `probes.line`, by name of the group, or a list of
        patterns; None: each leaf of floating-point numbers is a group.
      loss: `loss(params, images, labels, …) -> scalar`; `update` gets the arguments by their names.
        It must be the loss of the step, without a new random draw at each call.
      activations: names of activations whose saturation is recorded: `update(…,
        activations={name: x})`, x the inputs of tanh, erf or sigmoid. The share of |x| > 2 is kept.
      every: updates from one row to the next.
      critical_every: updates from one critical step to the next, a multiple of `every`.
      rows: rows that are kept; then the oldest is overwritten.

    Returns:
      An optax optimiser. `update(gradient, state, params, **batch)` hands everything on to the
      optimiser within. Its state is a `WatchState`; `state.recorder` has `to_xarray`, `plot` and
      `line`.

    Raises:
      UsageError: at once, or by `init`, a hyperparameter that is neither given nor in the state, a
        value that cannot be, or an optimiser or loss that is none; by `update`, missing params or
        arguments of the loss.

    Source: Kalra et al. 2026 (2601.16979) for critical sharpness; Kosson et al. 2024 (2305.17212)
    for rotation; saturation as for DyT in 2604.23434.

    Example:
      >>> curvature = jnp.array([1.0, 3.0])
      >>> loss = lambda params: 0.5 * jnp.sum(curvature * params**2)
      >>> optimizer = watch(optax.sgd(0.1), 0.1, weight_decay=0.0, loss=loss)
      >>> params = jnp.array([0.0, 1.0])
      >>> updates, state = optimizer.update(jax.grad(loss)(params), optimizer.init(params), params)
      >>> round(float(state.recorder.to_xarray()["critical_sharpness"][0]), 3)
      3.0
    """
    for name, value in (("every", every), ("rows", rows), ("critical_every", critical_every)):
        require(name, value, isinstance(value, int) and value >= 1, "a whole number, 1 or more")
    legal = critical_every % every == 0
    require("critical_every", critical_every, legal, f"a multiple of every={every}")
    given_numbers = {"learning_rate": learning_rate, "weight_decay": weight_decay}
    for name, given in {**given_numbers, "momentum": momentum, "b1": b1}.items():
        numeric = isinstance(given, int | float) or given is None or hasattr(given, "dtype")
        require(name, given, numeric or callable(given), "a number or its schedule")
        require(name, given, not (isinstance(given, int | float) and given < 0), "0 or more")
    if not (hasattr(optimizer, "init") and hasattr(optimizer, "update")):
        raise UsageError(
            f"optimizer is {optimizer!r:.60}: give one of optax, e.g. optax.adam(1e-3)"
        )
    if not (loss is None or callable(loss)):
        raise UsageError(
            f"loss is {loss!r:.60}: give a function, e.g. loss(params, images, labels)"
        )
    if momentum is not None and b1 is not None:
        raise UsageError("momentum and b1 are both given: momentum is of SGD, b1 of Adam")
    optimizer = optax.with_extra_args_support(optimizer)
    arguments = argument_names(loss) if loss is not None else ()

    def optimization(state: PyTree, step: Index, dtype: Any) -> Optimization:
        given = (learning_rate, weight_decay, momentum, b1)
        return find_optimization(state, step, dtype, *given)

    def init(params: Params) -> WatchState:
        state = optimizer.init(params)
        dtype, zero = dtype_of(params), jnp.zeros((), jnp.int32)
        here = optimization(state, zero, dtype)
        names = leaves_of_groups(params, groups)
        moved = decaying(params, decays)
        row = jax.eval_shape(
            lambda tree: record(tree, tree, tree, here, groups=names, decays=moved), params
        )
        empty = jax.tree.map(lambda value: jnp.full((rows, *value.shape), jnp.nan, dtype), row)
        shares = {name: jnp.full((rows,), jnp.nan, dtype) for name in activations}
        steps = jnp.full((rows,), -1, jnp.int32)
        return WatchState(state, Recorder(zero, steps, encoded(names), empty, shares))

    def write(
        recorder: Recorder,
        gradient: PyTree,
        params: Params,
        updates: PyTree,
        inner: PyTree,
        batch: Mapping[str, Any],
        shown: Mapping[str, Array],
    ) -> Recorder:
        step, dtype = recorder.step, dtype_of(params)
        here = optimization(inner, step, dtype)
        names, moved = leaves_of_groups(params, groups), decaying(params, decays)
        found = record(gradient, params, updates, here, groups=names, decays=moved)
        if loss is not None:
            own_loss = functools.partial(loss, **batch)

            def measured() -> tuple[Scalar, ...]:
                return critical(own_loss, params, updates, here, moved)

            nothing = (jnp.asarray(jnp.nan, dtype),) * len(CRITICAL)
            due = step % critical_every == 0
            values = lax.cond(due, measured, lambda: nothing)
            found = found._replace(**dict(zip(CRITICAL, values, strict=True)))
        row = (step // every) % rows

        def put(values: Array, value: Array) -> Array:
            return values.at[row].set(value.astype(values.dtype))

        return recorder._replace(
            steps=recorder.steps.at[row].set(step),
            rows=jax.tree.map(put, recorder.rows, found),
            saturation={
                name: put(shares, saturation(shown[name]))
                for name, shares in recorder.saturation.items()
            },
        )

    compiled = jax.jit(write)

    def update(
        gradient: PyTree, state: WatchState, params: Params | None = None, **extra: Any
    ) -> tuple[PyTree, WatchState]:
        if params is None:
            raise UsageError("the recorder needs the weights: call update(gradient, state, params)")
        shown = extra.pop("activations", {})
        for kind, wanted, there in (
            ("the loss takes", arguments, extra),
            ("activations is to have", activations, shown),
        ):
            if missing := [name for name in wanted if name not in there]:
                raise UsageError(
                    f"{kind} {missing[0]}, which is not there: call update(gradient, state, params"
                    f", {'activations={…}' if wanted is activations else f'{missing[0]}=…'})"
                )
        batch = {name: extra[name] for name in arguments}
        shown = {name: shown[name] for name in activations}
        recorder, due = state.recorder, state.recorder.step % every == 0
        if isinstance(due, jax.core.Tracer):

            def written() -> Recorder:
                # Computed again: if the recorder read the update that trains, the compiler would
                # keep it for both, and round it otherwise than without a recorder.
                again, inner = optimizer.update(gradient, state.inner, params, **extra)
                return write(recorder, gradient, params, again, inner, batch, shown)

            recorder = lax.cond(due, written, lambda: state.recorder)
            # The update waits for the recorder. Without an order between both, the compiler copies
            # all weights and states at every step: the recorder reads what a donated update
            # overwrites.
            ordered, _ = lax.optimization_barrier((state.inner, recorder.steps))
            updates, inner = optimizer.update(gradient, ordered, params, **extra)
        else:
            updates, inner = optimizer.update(gradient, state.inner, params, **extra)
            if due:
                recorder = compiled(recorder, gradient, params, updates, inner, batch, shown)
        return updates, WatchState(inner, recorder._replace(step=recorder.step + 1))

    return optax.GradientTransformationExtraArgs(init, update)


def record(
    gradient: PyTree,
    params: Params,
    updates: PyTree,
    optimization: Optimization,
    *,
    groups: Mapping[str, Sequence[str]],
    decays: Collection[str],
    loss: Loss | None = None,
) -> Recording:
    """What the flight recorder writes of one update; a pure function, which `watch` calls.

    Args:
      gradient: pytree like `params`, as the optimiser got it.
      params: the weights before the update.
      updates: what the optimiser adds to them.
      optimization: learning rate, weight decay and momentum of this update.
      groups: names of leaves, by the name of their group; leaves that are not in `params` are
        passed over.
      decays: names of the leaves that weight decay moves.
      loss: `loss(params) -> scalar`, for the critical step; None: NaN.

    Returns:
      A `Recording`; arrays `[group]`.
    """
    dtype = dtype_of(params)
    # As they are stored: the compiler would spare the rounding to 16 bits.
    after = lax.optimization_barrier(optax.apply_updates(params, updates))
    trees_of = (gradient, params, updates, after)
    named = [
        {name: wide(leaf, dtype) for name, leaf in floating(trees.named_leaves(tree)).items()}
        for tree in trees_of
    ]
    by_leaf = compare(*([*tree.values()] for tree in named))
    leaves = [*named[1]]
    members = np.array([[leaf in names for leaf in leaves] for names in groups.values()])
    own = jax.vmap(functools.partial(of_group, by_leaf))(jnp.asarray(members))
    size, change = own.weight, own.update
    decayed = np.array([set(names) & {*leaves} <= set(decays) for names in groups.values()])
    rest = jnp.where(jnp.asarray(decayed), optimization.equilibrium, jnp.nan)
    by_group = (own.gradient, size, change, change / size, own.angle, own.angle / rest)
    values = dict(zip(Recording._fields, by_group, strict=False))
    values |= dict.fromkeys(CRITICAL, jnp.asarray(jnp.nan, dtype))
    if loss is not None:
        found = critical(loss, params, updates, optimization, decays)
        values |= dict(zip(CRITICAL, found, strict=True))
    for name in ("learning_rate", "edge", "momentum_edge"):
        values[name] = wide(getattr(optimization, name), dtype)
    return Recording(**values)


CRITICAL = ("loss", "critical_step", "critical_sharpness", "curvature")


def critical(
    loss: Loss,
    params: Params,
    updates: PyTree,
    optimization: Optimization,
    decays: Collection[str],
) -> tuple[Scalar, ...]:
    """The fields `CRITICAL` of a `Recording`, by six forward passes."""
    dtype = dtype_of(params)
    rate, shrinking = optimization.learning_rate, optimization.weight_decay

    def loss_at(step: Scalar) -> Scalar:
        def moved(path: tuple, leaf: Array, update: Array) -> Array:
            if not jnp.issubdtype(leaf.dtype, jnp.floating):
                return leaf
            own = wide(update, dtype)
            if trees.path_name(path) in decays:  # decay is no part of the direction
                own = own + rate * shrinking * wide(leaf, dtype)
            return (wide(leaf, dtype) + step * own).astype(leaf.dtype)

        point = jax.tree_util.tree_map_with_path(moved, params, updates)
        return wide(loss(point), dtype)

    return tuple(critical_on_line(loss_at, wide(rate, dtype)))


def saturation(x: Array) -> Scalar:
    """The share of inputs of tanh, erf or sigmoid at which these are nearly flat."""
    return jnp.mean(jnp.abs(x) > SATURATED, dtype=accumulator(x.dtype))


def wide(leaf: Any, dtype: Any) -> Array:
    return jnp.asarray(leaf).astype(dtype)


def dtype_of(params: Params) -> Any:
    """The widest floating-point type of some leaves, at least float32."""
    kinds = [jnp.result_type(leaf) for leaf in floating(trees.named_leaves(params)).values()]
    if not kinds:
        raise UsageError("params has no leaf of floating-point numbers: there is nothing to watch")
    return accumulator(functools.reduce(jnp.promote_types, kinds))


def decaying(params: Params, decays: trees.Parameters | None) -> set[str]:
    """The names of the leaves that weight decay moves."""
    names = trees.leaf_names(params)
    return set(names if decays is None else trees.selected_names(params, decays))


def encoded(names: Collection[str]) -> UInt8[Array, "group byte"]:
    """Names as bytes of one length."""
    texts = [name.encode() for name in names]
    length = max(map(len, texts))
    return jnp.asarray([[*text.ljust(length, b"\0")] for text in texts], jnp.uint8)


def decoded(names: UInt8[Array, "group byte"]) -> list[str]:
    """The names again."""
    return [bytes(row).rstrip(b"\0").decode() for row in np.asarray(names)]


def argument_names(loss: Callable[..., Any]) -> tuple[str, ...]:
    """The arguments of a loss beside the parameters, which `update` gets by their names."""
    _, *others = inspect.signature(loss).parameters.values()
    for one in others:
        if one.kind in (one.VAR_POSITIONAL, one.VAR_KEYWORD, one.POSITIONAL_ONLY):
            raise UsageError(
                f"the loss takes {one}: name its arguments, e.g. loss(params, images, labels), "
                "since update gets them by name"
            )
    return tuple(one.name for one in others if one.default is one.empty)


def find_optimization(
    state: PyTree,
    step: Index,
    dtype: Any,
    learning_rate: Hyperparameter,
    weight_decay: Hyperparameter,
    momentum: Hyperparameter,
    b1: Hyperparameter,
) -> Optimization:
    """The numbers of an optimiser at a step, given or from its state.

    Raises:
      UsageError: one of them is neither given nor in the state.
    """
    states = [
        node
        for node in jax.tree.leaves(state, is_leaf=lambda node: hasattr(node, "hyperparams"))
        if hasattr(node, "hyperparams")
    ]

    def known(given: Hyperparameter, *names: str) -> Scalar | None:
        if given is None:
            told = [s.hyperparams[name] for s in states for name in names if name in s.hyperparams]
            given = told[0] if len(told) == 1 else None
        given = given(step) if callable(given) else given
        return None if given is None else wide(given, dtype)

    def asked(name: str, given: Scalar | None, why: str, example: str) -> Scalar:
        if given is None:
            raise UsageError(
                f"{name} cannot be known: {why}; give {name}={example}, or its schedule, or build "
                "the optimiser with optax.inject_hyperparams"
            )
        return given

    of_state = "the optimiser's state does not hold it"
    rate = asked("learning_rate", known(learning_rate, "learning_rate", "lr"), of_state, "0.001")
    decay = asked(
        "weight_decay", known(weight_decay, "weight_decay"), f"{of_state}", "0 if there is none"
    )
    kept = kinds_of_state(state)
    if b1 is not None or (momentum is None and kept & {"mu", "ema"}):
        given = asked("b1", known(b1, "b1"), "the optimiser averages gradients", "0.9")
        return Optimization(rate, decay, given, averaged=True)
    if momentum is None and "trace" not in kept:
        momentum = 0.0
    given = asked("momentum", known(momentum, "momentum"), "the optimiser has a trace", "0.9")
    return Optimization(rate, decay, given)


def kinds_of_state(state: PyTree) -> set[str]:
    """The names of the fields of all NamedTuples in an optimiser's state."""
    found: set[str] = set()

    def look(node: Any) -> bool:
        found.update(getattr(node, "_fields", ()))
        return False

    jax.tree.leaves(state, is_leaf=look)
    return found
