"""The probed loss under all four settings of the statistics."""

import inspect

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bnjax import data, losses
from bnjax.data import Batch
from bnjax.errors import UsageError


def test_frozen_statistics_agree_with_the_batch_at_the_centre_and_nowhere_else(problem, batch):
    model, params, batch_stats, loss = problem
    frozen = jax.jit(
        jax.value_and_grad(losses.on_batch(model, batch_stats, batch, "frozen", centre=params))
    )
    whole, away = jax.jit(jax.value_and_grad(loss)), jax.tree.map(lambda p: 1.5 * p, params)
    (value, ours), (expected, theirs) = frozen(params), whole(params)
    np.testing.assert_allclose(value, expected, rtol=1e-12)
    assert bool(jnp.allclose(frozen(away)[0], whole(away)[0])) == (not batch_stats)
    # The frozen gradient lacks the statistics' own part.
    same = [
        np.allclose(ours[name]["kernel"], theirs[name]["kernel"]) for name in ("conv1", "conv2")
    ]
    assert all(same) == (not batch_stats)


def test_running_statistics_are_used_as_they_are_and_weight_decay_adds_its_term(problem, batch):
    model, params, batch_stats, _ = problem
    loss = losses.on_batch(model, batch_stats, batch, "running")
    logits, _ = model.apply(params, batch_stats, batch.images, train=False)
    expected = losses.cross_entropy(logits, batch.labels)
    np.testing.assert_allclose(loss(params), expected, rtol=1e-12)
    decayed = losses.on_batch(model, batch_stats, batch, "running", weight_decay=0.1)
    squares = sum(float(jnp.sum(leaf**2)) for leaf in jax.tree.leaves(params))
    np.testing.assert_allclose(decayed(params), expected + 0.05 * squares, rtol=1e-12)


def test_recalibration_on_the_batch_itself_is_frozen_and_pools_several_batches(problem, batch):
    model, params, batch_stats, _ = problem
    one = losses.on_batch(
        model, batch_stats, batch, "recalibrated", centre=params, calibration=batch.images[None]
    )
    frozen = losses.on_batch(model, batch_stats, batch, "frozen", centre=params)
    np.testing.assert_allclose(one(params), frozen(params), rtol=1e-12)
    if batch_stats:
        halves = batch.images.reshape(2, 8, 8, 8, 3)
        pooled = losses.pooled_statistics(model, params, batch_stats, halves)
        whole = model.moments(params, batch_stats, batch.images)
        # The first layer sees the same images either way: there pooling must be exact.
        chex.assert_trees_all_close(pooled["conv1"], whole["conv1"], rtol=1e-12)


def test_objectives():
    logits, labels = jnp.array([[2.0, 0.0], [0.0, 0.0]]), jnp.array([0, 1])
    expected = (np.log1p(np.exp(-2.0)) + np.log(2.0)) / 2
    np.testing.assert_allclose(losses.cross_entropy(logits, labels), expected, rtol=1e-12)
    np.testing.assert_allclose(losses.squared_error(logits, labels), (0.5 + 0.5) / 2, rtol=1e-12)


@pytest.mark.parametrize("name", list(losses.OBJECTIVES))
@pytest.mark.parametrize("summed", [False, True])
def test_chance_is_the_loss_of_the_best_constant_guess(name, summed):
    dataset = data.load("digits")
    objective = losses.OBJECTIVES[name]._replace(summed=summed)
    labels = jnp.arange(1000, dtype=jnp.int32) % 10
    guess = jnp.zeros((1000, 10)) if name == "cross_entropy" else jnp.full((1000, 10), 0.1)
    expected = objective.each(guess, labels).mean() * (len(dataset.train.labels) if summed else 1)
    np.testing.assert_allclose(losses.chance(objective, dataset), expected, rtol=1e-12)


def test_ones_own_objective_says_what_a_guess_costs():
    def hinge(logits, labels):
        own = jnp.take_along_axis(logits, labels[:, None], axis=1)
        return jnp.maximum(0, 1 + logits - own).sum(axis=1) - 1

    dataset = data.load("digits")
    with pytest.raises(UsageError, match="guess="):
        losses.chance(losses.Objective(hinge), dataset)
    known = losses.Objective(hinge, guess=lambda dataset: dataset.num_classes - 1)
    assert losses.chance(known, dataset) == 9
    with pytest.raises(UsageError, match="use squared_error"):
        losses.chance(losses.cross_entropy, data.load("gaussian"))


def test_a_model_a_batch_and_a_decay_that_cannot_be_are_named(problem, batch):
    model, _, batch_stats, _ = problem
    on_batch = inspect.unwrap(losses.on_batch)  # as users have it, without checks of types
    few, whole = batch.labels[:1], batch.images.astype(jnp.uint8)
    for own, given, options, message in [
        (model.module, batch, {}, r"give bnjax\.models\.Model\(module\) and bnjax"),
        (model, (batch.images, batch.labels), {}, r"give bnjax\.models\.Model\(module\) and"),
        (model, batch._replace(labels=few), {}, "floating-point images and a label for each"),
        (model, batch._replace(images=whole), {}, "floating-point images and a label for each"),
        (model, batch, {"weight_decay": -1.0}, r"weight_decay=-1\.0 must be 0 or more"),
        (model, batch, {"statistics": "frozen"}, "give centre="),
        (model, batch, {"statistics": "recalibrated"}, "give centre= and calibration="),
    ]:
        with pytest.raises(UsageError, match=message):
            on_batch(own, batch_stats, given, **options)


def test_a_module_without_moments_is_refused(batch):
    import flax.linen as nn

    from bnjax.models import Model

    class Foreign(nn.Module):
        @nn.compact
        def __call__(self, x, *, train):
            x = nn.BatchNorm(use_running_average=not train)(x)
            return nn.Dense(10, param_dtype=x.dtype)(x.mean(axis=(1, 2)))

    model = Model(Foreign())
    images = batch.images.astype(jnp.float32)
    variables = model.init(jax.random.key(0), images)
    own, centre = Batch(images, batch.labels), variables["params"]
    with pytest.raises(UsageError, match=r"BatchNorm_0/mean, BatchNorm_0/var: .* 'moments'"):
        losses.on_batch(model, variables["batch_stats"], own, "frozen", centre=centre)
