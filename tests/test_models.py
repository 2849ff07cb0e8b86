"""VGG: exact parameter counts, layers named alike, initialisers; BatchNorm against numpy."""

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import tiny_model

from bnjax import models
from bnjax.errors import UsageError
from bnjax.models.norms import BatchNorm

IMAGES = jax.ShapeDtypeStruct((2, 32, 32, 3), jnp.float32)


def count(model, images=IMAGES):
    variables = jax.eval_shape(model.init, jax.random.key(0), images)
    return sum(leaf.size for leaf in jax.tree.leaves(variables["params"]))


# Convolutions as in Simonyan & Zisserman's Table 1 with biases, one classifier of 512 × 10 + 10,
# and two normalisation parameters for each channel.
@pytest.mark.parametrize(
    ("depth", "none", "batch"),
    [
        (11, 9_225_610, 9_231_114),
        (13, 9_410_122, 9_416_010),
        (16, 14_719_818, 14_728_266),
        (19, 20_029_514, 20_040_522),
    ],
)
def test_parameter_counts_are_exact(depth, none, batch):
    assert count(models.vgg(depth, norm=models.norms.none())) == none
    assert count(models.vgg(depth, norm=models.norms.batch_norm())) == batch


def test_vgg_a_of_the_replications_has_9_75_million_parameters():
    assert count(models.vgg11(norm=models.norms.none(), hidden=(512, 512))) == 9_750_922


def test_width_channels_and_classes_are_options():
    images = jax.ShapeDtypeStruct((2, 40, 32, 1), jnp.float32)
    model = models.vgg11(norm=models.norms.none(), width=0.5, num_classes=7)
    params = jax.eval_shape(model.init, jax.random.key(0), images)["params"]
    assert params["conv1"]["kernel"].shape == (3, 3, 1, 32)
    assert params["output"]["kernel"].shape == (256, 7)


def test_arms_name_their_layers_alike():
    none, batch = (
        jax.eval_shape(models.vgg11(norm=norm).init, jax.random.key(0), IMAGES)["params"]
        for norm in (models.norms.none(), models.norms.batch_norm())
    )
    assert list(none) == list(batch)
    assert len(none) == 9


def test_arms_start_from_the_same_kernels():
    images = jnp.zeros((2, 8, 8, 3), jnp.float32)
    none, batch = (
        tiny_model(norm).init(jax.random.key(0), images)["params"] for norm in ("none", "batch")
    )
    assert len(none) == 3
    for layer in none:
        chex.assert_trees_all_equal(none[layer]["kernel"], batch[layer]["kernel"])


def test_apply_is_explicit_about_statistics(problem, batch):
    model, params, batch_stats, _ = problem
    logits, same = model.apply(params, batch_stats, batch.images, train=False)
    assert same is batch_stats
    assert logits.shape == (16, 10)
    _, advanced = model.apply(params, batch_stats, batch.images, train=True)
    changed = [
        bool((a != b).any())
        for a, b in zip(*map(jax.tree.leaves, (advanced, batch_stats)), strict=True)
    ]
    assert all(changed)
    assert bool(changed) == bool(batch_stats)


@pytest.mark.parametrize(
    ("name", "std"), [("glorot_uniform", (2 / 1152) ** 0.5), ("he_normal", (2 / 576) ** 0.5)]
)
def test_initialisers_have_their_deviation(name, std):
    # The second convolution maps 64 to 64 channels: fans of 9 · 64 = 576 each.
    images = jnp.zeros((2, 8, 8, 3), jnp.float32)
    initializer = models.layers.initializer(name)
    model = models.Model(models.VGG((2,), (64,), 10, (), models.norms.none(), initializer))
    kernel = model.init(jax.random.key(0), images)["params"]["conv2"]["kernel"]
    np.testing.assert_allclose(kernel.std(), std, rtol=0.02)


def test_batch_norm_equals_numpy_in_value_gradient_and_running_statistics():
    x, cotangent = (
        np.asarray(jax.random.normal(jax.random.key(k), (4, 3, 3, 5))) + k for k in (0, 1)
    )
    scale, bias = np.linspace(0.5, 1.5, 5), np.linspace(-1, 1, 5)
    module = BatchNorm(momentum=0.9, epsilon=1e-3)
    params = {"scale": jnp.asarray(scale), "bias": jnp.asarray(bias)}
    running = {"mean": jnp.full(5, 2.0), "var": jnp.full(5, 3.0)}

    def value(x, params):
        return module.apply(
            {"params": params, "batch_stats": running}, x, train=True, mutable=["batch_stats"]
        )

    result, pull_back, updated = jax.vjp(value, jnp.asarray(x), params, has_aux=True)
    grad_x, grad_params = pull_back(jnp.asarray(cotangent))

    axes, m = (0, 1, 2), 4 * 3 * 3
    mean, var = x.mean(axes), x.var(axes)
    hat = (x - mean) / np.sqrt(var + 1e-3)
    np.testing.assert_allclose(result, hat * scale + bias, rtol=1e-12)
    # Ioffe & Szegedy 2015, section 3: gradient through mean and variance.
    inner = cotangent - cotangent.sum(axes) / m - hat * (cotangent * hat).sum(axes) / m
    np.testing.assert_allclose(grad_x, scale / np.sqrt(var + 1e-3) * inner, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(grad_params["scale"], (cotangent * hat).sum(axes), rtol=1e-12)
    np.testing.assert_allclose(grad_params["bias"], cotangent.sum(axes), rtol=1e-12)
    np.testing.assert_allclose(updated["batch_stats"]["mean"], 0.9 * 2 + 0.1 * mean, rtol=1e-12)
    np.testing.assert_allclose(updated["batch_stats"]["var"], 0.9 * 3 + 0.1 * var, rtol=1e-12)

    frozen = module.apply({"params": params, "batch_stats": running}, jnp.asarray(x), train=False)
    np.testing.assert_allclose(frozen, (x - 2) / np.sqrt(3 + 1e-3) * scale + bias, rtol=1e-12)


def test_batch_norm_equals_linen():
    x = jax.random.normal(jax.random.key(0), (8, 4, 4, 3), jnp.float32) * 100 + 1000
    ours, theirs = (
        BatchNorm(),
        nn.BatchNorm(
            use_running_average=False, momentum=0.9, use_fast_variance=False, dtype=x.dtype
        ),
    )
    variables = ours.init(jax.random.key(0), x, train=False)
    a, updated = ours.apply(variables, x, train=True, mutable=["batch_stats"])
    b, expected = theirs.apply(variables, x, mutable=["batch_stats"])
    np.testing.assert_allclose(a, b, atol=1e-4)
    chex.assert_trees_all_close(updated, expected, rtol=1e-5)


def test_models_refuse_impossible_options():
    none = models.norms.none()
    with pytest.raises(UsageError, match="VGG depth 12"):
        models.vgg(12, norm=none)
    with pytest.raises(UsageError, match="width=0"):
        models.vgg11(norm=none, width=0.0)
    with pytest.raises(UsageError, match="num_classes=1"):
        models.vgg11(norm=none, num_classes=1)
    with pytest.raises(UsageError, match="initializer 'foo'"):
        models.vgg11(norm=none, initializer="foo")
    with pytest.raises(UsageError, match="norm 'foo'"):
        models.norms.by_name("foo")
    with pytest.raises(UsageError, match="momentum=1"):
        models.norms.batch_norm(momentum=1.0)
    with pytest.raises(UsageError, match="32×32 pixels or more"):
        models.vgg11(norm=none, width=1 / 16).init(jax.random.key(0), jnp.zeros((1, 16, 16, 3)))
