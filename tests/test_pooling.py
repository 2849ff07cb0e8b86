"""`max_pool` against XLA's window reduction, and its gradient at ties."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from bnjax.errors import UsageError
from bnjax.models.layers import max_pool, mean_pool


def reference(images, window):
    shape = (1, window, window, 1)
    return lax.reduce_window(images, -jnp.inf, lax.max, shape, shape, "VALID")


@pytest.mark.parametrize("window", [1, 2, 3])
@pytest.mark.parametrize("size", [(3, 3), (4, 6), (7, 5)])
def test_value_gradient_and_hessian_product(size, window):
    images = jax.random.normal(jax.random.key(0), (2, *size, 3))
    vector = jax.random.normal(jax.random.key(1), images.shape)

    def derivatives(pool):
        loss = lambda images: jnp.sum(jnp.sin(pool(images, window)))  # noqa: E731
        gradient, product = jax.jvp(jax.grad(loss), (images,), (vector,))
        return pool(images, window), gradient, product

    for actual, desired in zip(derivatives(max_pool), derivatives(reference), strict=True):
        np.testing.assert_allclose(actual, desired, rtol=1e-12)


def test_ties_share_the_gradient_equally():
    gradient = jax.grad(lambda images: max_pool(images, 2).sum())(jnp.zeros((1, 2, 2, 1)))
    np.testing.assert_array_equal(gradient, jnp.full((1, 2, 2, 1), 0.25))


def test_the_gradient_needs_no_select_and_scatter():
    gradient = jax.grad(lambda images: max_pool(images, 2).sum())
    text = jax.jit(gradient).lower(jnp.zeros((1, 4, 4, 1))).as_text()
    assert "select_and_scatter" not in text
    assert "stablehlo.scatter" not in text


def test_a_batch_of_points_pools_alike():
    images = jax.random.normal(jax.random.key(0), (3, 2, 4, 4, 5))
    pooled = jax.vmap(lambda images: max_pool(images, 2))(images)
    np.testing.assert_array_equal(pooled, jnp.stack([reference(x, 2) for x in images]))


@pytest.mark.parametrize("size", [(4, 6), (7, 5)])
def test_the_mean_is_that_of_each_whole_window(size):
    images = jax.random.normal(jax.random.key(0), (2, *size, 3))
    shape = (1, 2, 2, 1)
    expected = lax.reduce_window(images, 0.0, lax.add, shape, shape, "VALID") / 4
    np.testing.assert_allclose(mean_pool(images, 2), expected, rtol=1e-12)


@pytest.mark.parametrize("window", [0, 5])
def test_a_window_that_does_not_fit_is_refused(window):
    with pytest.raises(UsageError, match=f"window={window} does not fit"):
        max_pool(jnp.zeros((1, 4, 7, 1)), window)
