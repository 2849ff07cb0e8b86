"""Linen modules of others' making: flags, outputs, tokens, soft labels, nested layers."""

import inspect

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bnjax import losses
from bnjax.data import Batch
from bnjax.errors import UsageError
from bnjax.losses import on_batch
from bnjax.models import Model, layer_names
from bnjax.models.interception import at_outputs


@pytest.fixture(autouse=True)
def as_users_have_it():
    """JAX's own rules of promotion, and 32 bits."""
    ranks, dtypes = jax.numpy_rank_promotion("allow"), jax.numpy_dtype_promotion("standard")
    with jax.enable_x64(False), ranks, dtypes:
        yield


IMAGES = np.random.default_rng(0).normal(1, 2, (8, 4, 4, 3)).astype(np.float32)
LABELS = np.arange(8) % 5


def batch(images=IMAGES, labels=LABELS, **more):
    labels = jnp.asarray(labels, jnp.int32) if np.asarray(labels).dtype.kind == "i" else labels
    return Batch(jnp.asarray(images), jnp.asarray(labels), **more)


class Normalised(nn.Module):
    """Mean over pixels of a BatchNorm whose flag each network below finds in its own way."""

    @nn.compact
    def __call__(self, x, running):
        x = nn.BatchNorm(use_running_average=running, momentum=0.9, name="norm")(x)
        return nn.Dense(5, name="output")(x.mean(axis=(1, 2)))


class Train(nn.Module):
    @nn.compact
    def __call__(self, x, train: bool = True):
        return Normalised()(x, not train)


class Training(nn.Module):
    @nn.compact
    def __call__(self, x, mask=None, *, training):
        return Normalised()(x, not training)


class IsTraining(nn.Module):
    @nn.compact
    def __call__(self, x, is_training):
        return Normalised()(x, not is_training)


class Deterministic(nn.Module):
    @nn.compact
    def __call__(self, x, deterministic=False):
        return Normalised()(x, deterministic)


class UseRunningAverage(nn.Module):
    @nn.compact
    def __call__(self, x, *, use_running_average: bool):
        return Normalised()(x, use_running_average)


class Both(nn.Module):
    @nn.compact
    def __call__(self, x, train, deterministic):
        assert train != deterministic
        return Normalised()(x, deterministic)


