"""One network in linen, nnx, Equinox, Haiku and as a plain pytree: the same numbers from each.

The reference is a function of six arrays, with mean and variance beside them.
"""

import contextlib
import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bnjax import probes
from bnjax.arithmetic import trees
from bnjax.data import Batch
from bnjax.errors import UsageError
from bnjax.losses import on_batch
from bnjax.models import Model, adapters

INPUTS, HIDDEN, CLASSES, MOMENTUM, EPSILON = 6, 5, 3, 0.9, 1e-5
STEP_SIZES = jnp.array([0.1, 0.4], jnp.float32)
LAYERS = ("first", "norm", "second")


@contextlib.contextmanager
def users():
    """JAX's own rules of promotion and numbers of 32 bits, on which the other libraries rely."""
    ranks, dtypes = jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard")
    before = jax.config.read("jax_disable_most_optimizations")
    jax.config.update("jax_disable_most_optimizations", True)  # each program runs once
    try:
        with jax.enable_x64(False), ranks, dtypes:
            yield
    finally:
        jax.config.update("jax_disable_most_optimizations", before)


@pytest.fixture(autouse=True)
def as_users_have_it():
    with users():
        yield


def draw(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


WEIGHTS = {
    "first": {"kernel": draw(0, INPUTS, HIDDEN), "bias": draw(1, HIDDEN)},
    "norm": {"scale": 1 + 0.1 * draw(2, HIDDEN), "bias": draw(3, HIDDEN)},
    "second": {"kernel": draw(4, HIDDEN, CLASSES), "bias": draw(5, CLASSES)},
}


def arrays():
    return jax.tree.map(jnp.asarray, WEIGHTS)


ROWS, LABELS = 2 + draw(6, 16, INPUTS), np.arange(16) % CLASSES
CALIBRATION = 1 + draw(7, 4, 8, INPUTS)


def batch():
    return Batch(jnp.asarray(ROWS), jnp.asarray(LABELS, jnp.int32))


# The network by hand.


def hidden(weights, rows):
    return rows @ weights["first"]["kernel"] + weights["first"]["bias"]


def logits(weights, rows, mean, var):
    standardised = (hidden(weights, rows) - mean) / jnp.sqrt(var + EPSILON)
    activations = jax.nn.relu(weights["norm"]["scale"] * standardised + weights["norm"]["bias"])
    return activations @ weights["second"]["kernel"] + weights["second"]["bias"]


def moments(weights, rows):
    found = hidden(weights, rows)
    return found.mean(axis=0), found.var(axis=0)  # the biased one


def cost(found):
    return optax.losses.softmax_cross_entropy_with_integer_labels(found, batch().labels).mean()


def reference(weights):
    return cost(logits(weights, ROWS, *moments(weights, ROWS)))


class Plain:
    """A model of one's own that has all that a loss on a batch asks for."""

    def apply(self, params, batch_stats, images, *, train, key=None):
        own = moments(params, images) if train else (batch_stats["mean"], batch_stats["var"])
        return logits(params, images, *own), batch_stats

    def moments(self, params, batch_stats, images, *, key=None):
        return dict(zip(("mean", "var"), moments(params, images), strict=True))


class Made(NamedTuple):
    """The network of a framework, and how its running statistics are read."""

    model: Any
    params: Any
    batch_stats: Any
    read: Any  # batch_stats to (mean, var)
    unbiased_start: bool = False  # whether running statistics forget that they began anywhere


def plain():
    start = {"mean": jnp.zeros(HIDDEN), "var": jnp.ones(HIDDEN)}
    return Made(Plain(), arrays(), start, lambda stats: (stats["mean"], stats["var"]))


def linen():
    import flax.linen as nn

    class Network(nn.Module):
        @nn.compact
        def __call__(self, x, train):
            x = nn.Dense(HIDDEN, name="first")(x)
            x = nn.BatchNorm(not train, momentum=MOMENTUM, name="norm")(x)
            return nn.Dense(CLASSES, name="second")(nn.relu(x))

    model = Model(Network())
    variables = model.init(jax.random.key(0), batch().images)
    read = lambda stats: (stats["norm"]["mean"], stats["norm"]["var"])  # noqa: E731
    return Made(model, arrays(), variables["batch_stats"], read)


def nnx_module():
    from flax import nnx

    class Network(nnx.Module):
        def __init__(self, rngs):
            self.first = nnx.Linear(INPUTS, HIDDEN, rngs=rngs)
            self.norm = nnx.BatchNorm(HIDDEN, momentum=MOMENTUM, rngs=rngs)
            self.second = nnx.Linear(HIDDEN, CLASSES, rngs=rngs)

        def __call__(self, x):
            return self.second(nnx.relu(self.norm(self.first(x))))

    network = Network(nnx.Rngs(0))
    for layer, leaves in WEIGHTS.items():
        for name, leaf in leaves.items():
            setattr(getattr(network, layer), name, nnx.Param(jnp.asarray(leaf)))
    read = lambda stats: (stats["norm"]["mean"][...], stats["norm"]["var"][...])  # noqa: E731
    return Made(*adapters.from_nnx(network), read)


def equinox(mode):
    eqx = pytest.importorskip("equinox")

    class Network(eqx.Module):
        first: eqx.nn.Linear
        norm: eqx.nn.BatchNorm
        second: eqx.nn.Linear

        def __init__(self):
            keys = jax.random.split(jax.random.key(0))
            self.first = eqx.nn.Linear(INPUTS, HIDDEN, key=keys[0])
            self.norm = eqx.nn.BatchNorm(HIDDEN, "rows", momentum=MOMENTUM, mode=mode)
            self.second = eqx.nn.Linear(HIDDEN, CLASSES, key=keys[1])

        def __call__(self, x, state):
            x, state = self.norm(self.first(x), state)
            return self.second(jax.nn.relu(x)), state

    network, state = eqx.nn.make_with_state(Network)()
    where = lambda it: tuple(  # noqa: E731
        leaf for layer in (it.first, it.norm, it.second) for leaf in (layer.weight, layer.bias)
    )
    values = tuple(jnp.asarray(leaf.T) for layer in WEIGHTS.values() for leaf in layer.values())
    network = eqx.tree_at(where, network, values)
    read = lambda stats: (stats["norm"]["mean"], stats["norm"]["var"])  # noqa: E731
    return Made(*adapters.from_equinox(network, state), read)


def haiku():
    hk = pytest.importorskip("haiku")

    def network(x, is_training):
        x = hk.Linear(HIDDEN, name="first")(x)
        x = hk.BatchNorm(True, True, MOMENTUM, EPSILON, name="norm")(x, is_training)
        return hk.Linear(CLASSES, name="second")(jax.nn.relu(x))

    transformed = hk.transform_with_state(network)
    _, state = transformed.init(jax.random.key(0), ROWS, True)
    names = {"kernel": "w", "bias": "b", "scale": "scale"}
    params = {
        layer: {names[name]: jnp.asarray(leaf) for name, leaf in leaves.items()}
        for layer, leaves in WEIGHTS.items()
    }
    norm = WEIGHTS["norm"]
    params["norm"] = {
        "scale": jnp.asarray(norm["scale"][None]),
        "offset": jnp.asarray(norm["bias"][None]),
    }
    read = lambda stats: tuple(  # noqa: E731
        stats[f"norm/~/{which}_ema"]["average"][0] for which in ("mean", "var")
    )
    return Made(*adapters.from_haiku(transformed, params, state), read, unbiased_start=True)


FRAMEWORKS = {
    "linen": linen,
    "nnx": nnx_module,
    "equinox, batch": functools.partial(equinox, "batch"),
    "equinox, ema": functools.partial(equinox, "ema"),
    "haiku": haiku,
    "plain": plain,
}


@pytest.fixture(scope="module", params=list(FRAMEWORKS))
def made(request):
    with users():
        return FRAMEWORKS[request.param]()


def same(found, expected, **tolerances):
    np.testing.assert_allclose(found, expected, **({"rtol": 2e-5, "atol": 1e-6} | tolerances))


def expected_loss(mean, var):
    return cost(logits(WEIGHTS, ROWS, mean, var))


def test_on_batch_has_the_statistics_that_are_asked_for(made):
    model, params, batch_stats, read, _ = made
    # Statistics of a later point than the start.
    _, batch_stats = model.apply(params, batch_stats, batch().images, train=True)

    def loss(statistics, **options):
        made_loss = on_batch(model, batch_stats, batch(), statistics, centre=params, **options)
        return jax.jit(made_loss)(params)

    same(loss("batch"), reference(WEIGHTS))
    same(loss("running"), expected_loss(*read(batch_stats)))
    same(loss("frozen"), reference(WEIGHTS))
    means, variances = zip(*(moments(WEIGHTS, rows) for rows in CALIBRATION), strict=True)
    pooled = np.mean(means, axis=0), np.mean(variances, axis=0) + np.var(means, axis=0)
    same(loss("recalibrated", calibration=jnp.asarray(CALIBRATION)), expected_loss(*pooled))


def test_moments_are_those_of_the_batch_and_running_statistics_follow_them(made):
    model, params, batch_stats, read, unbiased_start = made
    old = read(batch_stats)
    own = moments(WEIGHTS, ROWS)
    for found, expected in zip(
        read(model.moments(params, batch_stats, batch().images)), own, strict=True
    ):
        same(found, expected, rtol=1e-6)
    _, advanced = model.apply(params, batch_stats, batch().images, train=True)
    for found, before, new in zip(read(advanced), old, own, strict=True):
        kept = 0 if unbiased_start else MOMENTUM
        expected = before if isinstance(model, Plain) else kept * before + (1 - kept) * new
        same(found, expected)
    _, still = model.apply(params, batch_stats, batch().images, train=False)
    assert still is batch_stats


def test_a_frozen_loss_has_the_statistics_of_its_centre_everywhere(made):
    model, params, batch_stats, _, _ = made
    moved = jax.tree.map(lambda leaf: 1.5 * leaf, params)
    frozen = on_batch(model, batch_stats, batch(), "frozen", centre=params)
    weights = jax.tree.map(lambda leaf: 1.5 * leaf, WEIGHTS)
    same(frozen(moved), cost(logits(weights, ROWS, *moments(WEIGHTS, ROWS))))


def after_a_step(loss, params):
    return jax.tree.map(lambda leaf, slope: leaf - 0.5 * slope, params, jax.grad(loss)(params))


def measure_line(loss, params):
    found = jax.jit(lambda point: probes.line(loss, point, STEP_SIZES, limits=False))(params)
    return found.losses, found.gradient_distances, found.cosines, found.smoothness


def measure_probe(loss, params):
    probe = probes.Probe(lambda point, _: loss(point), STEP_SIZES)
    found = probe(params, jnp.zeros(()), limits=False)
    return found.losses, found.gradient_distances, found.cosines, found.smoothness


def measure_shift(loss, params):
    found = jax.jit(lambda here, there: probes.shift(loss, here, there))(
        params, after_a_step(loss, params)
    )
    assert tuple(name.split("/")[-1] for name in found.layers) == LAYERS
    return found.distances, found.cosines


def measure_spectrum(loss, params):
    found = jax.jit(lambda point: probes.spectrum(loss, point, jax.random.key(0), top=3))(params)
    return found.loss, found.gradient_norm, found.largest


def measure_plane(loss, params):
    directions = params, jax.grad(loss)(params)
    axis = jnp.array([-0.5, 0.0, 0.5], jnp.float32)
    plane = jax.jit(lambda point, both: probes.values_on_plane(loss, point, both, axis, axis))
    return (plane(params, directions),)


def measure_layers(loss, params):
    assert probes.layer_order(loss, params) == LAYERS
    kinds = sorted(one.kind for one in probes.describe(params).values())
    assert kinds == ["bias", "bias", "kernel", "kernel", "scale", "shift"]
    return ()


MEASURES = {
    "line": measure_line,
    "Probe": measure_probe,
    "shift": measure_shift,
    "spectrum": measure_spectrum,
    "plane": measure_plane,
    "layers": measure_layers,
}


@functools.cache
def measured_by_hand(name):
    return MEASURES[name](reference, arrays())


@pytest.mark.parametrize("name", list(MEASURES))
def test_a_probe_gives_the_numbers_of_the_network_by_hand(made, name):
    model, params, batch_stats, _, _ = made
    found = MEASURES[name](on_batch(model, batch_stats, batch()), params)
    for one, other in zip(found, measured_by_hand(name), strict=True):
        same(one, other, rtol=2e-3 if name == "spectrum" else 2e-4, atol=2e-5)


def dropout_in_linen():
    import flax.linen as nn

    class Network(nn.Module):
        @nn.compact
        def __call__(self, x, deterministic):
            return nn.Dense(CLASSES)(nn.Dropout(0.5, deterministic=deterministic)(x))

    model = Model(Network())
    return model, model.init(jax.random.key(0), batch().images)["params"]


def dropout_in_nnx():
    from flax import nnx

    linear = nnx.Linear(INPUTS, CLASSES, rngs=nnx.Rngs(0))
    return adapters.from_nnx(nnx.Sequential(nnx.Dropout(0.5), linear))[:2]


def dropout_in_equinox():
    eqx = pytest.importorskip("equinox")
    linear = eqx.nn.Linear(INPUTS, CLASSES, key=jax.random.key(0))
    return adapters.from_equinox(eqx.nn.Sequential([eqx.nn.Dropout(0.5), linear]))[:2]


def dropout_in_haiku():
    hk = pytest.importorskip("haiku")

    def network(x, training):
        x = hk.dropout(hk.next_rng_key(), 0.5, x) if training else x
        return hk.Linear(CLASSES)(x)

    transformed = hk.transform(network)
    params = transformed.init(jax.random.key(0), ROWS, False)
    return adapters.from_haiku(transformed, params)[:2]


@pytest.mark.parametrize("make", [dropout_in_linen, dropout_in_equinox, dropout_in_haiku])
def test_dropout_draws_from_the_key_of_the_batch_and_a_missing_one_is_told(make):
    model, params = make()
    with pytest.raises(UsageError, match=r"draws random numbers.*Batch\(images, labels, key="):
        on_batch(model, {}, batch())(params)
    one, again, other = (
        on_batch(model, {}, batch()._replace(key=jax.random.key(seed)))(params)
        for seed in (0, 0, 1)
    )
    assert one == again != other
    keyed = on_batch(model, {}, batch()._replace(key=jax.random.key(0)), "running")(params)
    assert keyed == on_batch(model, {}, batch(), "running")(params) != one


def test_dropout_of_nnx_needs_streams_of_its_own():
    model, params = dropout_in_nnx()
    with pytest.raises(UsageError, match=r"draws random numbers"):
        on_batch(model, {}, batch())(params)


def test_dropout_of_nnx_draws_from_the_key_of_the_batch():
    from flax import nnx

    linear = nnx.Linear(INPUTS, CLASSES, rngs=nnx.Rngs(0))
    network = nnx.Sequential(nnx.Dropout(0.5, rngs=nnx.Rngs(1)), linear)
    model, params, batch_stats = adapters.from_nnx(network)
    keys = jax.random.key(0), jax.random.key(0), jax.random.key(1)
    found = [on_batch(model, batch_stats, batch()._replace(key=key))(params) for key in keys]
    assert found[0] == found[1] != found[2]
    with pytest.raises(UsageError, match=r"draws random numbers.*Batch\(images, labels, key="):
        on_batch(model, batch_stats, batch())(params)
    found = [
        on_batch(model, batch_stats, batch()._replace(key=key), "running")(params)
        for key in (None, jax.random.key(0))
    ]
    assert found[0] == found[1]
    assert trees.named_leaves(batch_stats) == {}
