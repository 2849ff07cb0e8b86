"""Every normaliser against its formula written out in numpy, and what the registry refuses."""

import functools

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import cast
from scipy.special import erf

from bnjax import models
from bnjax.errors import UsageError
from bnjax.models import norms
from bnjax.models.norms import BatchNorm
from bnjax.models.norms.batch import average_norm
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


def halves(x):
    return np.concatenate([standardised(part, (1, 2, 3)) for part in np.split(x, 2, -1)], axis=-1)


def root_mean_square(x):
    return np.sqrt((x**2).mean((1, 2, 3), keepdims=True) + EPSILON)


@pytest.mark.parametrize(
    ("norm", "expected"),
    [
        (norms.layer_norm(), lambda x: standardised(x, (1, 2, 3))),
        (norms.instance_norm(), lambda x: standardised(x, (1, 2))),
        (norms.group_norm(2), halves),
        (norms.batch_norm(), lambda x: standardised(x, (0, 1, 2))),
        (norms.unitize(), lambda x: standardised(x, (0, 1, 2))),  # at share 0
        (norms.rms_norm(), lambda x: x / root_mean_square(x)),  # shifts nothing
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_normalisers_are_their_formulas(norm, expected):
    x, scale, bias = draw(1), draw(2, (8,)), draw(3, (8,))
    own = {"scale": scale} if norm.name == "rms" else {"scale": scale, "bias": bias}
    y, _ = call(norm, x, **own)
    np.testing.assert_allclose(y, expected(x) * scale + own.get("bias", 0), rtol=1e-9, atol=1e-11)


def test_functions_of_single_numbers_are_their_formulas():
    x, scale, bias = draw(1), draw(2, (8,)), draw(3, (8,))
    own = {"scale": scale, "bias": bias, "alpha": 0.3}
    y, _ = call(norms.dyt(), x, **own)
    np.testing.assert_allclose(y, np.tanh(0.3 * x) * scale + bias, rtol=1e-12)
    y, _ = call(norms.derf(), x, **own, shift=0.7)
    np.testing.assert_allclose(y, erf(0.3 * x + 0.7) * scale + bias, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(call(norms.dyt(alpha=0.8), x)[0], np.tanh(0.8 * x), rtol=1e-12)
    factor = norms.skip_init()
    np.testing.assert_array_equal(call(factor, x)[0], np.zeros_like(x))
    np.testing.assert_allclose(call(factor, x, scale=0.4)[0], 0.4 * x, rtol=1e-12)


def maximum(x, axes):
    return np.abs(x).max(axes)


def euclidean(x, axes):
    return np.sqrt((x**2).mean(axes))


@pytest.mark.parametrize(("power", "size"), [(2.0, euclidean), (np.inf, maximum)])
def test_the_readings_of_an_average_norm_are_their_formulas(power, size):
    x, scale, bias = draw(1), np.ones(8), np.zeros(8)
    centred = x - x.mean((0, 1, 2))
    sizes = {
        "together": size(x, (0, 1, 2)),
        "each": size(x, (1, 2)).mean(0),
        "centred": size(centred, (0, 1, 2)),
    }
    for average, expected in sizes.items():
        norm = norms.lp_norm(power, average=average)
        y, _ = call(norm, x, scale=scale, bias=bias)
        np.testing.assert_allclose(y, centred / (expected + 1e-5), rtol=1e-9, atol=1e-11)


def test_batch_norm_equals_numpy_in_value_gradient_and_running_statistics():
    x, cotangent = draw(1), draw(6)
    module = BatchNorm(momentum=0.9, epsilon=1e-3)
    params = {"scale": jnp.linspace(0.5, 1.5, 8), "bias": jnp.linspace(-1, 1, 8)}
    running = {"mean": jnp.full(8, 2.0), "var": jnp.full(8, 3.0)}

    def value(x, params, train=True):
        variables = {"params": params, "batch_stats": running}
        return module.apply(variables, x, train=train, mutable=["batch_stats"])

    result, pull_back, updated = jax.vjp(value, jnp.asarray(x), params, has_aux=True)
    grad_x, grad_params = pull_back(jnp.asarray(cotangent))
    axes, scale, bias = (0, 1, 2), *map(np.asarray, (params["scale"], params["bias"]))
    mean, var = x.mean(axes), x.var(axes)
    hat = (x - mean) / np.sqrt(var + 1e-3)
    np.testing.assert_allclose(result, hat * scale + bias, rtol=1e-9, atol=1e-12)
    # Ioffe & Szegedy 2015, section 3: gradient through mean and variance.
    inner = cotangent - cotangent.mean(axes) - hat * (cotangent * hat).mean(axes)
    np.testing.assert_allclose(grad_x, scale / np.sqrt(var + 1e-3) * inner, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(grad_params["scale"], (cotangent * hat).sum(axes), rtol=1e-10)
    np.testing.assert_allclose(grad_params["bias"], cotangent.sum(axes), rtol=1e-10)
    np.testing.assert_allclose(updated["batch_stats"]["mean"], 0.9 * 2 + 0.1 * mean, rtol=1e-12)
    np.testing.assert_allclose(updated["batch_stats"]["var"], 0.9 * 3 + 0.1 * var, rtol=1e-12)
    frozen, _ = value(jnp.asarray(x), params, train=False)
    expected = (x - 2) / np.sqrt(3 + 1e-3) * scale + bias
    np.testing.assert_allclose(frozen, expected, rtol=1e-10, atol=1e-12)


def test_batch_norm_equals_linen():
    x = jax.random.normal(jax.random.key(0), (8, 4, 4, 3), jnp.float32) * 100 + 1000
    options = {"momentum": 0.9, "use_fast_variance": False, "dtype": x.dtype}
    ours, theirs = BatchNorm(), nn.BatchNorm(use_running_average=False, **options)
    variables = ours.init(jax.random.key(0), x, train=False)
    a, updated = ours.apply(variables, x, train=True, mutable=["batch_stats"])
    b, expected = theirs.apply(variables, x, mutable=["batch_stats"])
    np.testing.assert_allclose(a, b, atol=1e-4)
    chex.assert_trees_all_close(updated, expected, rtol=1e-5)


def test_unitization_gives_samples_unit_size_at_share_1():
    x, scale, bias = draw(1), draw(2, (8,)), draw(3, (8,))
    share, own = np.linspace(0, 1, 8), standardised(x, (0, 1, 2))
    y, _ = call(norms.unitize(), x, scale=scale, bias=bias, share=share)
    expected = scale * own * (share / root_mean_square(own) + 1 - share) + bias
    np.testing.assert_allclose(y, expected, rtol=1e-10, atol=1e-12)
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


def test_kernel_normalisers_are_their_formulas():
    kernel, scale = draw(4, (3, 3, 5, 7)), np.abs(draw(5, (7,)))
    flat = kernel.reshape(45, 7)
    standard = (flat - flat.mean(0)) / np.sqrt(45 * flat.var(0)) * scale
    length = flat / np.linalg.norm(flat, axis=0) * scale
    for norm, expected in ((norms.weight_standard(), standard), (norms.weight_norm(), length)):
        found = kernel_of(norm, kernel, scale=scale).reshape(45, 7)
        np.testing.assert_allclose(found, expected, rtol=1e-10)
    # Weight normalisation begins as the plain kernel.
    np.testing.assert_allclose(kernel_of(norms.weight_norm(), kernel), kernel, rtol=1e-12)


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


def test_exceptions_hold_for_their_layers_and_kernel_normalisers_stand_beside_the_kernel():
    norm = norms.with_exceptions(norms.batch_norm(), {"conv2": norms.none()})
    excepted, kernels = (
        jax.eval_shape(
            models.lenet(norm=one, width=0.5).init, jax.random.key(0), jnp.zeros((2, 8, 8, 3))
        )["params"]
        for one in (norm, norms.weight_norm())
    )
    assert [name for name in excepted if "norm" in excepted[name]] == ["conv1", "dense1", "dense2"]
    assert sorted(kernels["conv1"]) == ["bias", "kernel", "kernel_norm"]


MAKERS = (
    *(norms.batch_norm, norms.unitize, norms.layer_norm, norms.group_norm, norms.instance_norm),
    *(norms.rms_norm, functools.partial(norms.lp_norm, 1.0)),
)


@pytest.mark.parametrize("make", MAKERS)
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
        if self.kind == "whole" and options["train"]:
            return x.astype(int)
        if self.kind == "dense" and x.ndim == 2:
            return x[0]
        if self.kind == "nothing":
            return None
        if self.kind == "stats":
            self.variable("batch_stats", "mean", jnp.zeros, x.shape[-1:])
        return x.sum(axis=1) if self.kind == "shape" else x

    def untrained(self, x):
        return x


def own(kind):
    return norms.Norm("own", functools.partial(Silent, kind))


def one_number():
    SampleNorm(groups=None).init(jax.random.key(0), jnp.zeros((4, 10)), train=True)


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: norms.by_name("bach"), "norm 'bach' is not known: choose from none, batch"),
        (lambda: norms.group_norm(0), "groups=0 must be 1 or more"),
        (lambda: norms.unitize(momentum=1.0), r"momentum=1\.0 must be in"),
        (lambda: norms.batch_norm(momentum=1.0), r"momentum=1\.0 must be in"),
        (one_number, "one number only, which would become 0"),
        (lambda: norms.register("batch", norms.batch_norm), "'batch' is known already"),
        (lambda: norms.register("../up", norms.batch_norm), r"'\.\./up' must be of letters"),
        (lambda: norms.register("other", norms.batch_norm), "makes a Norm named 'batch'"),
        (lambda: norms.register("own", lambda: Silent("")), "made as a Silent: return a Norm"),
        (
            lambda: norms.register("own", lambda: norms.Norm("own", lambda: Silent(""))),
            r"cannot be built by .* unexpected keyword.*'name'",
        ),
        (
            lambda: norms.register(
                "own", lambda: norms.Norm("own", reparametrise=functools.partial(Silent, "test"))
            ),
            r"'own' cannot be built by reparametrise\(name=…\) and called as module\(kernel\)",
        ),
        *(
            (lambda kind=kind: norms.register("own", lambda: own(kind)), message)
            for kind, message in [
                ("call", r"'own' cannot be built by .* unexpected keyword.*'train'"),
                ("stats", "'own' keeps batch_stats: give its Norm batch_statistics=True"),
                ("shape", r"'own' makes .*\(4, 8, 16\).* of \(4, 8, 8, 16\): return x's own shape"),
                ("pair", r"'own' makes \(.* of \(4, 8, 8, 16\): return x's own shape"),
                ("test", r"'own' cannot be built .* ValueError: no testing"),
                ("whole", r"'own' makes int.* return x's own shape and dtype"),
                ("dense", r"'own' makes .*\(16,\).* of \(4, 16\): return x's own shape"),
                ("nothing", r"'own' makes None of \(4, 8, 8, 16\): return x's own shape"),
            ]
        ),
    ],
)
def test_impossible_normalisers_are_refused_and_not_registered(act, message):
    with pytest.raises(UsageError, match=message):
        act()
    assert not {"own", "other", "../up"} & set(norms.REGISTRY)


def tiny_floor(x, axes, power):
    """The formula of before: the smallest normal number under the root."""
    mean = jnp.mean(jnp.abs(x) ** power, axes)
    return (mean + jnp.finfo(x.dtype).tiny) ** (1 / power)


@pytest.mark.parametrize("spread", [1e-6, 1.0, 1e6])
def test_roots_of_ordinary_numbers_are_those_of_the_plain_formula_to_the_last_bit(spread):
    x = jnp.asarray(spread * draw(7), jnp.float32)
    vector = jnp.asarray(draw(8), jnp.float32)

    def derivatives(function):
        def loss(x):
            return jnp.sum(jnp.sin(jnp.arange(8, dtype=x.dtype)) * function(x))

        return jax.jit(lambda x: (function(x), jax.grad(loss)(x)))(x)

    def hessian_product(function):
        return jax.jvp(jax.grad(lambda x: jnp.sum(function(x))), (x,), (vector,))[1]

    functions = (lambda x: average_norm(x, 2.0), lambda x: tiny_floor(x, (0, 1, 2), 2.0))
    chex.assert_trees_all_equal(*map(derivatives, functions))
    chex.assert_trees_all_close(*map(hessian_product, functions), rtol=1e-4, atol=1e-9 / spread)


LAYER_INPUTS = ("ordinary", "dead channel", "constant channel", "zero batch", "zero kernel")


def one_layer(norm, case):
    """A convolution with its normaliser, and parameters and images that are bad in one way."""
    layer = models.layers.Convolution(4, norm, jax.nn.initializers.normal(1.0))
    images = jnp.asarray(draw(1, (3, 4, 4, 2)), jnp.float32)
    params = layer.init(jax.random.key(0), images, train=False)["params"]
    if case == "zero batch":
        images = jnp.zeros_like(images)
    if case in ("dead channel", "constant channel"):
        params["kernel"] = params["kernel"].at[..., 0].set(0)
    if case == "zero kernel":
        params["kernel"] = jnp.zeros_like(params["kernel"])
    if case == "constant channel":
        params["bias"] = params["bias"].at[0].set(0.7)
    return layer, params, images


@pytest.mark.parametrize("name", [name for name in norms.REGISTRY if name != "skipinit"])
def test_value_gradient_and_hessian_product_are_finite_whatever_is_zero(name):
    norm = norms.by_name(name)

    @jax.jit
    def derivatives(params, images):
        layer = one_layer(norm, "ordinary")[0]

        def loss(point):
            variables, rngs = {"params": point[0]}, {"noise": jax.random.key(2)}
            y = layer.apply(variables, point[1], train=True, mutable=["batch_stats"], rngs=rngs)[0]
            return jnp.sum(jnp.tanh(y)) + jnp.sum(y**2)

        vector = jax.tree.map(lambda leaf: jnp.cos(leaf + 1), (params, images))
        return loss((params, images)), jax.jvp(jax.grad(loss), ((params, images),), (vector,))

    for case in LAYER_INPUTS:
        _, params, images = one_layer(norm, case)
        for leaf in jax.tree.leaves(derivatives(params, images)):
            assert jnp.isfinite(leaf).all(), case


@pytest.mark.parametrize("power", [1.0, 1.5, 2.0, 3.0, np.inf])
def test_average_norms_have_two_derivatives_at_zero_and_far_from_1(power):
    x = jnp.asarray(draw(7), jnp.float32)
    x = x.at[0, 0, 0].set(0).at[..., 1].set(0)
    vector = jnp.asarray(draw(8), jnp.float32)

    def derivatives(scale):
        gradient = jax.grad(lambda x: jnp.sum(average_norm(x, power)))
        point = x * jnp.float32(scale)
        found = jax.jvp(gradient, (point,), (vector,))
        return np.asarray(average_norm(point, power)), *map(np.asarray, found)

    value, gradient, product = derivatives(1)
    assert np.isfinite(gradient).all()
    assert np.isfinite(product).all()
    for scale in (2.0**-90, 2.0**90):
        found = derivatives(scale)
        alive = np.arange(8) != 1
        np.testing.assert_allclose(found[0][alive], value[alive] * scale, rtol=1e-5)
        np.testing.assert_allclose(found[1], gradient, rtol=1e-4, atol=1e-7)
        np.testing.assert_allclose(found[2], product / scale, rtol=1e-3, atol=1e-6 / scale)


def test_a_root_mean_square_bends_at_an_element_that_is_zero():
    x, vector = (jnp.array(rows)[:, None] for rows in ([3.0, 0.0], [0.0, 1.0]))
    gradient = jax.grad(lambda x: average_norm(x, 2.0)[0])
    product = jax.jvp(gradient, (x,), (vector,))[1]
    np.testing.assert_allclose(product[:, 0], [0, 1 / (3 * 2**0.5)], rtol=1e-12)


def test_a_kernel_of_zeros_stays_under_weight_normalisation_with_the_gradient_of_the_plain_one():
    module = norms.weight_norm().reparametrise(name=None)
    kernel = jnp.asarray(draw(4, (3, 5)), jnp.float32)
    variables = module.init(jax.random.key(0), kernel)
    pull = jax.vjp(lambda kernel: module.apply(variables, kernel), kernel.at[:, 1].set(0))[1]
    (gradient,) = pull(kernel)
    np.testing.assert_array_equal(gradient[:, 1], kernel[:, 1])
    assert (module.apply(variables, jnp.zeros_like(kernel)) == 0).all()
