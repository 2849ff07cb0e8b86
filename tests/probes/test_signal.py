"""Gradients, inner products and residual sums at initialisation, against their known values."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bnjax import probes
from bnjax.errors import UsageError


def normalised(x, mean=True):
    x = x - x.mean(0, keepdims=True) if mean else x
    return x / jnp.sqrt(jnp.mean(x**2, axis=0, keepdims=True))


def test_the_gradient_grows_by_1_2112_a_layer_behind_batchnorm_and_relu():
    """√(π/(π − 1)), within 1 % at width 400 over a batch of 128; by the mean of four layers."""
    batch, width, depth = 128, 400, 7
    keys = jax.random.split(jax.random.key(0), depth + 1)
    kernels = jax.random.normal(keys[0], (depth, width, width)) / width**0.5
    slope = jax.random.normal(keys[1], (batch, width))

    def loss(offsets):
        x = jax.random.normal(keys[2], (batch, width))
        for kernel, offset in zip(kernels, offsets, strict=True):
            x = jax.nn.relu(normalised(x @ kernel + offset))
        return jnp.sum(slope * x)

    offsets = [jnp.zeros((batch, width))] * depth
    found = jax.jit(lambda offsets: probes.gradient_ratios(loss, offsets))(offsets)
    growth = np.exp(np.log(found.ratios[1:-2]).mean())
    np.testing.assert_allclose(growth, (np.pi / (np.pi - 1)) ** 0.5, rtol=0.01)
    np.testing.assert_allclose(found.ratios[:-1], found.norms[:-1] / found.norms[1:], rtol=1e-14)
    assert np.isnan(found.ratios[-1])


def test_the_orthogonality_gap_falls_as_one_over_the_root_of_the_width():
    """Slope −½ in deep random linear networks behind BatchNorm without its mean.

    Means of 20 networks, each within 4 % (one standard error), over a factor of nine in width.
    """
    batch, depth, seeds, widths = 6, 12, 20, (16, 48, 144)
    generator, found = np.random.default_rng(0), []
    for width in widths:
        before = 1 + generator.normal(size=(seeds, batch, width))
        x = before
        for _ in range(depth):
            x = x @ generator.normal(size=(seeds, width, width))
            x = x / np.sqrt(np.mean(x**2, axis=1, keepdims=True))
        both = probes.orthogonality([*map(jnp.asarray, (*before, *x))]).gaps.reshape(2, seeds)
        first, last = both.mean(1)
        assert last < first
        found.append(last)
    slope = np.polyfit(np.log(widths), np.log(found), 1)[0]
    np.testing.assert_allclose(slope, -0.5, atol=0.05)


def test_the_orthogonality_gap_of_known_examples():
    rows = np.eye(3, 5)
    parallel, centred = np.ones((4, 2)), np.eye(4) - 1 / 4
    found = probes.orthogonality([jnp.asarray(x) for x in (rows, 7 * parallel, centred)]).gaps
    np.testing.assert_allclose(found, [0, (1 - 1 / 4) ** 0.5, (4 * 3) ** -0.5], atol=1e-15)


@pytest.mark.parametrize("norm", [True, False])
def test_a_normalised_branch_has_a_share_of_1_over_l_plus_1(norm):
    """Without a normaliser ½ at any depth; sampling leaves a few per cent at this size."""
    batch, width, depth = 400, 400, 6
    x, branches, sums = jax.random.normal(jax.random.key(0), (batch, width)), [], []
    for key in jax.random.split(jax.random.key(1), depth):
        kernel = jax.random.normal(key, (width, width)) * (2 / width) ** 0.5
        inputs = (
            normalised(x) if norm else x / jnp.sqrt(jnp.mean(jax.nn.relu(x) ** 2) * 2 / x.var())
        )
        branches.append(jax.nn.relu(inputs) @ kernel)
        x = x + branches[-1]
        sums.append(x)
    found = probes.residual_shares(branches, sums).shares
    expected = 1 / np.arange(2, depth + 2) if norm else np.full(depth, 0.5)
    np.testing.assert_allclose(found, expected, rtol=0.05)


def test_as_many_branches_as_sums_are_needed():
    with pytest.raises(UsageError, match="there are 1 branches and 2 sums"):
        probes.residual_shares([jnp.ones((2, 2))], [jnp.ones((2, 2))] * 2)
