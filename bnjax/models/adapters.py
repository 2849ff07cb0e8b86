"""Networks of nnx, Equinox and Haiku for `losses.on_batch`: pure functions with statistics apart.

Each function takes a network as its library keeps it, and returns a model, its parameters and its
running statistics. In a training loop call it again for new values; the first model serves all
steps. The three libraries are loaded when they are asked for; bnjax needs none of them.
"""

import contextlib
import dataclasses
import inspect
import re
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, TypeAlias

import jax
import jax.numpy as jnp

from bnjax.arithmetic import trees
from bnjax.errors import UsageError, told
from bnjax.models.calls import NO_KEY, Output, call_of, logits_of
from bnjax.types import BatchStats, Inputs, Logits, Params, PRNGKey

# `run(params, batch_stats, images, train, key, batch_only)` gives outputs and running statistics
# after the batch, or, if they are to be `batch_only`, those of the batch without the old ones.
PureCall: TypeAlias = Callable[..., tuple[Any, BatchStats]]

NO_MOMENTS = (
    "the network has running statistics of another layer than {}, and the batch's own, which "
    "statistics='frozen' and 'recalibrated' need, are not known: use 'batch' or 'running'"
)


@dataclasses.dataclass(frozen=True, eq=False)
class Adapter:
    """A network of another library, called as a `Model` is.

    Attributes:
      run: the network's own call as a pure function.
      output: which entry of the outputs is the logits, see `Model`.
    """

    run: PureCall
    output: Output = None

    def apply(
        self,
        params: Params,
        batch_stats: BatchStats,
        images: Inputs,
        *,
        train: bool,
        key: PRNGKey | None = None,
    ) -> tuple[Logits, BatchStats]:
        """Logits, and the running statistics after this batch; arguments as of `Model.apply`."""
        with told_of_keys(key):
            outputs, after = self.run(params, batch_stats, images, train, key, False)
        return logits_of(outputs, len(images), self.output), after if train else batch_stats

    def moments(
        self,
        params: Params,
        batch_stats: BatchStats,
        images: Inputs,
        *,
        key: PRNGKey | None = None,
    ) -> BatchStats:
        """The statistics of this very batch, in the structure of `batch_stats`."""
        with told_of_keys(key):
            return self.run(params, batch_stats, images, True, key, True)[1]


class Adapted(NamedTuple):
    """What `losses.on_batch` and a probe take of a network."""

    model: Adapter
    params: Params
    batch_stats: BatchStats


def from_nnx(network: Any, *, output: Output = None) -> Adapted:
    """A module of `flax.nnx`.

    Its `nnx.Param` are parameters, its `nnx.BatchStat` running statistics; everything else stays
    inside the model as it is now. It is switched between training and evaluation as by `.train()`
    and `.eval()`, and by the flag of its call, if it has one.

    Args:
      network: called as `network(images)`, and may take a training flag and `rngs`.
      output: which entry of the outputs is the logits, see `Model`.

    Returns:
      `(model, params, batch_stats)`; the last two are of `nnx.State`.

    Raises:
      UsageError: at a call, no random key for dropout; at `moments`, `nnx.BatchStat` of other
        modules than `nnx.BatchNorm`.

    Example:
      >>> from flax import nnx
      >>> random = nnx.Rngs(0)
      >>> layers = nnx.Linear(3, 4, rngs=random), nnx.BatchNorm(4, rngs=random)
      >>> model, params, batch_stats = from_nnx(nnx.Sequential(*layers))
      >>> images = jnp.ones((2, 3), jnp.float32)
      >>> logits, batch_stats = model.apply(params, batch_stats, images, train=True)
      >>> logits.shape
      (2, 4)
    """
    from flax import nnx

    parts: Any = nnx.split(network, nnx.Param, nnx.BatchStat, ...)
    graph, params, batch_stats, rest = parts

    def run(
        params: Params,
        batch_stats: BatchStats,
        images: Inputs,
        train: bool,
        key: PRNGKey | None,
        batch_only: bool,
    ) -> tuple[Any, BatchStats]:
        # A call writes into variables, so it gets some of its own.
        own = jax.tree.map(lambda leaf: leaf, (params, batch_stats, rest))
        module = nnx.merge(graph, *own)
        flags = {"deterministic": not train, "use_running_average": not train}
        module.set_attributes(**flags, raise_if_not_found=False)
        inside = [one for _, one in nnx.iter_graph(module)]
        if batch_only:
            batch_norms = [one for one in inside if isinstance(one, nnx.BatchNorm)]
            if 2 * len(batch_norms) < len(jax.tree.leaves(batch_stats)):
                raise UsageError(NO_MOMENTS.format("nnx.BatchNorm"))
            for one in batch_norms:
                one.momentum = 0.0
        dropouts = (one for one in inside if isinstance(one, nnx.Dropout) and one.rate > 0)
        if key is None and not all(one.deterministic for one in dropouts):
            raise UsageError(NO_KEY)
        if key is not None:
            tags = sorted({one.key.tag for one in inside if isinstance(one, nnx.RngStream)})
            keys: Any = {tag: jax.random.fold_in(key, place) for place, tag in enumerate(tags)}
            nnx.reseed(module, **keys)
        rngs = None if key is None else nnx.Rngs(key)
        call = call_of(module.__call__, (images,), train, rngs=rngs)
        return module(*call.args, **call.kwargs), nnx.state(module, nnx.BatchStat)

    return Adapted(Adapter(run, output), params, batch_stats)


