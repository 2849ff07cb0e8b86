"""Every normaliser against its formula written out in numpy, and what the registry refuses."""

import functools

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import cast

from bnjax import models
from bnjax.errors import UsageError
from bnjax.models import norms
from bnjax.models.norms.sample import SampleNorm

EPSILON = 1e-5
SHAPE = (6, 5, 4, 8)  # batch, height, width, channels


def draw(seed, shape=SHAPE):
    return np.random.default_rng(seed).normal(size=shape) * 3 + 1


def call(norm, x, train=True, **params):
    """A normaliser's output with some parameters set, and its statistics afterwards."""
    module = norm.build(name=None)
    variables = cast(module.init(jax.random.key(0), jnp.asarray(x), train=False))
    variables["params"] |= {name: jnp.asarray(value) for name, value in params.items()}
    y, updated = module.apply(variables, jnp.asarray(x), train=train, mutable=["batch_stats"])
    return np.asarray(y), updated.get("batch_stats", {})


def standardised(x, axes):
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + EPSILON)


@pytest.mark.parametrize(
    ("norm", "expected"),
    [
        (norms.layer_norm(), lambda x: standardised(x, (1, 2, 3))),
        (norms.instance_norm(), lambda x: standardised(x, (1, 2))),
        (
            norms.group_norm(2),
            lambda x: np.concatenate(
                [standardised(x[..., :4], (1, 2, 3)), standardised(x[..., 4:], (1, 2, 3))], axis=-1
            ),
        ),
        (norms.batch_norm(), lambda x: standardised(x, (0, 1, 2))),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_centred_normalisers_are_their_formulas(norm, expected):
    x, scale, bias = draw(1), draw(2, (8,)), draw(3, (8,))
    y, _ = call(norm, x, scale=scale, bias=bias)
    np.testing.assert_allclose(y, expected(x) * scale + bias, rtol=1e-10, atol=1e-12)


def test_rms_norm_divides_by_the_root_mean_square_and_shifts_nothing():
    x, scale = draw(1), draw(2, (8,))
    y, _ = call(norms.rms_norm(), x, scale=scale)
    size = np.sqrt((x**2).mean((1, 2, 3), keepdims=True) + EPSILON)
    np.testing.assert_allclose(y, x / size * scale, rtol=1e-10)


def test_unitization_is_batch_norm_at_share_0_and_gives_samples_unit_size_at_share_1():
    x, scale, bias = draw(1), draw(2, (8,)), draw(3, (8,))
    plain, _ = call(norms.unitize(), x, scale=scale, bias=bias)
    np.testing.assert_allclose(plain, standardised(x, (0, 1, 2)) * scale + bias, rtol=1e-10)
    share = np.linspace(0, 1, 8)
    y, _ = call(norms.unitize(), x, scale=scale, bias=bias, share=share)
    own = standardised(x, (0, 1, 2))
    size = np.sqrt((own**2).mean((1, 2, 3), keepdims=True) + EPSILON)
    np.testing.assert_allclose(
        y, scale * own * (share / size + 1 - share) + bias, rtol=1e-10, atol=1e-12
    )
    whole, _ = call(norms.unitize(), x, share=np.ones(8))
    np.testing.assert_allclose((whole**2).mean((1, 2, 3)), 1, rtol=1e-4)


def test_unitization_tests_with_running_statistics():
    x = draw(1)
    _, after = call(norms.unitize(momentum=0.0), x)
    np.testing.assert_allclose(after["mean"], x.mean((0, 1, 2)), rtol=1e-10)
    y, _ = call(norms.unitize(), x, train=False)
    np.testing.assert_allclose(y, x / np.sqrt(1 + EPSILON), rtol=1e-10)  # mean 0, variance 1


@pytest.mark.parametrize("name", ["layer", "group", "instance", "rms"])
def test_normalisers_of_samples_do_not_see_the_batch(name):
    x = draw(1)
    together, stats = call(norms.by_name(name), x)
    alone, _ = call(norms.by_name(name), x[2:3], train=False)
    np.testing.assert_allclose(together[2:3], alone, rtol=1e-12)
    assert stats == {}
    assert not norms.by_name(name).batch_statistics


def test_parts_of_batch_norm_can_be_left_out():
    x, bias = draw(1), draw(3, (8,))
    y, _ = call(norms.batch_norm(use_scale=False), x, bias=bias)
    np.testing.assert_allclose(y, standardised(x, (0, 1, 2)) + bias, rtol=1e-9, atol=1e-12)
    module = norms.batch_norm(use_scale=False, use_bias=False).build(name=None)
    assert "params" not in module.init(jax.random.key(0), jnp.asarray(x), train=True)
    start = jax.nn.initializers.constant(0.25)
    module = norms.batch_norm(scale_init=start).build(name=None)
    variables = module.init(jax.random.key(0), jnp.asarray(x), train=True)
    assert set(variables["params"]["scale"].tolist()) == {0.25}


def kernel_of(norm, kernel, **params):
    module = norm.reparametrise(name=None)
    variables = module.init(jax.random.key(0), jnp.asarray(kernel))
    variables["params"] |= {name: jnp.asarray(value) for name, value in params.items()}
    return np.asarray(module.apply(variables, jnp.asarray(kernel)))


def test_weight_standardisation_is_its_formula():
    kernel, scale = draw(4, (3, 3, 5, 7)), draw(5, (7,))
    flat = kernel.reshape(45, 7)
    expected = (flat - flat.mean(0)) / np.sqrt(45 * flat.var(0)) * scale
    found = kernel_of(norms.weight_standard(), kernel, scale=scale)
    np.testing.assert_allclose(found.reshape(45, 7), expected, rtol=1e-10)


def test_weight_norm_begins_as_the_plain_kernel_and_has_the_length_that_is_trained():
    kernel, scale = draw(4, (3, 3, 5, 7)), np.abs(draw(5, (7,)))
    np.testing.assert_allclose(kernel_of(norms.weight_norm(), kernel), kernel, rtol=1e-12)
    found = kernel_of(norms.weight_norm(), kernel, scale=scale).reshape(45, 7)
    np.testing.assert_allclose(np.linalg.norm(found, axis=0), scale, rtol=1e-12)
    cosine = (found * kernel.reshape(45, 7)).sum(0)
    np.testing.assert_allclose(cosine, scale * np.linalg.norm(kernel.reshape(45, 7), axis=0))


@pytest.mark.full  # many compiles
@pytest.mark.parametrize("name", ["weight_standard", "weight_norm", "unitize", "group"])
def test_gradients_of_a_kernel_that_is_all_zero_are_finite(name):
    model = models.lenet(norm=norms.by_name(name), width=0.5, initializer="zeros")
    images = jax.random.normal(jax.random.key(0), (4, 8, 8, 3))
    variables = model.init(jax.random.key(1), images)

    def loss(params):
        logits, _ = model.apply(params, variables["batch_stats"], images, train=True)
        return jnp.sum(logits**2) + jnp.sum(logits)

    chex.assert_tree_all_finite(jax.grad(loss)(variables["params"]))


def test_exceptions_hold_for_their_layers_only():
    norm = norms.with_exceptions(norms.batch_norm(), {"conv2": norms.none()})
    model = models.lenet(norm=norm, width=0.5)
    params = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((2, 8, 8, 3)))["params"]
    assert [name for name in params if "norm" in params[name]] == ["conv1", "dense1", "dense2"]


def test_kernel_normalisers_stand_beside_the_kernel_they_change():
    model = models.lenet(norm=norms.weight_norm(), width=0.5)
    params = jax.eval_shape(model.init, jax.random.key(0), jnp.zeros((2, 8, 8, 3)))["params"]
    assert sorted(params["conv1"]) == ["bias", "kernel", "kernel_norm"]


def test_impossible_normalisers_are_refused():
    with pytest.raises(UsageError, match="norm 'bach' is not known: choose from none, batch"):
        norms.by_name("bach")
    with pytest.raises(UsageError, match="groups=0 must be 1 or more"):
        norms.group_norm(0)
    with pytest.raises(UsageError, match=r"momentum=1\.0 must be in"):
        norms.unitize(momentum=1.0)
    with pytest.raises(UsageError, match="one number only, which would become 0"):
        SampleNorm(groups=None).init(jax.random.key(0), jnp.zeros((4, 10)), train=True)


@pytest.mark.parametrize(
    "make",
    [
        norms.batch_norm,
        norms.unitize,
        norms.layer_norm,
        norms.group_norm,
        norms.instance_norm,
        norms.rms_norm,
        functools.partial(norms.lp_norm, 1.0),
    ],
)
@pytest.mark.parametrize("epsilon", [-1.0, float("nan"), float("inf")])
def test_an_impossible_epsilon_is_refused(make, epsilon):
    with pytest.raises(UsageError, match=f"epsilon={epsilon} must be 0 or more and finite"):
        make(epsilon=epsilon)


class Silent(nn.Module):
    """Keeps statistics, takes no `train`, or sums over pixels, as told."""

    kind: str

    @nn.compact
    def __call__(self, x, **options):
        if self.kind == "call":
            return self.untrained(x, **options)
        if self.kind == "test" and not options["train"]:
            raise ValueError("no testing")
        if self.kind == "pair":
            return x, {}
        if self.kind == "stats":
            self.variable("batch_stats", "mean", jnp.zeros, x.shape[-1:])
        return x.sum(axis=1) if self.kind == "shape" else x

    def untrained(self, x):
        return x


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("call", r"'own' cannot be built by .* unexpected keyword.*'train'"),
        ("stats", "'own' keeps batch_stats: give its Norm batch_statistics=True"),
        ("shape", r"'own' makes .*\(4, 8, 16\).* of \(4, 8, 8, 16\): return x's own shape"),
        ("pair", r"'own' makes \(.* of \(4, 8, 8, 16\): return x's own shape"),
        ("test", r"'own' cannot be built .* ValueError: no testing"),
    ],
)
def test_registering_refuses_modules_that_are_no_normalisers(kind, message):
    own = norms.Norm("own", functools.partial(Silent, kind))
    with pytest.raises(UsageError, match=message):
        norms.register("own", lambda: own)
    assert "own" not in norms.REGISTRY


def test_registering_refuses_what_is_no_norm_or_takes_no_name():
    with pytest.raises(UsageError, match="'own' is made as a Silent: return a Norm"):
        norms.register("own", lambda: Silent("stats"))
    with pytest.raises(UsageError, match=r"cannot be built by .* unexpected keyword.*'name'"):
        norms.register("own", lambda: norms.Norm("own", lambda: Silent("none")))
    assert "own" not in norms.REGISTRY


def test_registering_refuses_names_that_are_taken_or_impossible():
    with pytest.raises(UsageError, match="'batch' is known already"):
        norms.register("batch", norms.batch_norm)
    with pytest.raises(UsageError, match=r"'\.\./up' must be of letters"):
        norms.register("../up", norms.batch_norm)
    with pytest.raises(UsageError, match="makes a Norm named 'batch'"):
        norms.register("other", norms.batch_norm)
    assert "other" not in norms.REGISTRY
