"""Moments and pytree helpers."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bnjax.arithmetic import trees
from bnjax.arithmetic.moments import batch_normalise, moments, standardise
from bnjax.arithmetic.percentiles import percentiles


@pytest.mark.parametrize("axes", [(0,), (0, 1, 2), (1, 2), (3,)])
def test_moments_equal_numpy(axes):
    x = jax.random.normal(jax.random.key(0), (3, 4, 5, 6))
    mean, var = moments(x, axes)
    np.testing.assert_allclose(mean, np.mean(np.asarray(x), axes), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose(var, np.var(np.asarray(x), axes), rtol=1e-12)


def test_variance_keeps_its_digits_where_the_mean_is_large():
    noise = np.asarray(jax.random.normal(jax.random.key(0), (4096, 2)))
    x = jnp.asarray(noise + 1e4, jnp.float32)
    exact = np.var(np.asarray(x, np.float64), axis=0)
    np.testing.assert_allclose(moments(x, (0,)).var, exact, rtol=1e-5)


def test_narrow_types_are_accumulated_in_float32():
    x = jnp.ones((4096, 1), jnp.bfloat16) * 1.5
    mean, var = moments(x, (0,))
    assert mean.dtype == jnp.float32
    assert mean[0] == 1.5
    assert var[0] == 0
    assert standardise(x, mean, var, 1e-5).dtype == jnp.bfloat16


def test_partition_and_combine_are_inverse():
    params = {
        "conv1": {"kernel": jnp.ones(2), "bias": jnp.zeros(1)},
        "output": {"kernel": jnp.ones(3)},
    }
    selected, rest = trees.partition(params, lambda name: name.endswith("kernel"))
    assert trees.leaf_names(selected) == ["conv1/kernel", "output/kernel"]
    assert trees.leaf_names(rest) == ["conv1/bias"]
    chex.assert_trees_all_equal(trees.combine(selected, rest), params)


def test_move_keeps_dtypes_and_goes_downhill():
    params = {"w": jnp.ones(2, jnp.float32)}
    moved = trees.move(params, params, jnp.asarray(0.25, jnp.float64))
    assert moved["w"].dtype == jnp.float32
    np.testing.assert_array_equal(moved["w"], 0.75)


def test_all_finite_sees_one_bad_element():
    good = {"a": jnp.ones(3), "b": jnp.ones(())}
    assert trees.all_finite(good)
    for bad in (jnp.nan, jnp.inf):
        assert not trees.all_finite({**good, "b": jnp.asarray(bad)})


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("count", [1, 2, 7, 1000])
def test_percentiles_are_order_statistics(dtype, count):
    generator = np.random.default_rng(count)
    values = generator.standard_normal(count).astype(dtype)
    values[: count // 3] = generator.choice([0.0, -0.0, 1e30, -np.inf, 5e-40], count // 3)
    levels = (0.0, 15.0, 50.0, 85.0, 99.9, 100.0)
    expected = np.percentile(values, levels, method="inverted_cdf")
    # XLA on the CPU takes subnormal numbers for zero.
    np.testing.assert_allclose(percentiles(jnp.asarray(values), levels), expected, atol=1e-38)
    assert np.isnan(percentiles(jnp.asarray(np.append(values, np.nan)), levels)).all()


def plain_batch_normalise(x, scale, bias, epsilon):
    mean = x.mean(axis=tuple(range(x.ndim - 1)))
    var = x.var(axis=tuple(range(x.ndim - 1)))
    return (x - mean) / jnp.sqrt(var + epsilon) * scale + bias, (mean, var)


@pytest.mark.parametrize("shape", [(6, 3), (4, 2, 5, 3)])
def test_batch_normalise_has_the_derivatives_of_the_formula(shape):
    keys = jax.random.split(jax.random.key(3), 4)
    x = 2 + jax.random.normal(keys[0], shape)
    point = (x, 1.5 + jnp.arange(3.0), jnp.arange(3.0) - 1)
    weights = jax.random.normal(keys[1], shape)
    tangent = tuple(jax.random.normal(keys[2], leaf.shape) for leaf in point)

    def derivatives(function):
        def loss(point):
            y, (mean, var) = function(*point, 0.1)
            return jnp.sum(weights * jnp.tanh(y)) + jnp.sum(mean * var**2)

        gradient = jax.grad(loss)
        return loss(point), gradient(point), jax.jvp(gradient, (point,), (tangent,))[1]

    with jax.numpy_rank_promotion("allow"):
        expected = derivatives(plain_batch_normalise)
    chex.assert_trees_all_close(jax.jit(derivatives, static_argnums=0)(batch_normalise), expected)


def test_batch_normalise_of_bfloat16_keeps_float32_moments():
    x = 100 + jax.random.normal(jax.random.key(0), (64, 2), jnp.bfloat16)
    y, (mean, var) = batch_normalise(x, jnp.ones(2, x.dtype), jnp.zeros(2, x.dtype), 1e-5)
    assert (y.dtype, mean.dtype, var.dtype) == (jnp.bfloat16, jnp.float32, jnp.float32)
    gradient = jax.grad(lambda x: batch_normalise(x, *jnp.ones((2, 2), x.dtype), 1e-5)[0].sum())(x)
    assert gradient.dtype == jnp.bfloat16
    np.testing.assert_allclose(gradient.astype(jnp.float32), 0, atol=0.02)