def from_equinox(network: Any, state: Any = None, *, output: Output = None) -> Adapted:
    """A module of Equinox, called on one example at a time.

    Its floating-point arrays are parameters, the mean and variance of its `eqx.nn.BatchNorm`
    running statistics; what else `state` holds stays inside the model as it is now. With
    `mode="ema"` Equinox trains with running statistics; here a batch in training mode is normalised
    with its own, as with `mode="batch"`.

    Args:
      network: called as `network(example)`, or `network(example, state)` with a state, and may take
        a `key`.
      state: of `eqx.nn.make_with_state`, if the network has one.
      output: which entry of the outputs is the logits, see `Model`.

    Returns:
      `(model, params, batch_stats)`; parameters as `eqx.partition` gives them, running statistics
      `{layer: {"mean": …, "var": …}}`, as evaluation uses them.

    Raises:
      UsageError: BatchNorms with different axis names; at a call, no random key for dropout.
    """
    import equinox as eqx

    params, static = eqx.partition(network, eqx.is_inexact_array)

    def is_batch_norm(node: Any) -> bool:
        return isinstance(node, eqx.nn.BatchNorm)

    nodes = jax.tree_util.tree_flatten_with_path(network, is_leaf=is_batch_norm)[0]
    batch_norms = {trees.path_name(path): node for path, node in nodes if is_batch_norm(node)}
    axis_names = sorted({str(norm.axis_name) for norm in batch_norms.values()})
    if len(axis_names) > 1:
        raise UsageError(
            f"BatchNorms of the network have the axis names {', '.join(axis_names)}: give all of "
            "them one, e.g. axis_name='batch'"
        )
    axis_name = next((norm.axis_name for norm in batch_norms.values()), "batch")

    def places(norm: Any) -> tuple[Any, Any]:
        """Where a state has mean and variance, and how many steps old they are."""
        if norm.mode == "ema":
            return norm.ema_state_index, norm.ema_first_time_index
        return norm.batch_state_index, norm.batch_counter

    def read(state: Any) -> BatchStats:
        """Mean and variance as evaluation uses them."""
        found = {}
        for layer, norm in batch_norms.items():
            (mean, var), age = (state.get(place) for place in places(norm))
            if norm.mode == "ema":  # before the first step it has none
                mean, var = jnp.where(age, 0.0, mean), jnp.where(age, 1.0, var)
            else:  # averages that began at 0
                scale = jnp.where(age == 0, 1.0, 1 - norm.momentum**age)
                mean, var = mean / scale, var / scale
            found[layer] = {"mean": mean, "var": var}
        return found

    def write(batch_stats: BatchStats, *, first: bool) -> Any:
        """A state for evaluation; or one before the first step, which then has the batch's own."""
        new = jax.tree.map(lambda leaf: leaf, state)  # Equinox takes each state once
        for layer, norm in batch_norms.items():
            kept, age = places(norm)
            own = batch_stats[layer]
            pair = jax.tree.map(lambda x: x * (not first), (own["mean"], own["var"]))
            is_first = jnp.full_like(new.get(age), first and norm.mode == "ema")
            new = new.set(kept, pair).set(age, is_first)
        return new

    def run(
        params: Params,
        batch_stats: BatchStats,
        images: Inputs,
        train: bool,
        key: PRNGKey | None,
        batch_only: bool,
    ) -> tuple[Any, BatchStats]:
        module = eqx.nn.inference_mode(eqx.combine(params, static), not train)
        states = () if state is None else (write(batch_stats, first=train),)
        keys = None if key is None else jax.random.split(key, len(images))

        def one(image: Any, key: PRNGKey | None) -> Any:
            call = call_of(module, (image, *states), train, key=key)
            found = module(*call.args, **call.kwargs)
            return found if states else (found, None)

        in_axes = (0, None if keys is None else 0)
        each = jax.vmap(one, in_axes=in_axes, out_axes=(0, None), axis_name=axis_name)
        outputs, after = each(images, keys)
        if not (train and batch_norms):
            return outputs, batch_stats
        own = read(after)
        if batch_only:
            return outputs, own
        weights = {layer: norm.momentum for layer, norm in batch_norms.items()}
        mixed = {
            layer: jax.tree.map(
                lambda x, y, m=m: m * x + (1 - m) * y, batch_stats[layer], own[layer]
            )
            for layer, m in weights.items()
        }
        return outputs, mixed

    return Adapted(Adapter(run, output), params, {} if state is None else read(state))