class Rematerialised(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        return nn.remat(IsTraining, static_argnums=(2,))()(x, train)


FLAGGED = [Train, Training, IsTraining, Deterministic, UseRunningAverage, Both, Rematerialised]


def by_hand(params, mean, var):
    norm, output = (find(params, name) for name in ("norm", "output"))
    x = (IMAGES - mean) / np.sqrt(var + 1e-5) * norm["scale"] + norm["bias"]
    logits = x.mean(axis=(1, 2)) @ output["kernel"] + output["bias"]
    costs = optax.losses.softmax_cross_entropy_with_integer_labels(logits, jnp.asarray(LABELS))
    return costs.mean()


def find(tree, name):
    """The entry of that name, wherever it stands."""
    if name in tree:
        return tree[name]
    return next(found for inner in tree.values() if (found := find(inner, name)) is not None)


@pytest.mark.parametrize("module", [*FLAGGED, nn.remat(IsTraining, static_argnums=(2,))])
def test_the_training_flag_is_found_whatever_its_name(module):
    model = Model(module())
    params, batch_stats = model.init(jax.random.key(0), batch().images).values()
    for _ in range(20):
        _, batch_stats = model.apply(params, batch_stats, batch().images, train=True)
    own = IMAGES.mean(axis=(0, 1, 2)), IMAGES.var(axis=(0, 1, 2))
    running = (np.array(find(batch_stats, "norm")[name]) for name in ("mean", "var"))
    weight = 0.9**20  # of the start, mean 0 and variance 1
    running = [weight * x + (1 - weight) * y for x, y in zip((0, 1), own, strict=True)]
    found = {
        statistics: on_batch(model, batch_stats, batch(), statistics, centre=params)(params)
        for statistics in ("batch", "frozen", "running")
    }
    np.testing.assert_allclose(found["batch"], by_hand(params, *own), rtol=1e-6)
    np.testing.assert_allclose(found["frozen"], found["batch"], rtol=1e-6)
    np.testing.assert_allclose(found["running"], by_hand(params, *running), rtol=1e-5)
    for name, expected in zip(("mean", "var"), own, strict=True):
        moments = find(model.moments(params, batch_stats, batch().images), "norm")
        np.testing.assert_allclose(moments[name], expected, rtol=1e-6)


class IsEvaluation(nn.Module):
    @nn.compact
    def __call__(self, x, is_evaluation):
        return Normalised()(x, is_evaluation)


class AlwaysBatch(nn.Module):
    @nn.compact
    def __call__(self, x):
        return Normalised()(x, False)


class AlwaysRunning(nn.Module):
    @nn.compact
    def __call__(self, x):
        return Normalised()(x, True)


class Forgotten(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(5)(nn.BatchNorm()(x).mean(axis=(1, 2)))


def test_a_flag_that_cannot_be_told_is_refused_with_the_remedy():
    with pytest.raises(UsageError, match=r"missing a required.*is_evaluation.*wrap the model"):
        Model(IsEvaluation()).init(jax.random.key(0), batch().images)
    with pytest.raises(UsageError, match=r"use_running_average.*give its __call__ an argument"):
        Model(Forgotten()).init(jax.random.key(0), batch().images)


def test_a_module_without_flag_is_taken_where_it_does_what_is_asked_for():
    models = [Model(AlwaysBatch()), Model(AlwaysRunning())]
    always_batch, always_running = models
    params, batch_stats = always_batch.init(jax.random.key(0), batch().images).values()
    own = IMAGES.mean(axis=(0, 1, 2)), IMAGES.var(axis=(0, 1, 2))
    loss = on_batch(always_batch, batch_stats, batch())
    np.testing.assert_allclose(loss(params), by_hand(params, *own), rtol=1e-6)
    with pytest.raises(UsageError, match="takes the statistics of every batch"):
        on_batch(always_batch, batch_stats, batch(), "running")(params)
    loss = on_batch(
        always_running, batch_stats, batch()._replace(labels=jnp.asarray(LABELS)), "running"
    )
    np.testing.assert_allclose(loss(params), by_hand(params, 0, 1), rtol=1e-6)
    with pytest.raises(UsageError, match="normalises with running statistics always"):
        always_running.apply(params, batch_stats, batch().images, train=True)


def test_a_sequence_of_layers_is_a_model():
    module = nn.Sequential([lambda x: x.reshape(len(x), -1), nn.Dense(4), nn.relu, nn.Dense(5)])
    model = Model(module)
    params = model.init(jax.random.key(0), batch().images)["params"]
    loss = on_batch(model, {}, batch()._replace(labels=jnp.asarray(LABELS)))
    costs = optax.losses.softmax_cross_entropy_with_integer_labels
    expected = costs(module.apply({"params": params}, IMAGES), jnp.asarray(LABELS)).mean()
    np.testing.assert_allclose(loss(params), expected, rtol=1e-6)


class Returning(nn.Module):
    """Logits in a container."""

    wrap: object

    @nn.compact
    def __call__(self, x):
        features = x.reshape(len(x), -1)
        return self.wrap(nn.Dense(5, name="head")(features), features)


OUTPUTS = {
    "an array": (lambda y, x: y, None),
    "an entry named logits": (lambda y, x: {"logits": y, "features": x}, None),
    "one that fits": (lambda y, x: (y, {"norm": x.sum(), "shape": jnp.arange(3)}), None),
    "a key": (lambda y, x: {"features": x, "head": y}, "head"),
    "an index": (lambda y, x: (x, y), 1),
    "a path": (lambda y, x: {"heads": [x, y]}, "heads/1"),
}


@pytest.mark.parametrize("name", list(OUTPUTS))
def test_logits_are_found_among_the_outputs_or_named(name):
    wrap, output = OUTPUTS[name]
    bare, model = Model(Returning(OUTPUTS["an array"][0])), Model(Returning(wrap), output=output)
    params = bare.init(jax.random.key(0), batch().images)["params"]
    loss = on_batch(model, {}, batch())
    np.testing.assert_allclose(loss(params), on_batch(bare, {}, batch())(params), rtol=1e-7)


@pytest.mark.parametrize(
    ("wrap", "output", "message"),
    [
        (lambda y, x: (x, y), None, r"returns 0 \(8, 48\), 1 \(8, 5\): say which .*output='0'"),
        (lambda y, x: (x, y), 2, r"none of them is output=2"),
        (lambda y, x: {"loss": y.sum()}, None, r"returns loss \(\)"),
    ],
)
def test_logits_that_cannot_be_told_are_refused_with_the_remedy(wrap, output, message):
    model = Model(Returning(wrap), output=output)
    params = model.init(jax.random.key(0), batch().images)["params"]
    with pytest.raises(UsageError, match=message):
        model.apply(params, {}, batch().images, train=False)


class Streaming(nn.Module):
    @nn.compact
    def __call__(self, x, train):
        x = nn.Dropout(0.5, rng_collection="gauss", deterministic=not train)(x)
        return nn.Dense(5)(x.mean(axis=(1, 2)))


def test_a_random_stream_that_nobody_fills_is_told():
    model = Model(Streaming())
    with pytest.raises(UsageError, match=r'PRNG for "gauss".*streams dropout and noise'):
        on_batch(model, {}, batch(key=jax.random.key(1)))


# Tokens and soft labels.

TOKENS = np.random.default_rng(1).integers(0, 7, (4, 6))
NEXT = np.roll(TOKENS, -1, axis=1)


class Language(nn.Module):
    """One block of a transformer, with attention."""

    @nn.compact
    def __call__(self, tokens, train: bool):
        x = nn.Embed(7, 8, name="embed")(tokens)
        mask = nn.make_causal_mask(tokens)
        x = x + nn.MultiHeadDotProductAttention(2, name="attention")(nn.LayerNorm()(x), mask=mask)
        return nn.Dense(7, name="output")(nn.Dropout(0.1, deterministic=not train)(x))


def test_tokens_have_the_mean_cost_of_all_positions():
    model, tokens = Model(Language()), jnp.asarray(TOKENS)
    params = model.init(jax.random.key(0), tokens)["params"]
    language = Batch(tokens, jnp.asarray(NEXT), jax.random.key(1))
    logits, _ = model.apply(params, {}, tokens, train=False)
    assert logits.shape == (4, 6, 7)
    costs = optax.losses.softmax_cross_entropy_with_integer_labels(logits, language.labels)
    loss = on_batch(model, {}, language, "running")
    np.testing.assert_allclose(loss(params), costs.mean(), rtol=1e-6)
    assert jnp.isfinite(
        jax.jit(jax.grad(on_batch(model, {}, language)))(params)["embed"]["embedding"]
    ).all()
    hits = (np.asarray(logits).argmax(-1) == NEXT).mean()
    np.testing.assert_allclose(losses.accuracy(logits, language.labels), hits, rtol=1e-6)
    with pytest.raises(UsageError, match="labels are from 0 to 9: of 7 classes"):
        on_batch(model, {}, language._replace(labels=language.labels.at[0, 0].set(9)))
    names = layer_names(model, (6,), jnp.int32)
    assert names == (
        "embed",
        *(f"attention/{n}" for n in ("query", "key", "value", "out")),
        "output",
    )


def test_a_network_computes_tokens_in_bfloat16():
    tokens = jnp.asarray(TOKENS)
    model = Model(Language(), compute_dtype="bfloat16")
    params = model.init(jax.random.key(0), tokens)["params"]
    logits, _ = model.apply(params, {}, tokens, train=False)
    exact, _ = Model(Language()).apply(params, {}, tokens, train=False)
    assert logits.dtype == jnp.float32
    np.testing.assert_allclose(logits, exact, atol=0.1)


def test_soft_labels_are_shares_of_classes():
    logits = jnp.asarray(np.random.default_rng(2).normal(size=(8, 5)), jnp.float32)
    hard = jax.nn.one_hot(LABELS, 5)
    soft = optax.smooth_labels(hard, 0.1)
    expected = optax.losses.softmax_cross_entropy(logits, soft).mean()
    np.testing.assert_allclose(losses.cross_entropy(logits, soft), expected, rtol=1e-6)
    integers = losses.cross_entropy(logits, jnp.asarray(LABELS))
    np.testing.assert_allclose(losses.cross_entropy(logits, hard), integers, rtol=1e-6)
    narrow = losses.cross_entropy(logits, soft.astype(jnp.bfloat16))
    np.testing.assert_allclose(narrow, expected, rtol=1e-2)
    for wrong in (0.5 * soft, hard.at[0, :2].add(jnp.array([-1.5, 1.5]))):
        with pytest.raises(UsageError, match="shares of classes that are 0 or more and sum to 1"):
            losses.cross_entropy(logits, wrong)
        assert jnp.isnan(jax.jit(losses.cross_entropy.each)(logits, wrong)).any()


@pytest.mark.parametrize("images", [IMAGES.astype(np.uint8), TOKENS > 3])
def test_whole_numbers_are_tokens_and_no_pixels(images):
    model = Model(AlwaysBatch())
    given = batch(images, np.zeros(len(images), np.int32))
    with pytest.raises(UsageError, match=r"floating-point images, or tokens as whole numbers"):
        inspect.unwrap(on_batch)(model, {}, given)


# Nested layers.


class Block(nn.Module):
    features: int

    @nn.compact
    def __call__(self, x, train):
        y = nn.relu(nn.Conv(self.features, (3, 3), name="conv2")(x))  # used before conv1
        y = nn.BatchNorm(not train, name="norm1")(nn.Conv(self.features, (1, 1), name="conv1")(y))
        return nn.relu(x + y)


class Nested(nn.Module):
    """Blocks, one of which is used twice, and an order of use that is not that of names."""

    def setup(self):
        self.stem = nn.Conv(4, (3, 3))
        self.late, self.early = Block(4), Block(4)
        self.output = nn.Dense(5)

    def __call__(self, x, train):
        x = self.early(self.stem(x), train)
        x = self.late(self.early(x, train), train)
        return self.output(x.mean(axis=(1, 2)))


ORDER = ("stem", "early/conv2", "early/conv1", "late/conv2", "late/conv1", "output")


@pytest.fixture(scope="module")
def nested():
    with jax.enable_x64(False), jax.numpy_dtype_promotion("standard"):
        model = Model(Nested())
        return model, model.init(jax.random.key(0), batch().images)


def test_nested_layers_have_unique_names_in_the_order_of_use(nested):
    model, variables = nested
    assert layer_names(model, (4, 4, 3)) == ORDER
    found = model.preactivations(**variables, images=batch().images)
    assert tuple(found) == ORDER
    stem = variables["params"]["stem"]
    expected = nn.Conv(4, (3, 3)).apply({"params": stem}, IMAGES)
    np.testing.assert_allclose(found["stem"], expected, rtol=1e-6)
    first = nn.Conv(4, (3, 3)).apply({"params": variables["params"]["early"]["conv2"]}, expected)
    np.testing.assert_allclose(found["early/conv2"], first, rtol=1e-5, atol=1e-6)


def test_a_nested_layer_is_intercepted_at_its_first_use(nested):
    model, variables = nested
    logits, _ = model.apply(**variables, images=batch().images, train=True)
    seen = model.preactivations(**variables, images=batch().images)
    found = at_outputs(model, ORDER, **variables, images=batch().images)
    for name, one in found.items():
        np.testing.assert_allclose(one.activations, seen[name], rtol=1e-6)
        np.testing.assert_allclose(one.head(one.activations), logits, rtol=1e-5, atol=1e-6)
        if name != "output":
            assert jnp.abs(one.head(jnp.square(one.activations)) - logits).max() > 1e-4


class Scanned(nn.Module):
    """Two blocks as a scan of someone else, who knows no collection but its own."""

    @nn.compact
    def __call__(self, x, train):
        axes = {"params": 0, "batch_stats": 0}
        scan = nn.scan(
            lambda block, x, _: (block(x, train), None),
            variable_axes=axes,
            split_rngs={"params": True},
            length=2,
        )
        x, _ = scan(Block(3), x, None)
        return nn.Dense(5)(x.mean(axis=(1, 2)))


def test_statistics_of_a_batch_are_exact_within_a_scan():
    model = Model(Scanned())
    params, batch_stats = model.init(jax.random.key(0), batch().images).values()
    frozen = on_batch(model, batch_stats, batch(), "frozen", centre=params)(params)
    np.testing.assert_allclose(frozen, on_batch(model, batch_stats, batch())(params), rtol=1e-6)