EMA = re.compile(r"/~/(mean|var)_ema$")  # the states of hk.BatchNorm


def from_haiku(
    network: Any, params: Params, state: BatchStats = None, *, output: Output = None
) -> Adapted:
    """A function that `hk.transform` or `hk.transform_with_state` made pure.

    Args:
      network: what Haiku returned; the function may take a training flag beside the images.
      params: of its `init`.
      state: of its `init`, if it has one.
      output: which entry of the outputs is the logits, see `Model`.

    Returns:
      `(model, params, batch_stats)`; the last two as they were given.

    Raises:
      UsageError: at a call, no random key for dropout; at `moments`, states of other modules than
        `hk.BatchNorm`.
    """
    import haiku as hk

    pure = hk.with_empty_state(network) if isinstance(network, hk.Transformed) else network
    takes_key = "rng" in inspect.signature(pure.apply).parameters

    def run(
        params: Params,
        batch_stats: BatchStats,
        images: Inputs,
        train: bool,
        key: PRNGKey | None,
        batch_only: bool,
    ) -> tuple[Any, BatchStats]:
        if batch_only:
            if others := [name for name in batch_stats if not EMA.search(name)]:
                raise UsageError(f"{NO_MOMENTS.format('hk.BatchNorm')} ({', '.join(others)[:200]})")
            batch_stats = jax.tree.map(jnp.zeros_like, batch_stats)  # without bias from the start
        keys = (key,) if takes_key else ()
        call = call_of(pure.apply, (params, batch_stats, *keys, images), train)
        return pure.apply(*call.args, **call.kwargs)

    return Adapted(Adapter(run, output), params, {} if state is None else state)


@contextlib.contextmanager
def told_of_keys(key: PRNGKey | None) -> Iterator[None]:
    """A library's error on a missing random key, said as one of ours."""
    try:
        yield
    except (RuntimeError, TypeError, ValueError) as error:
        if key is not None or not re.search(r"requires a key|PRNG ?[kK]ey|no `rngs`", str(error)):
            raise
        raise UsageError(f"{NO_KEY} ({told(error)})") from error
