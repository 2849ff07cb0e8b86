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
from bnjax.train.step import TrainState, compute_gradient


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


def test_a_penalty_is_on_kernels_alone_and_in_the_gradient(problem, batch):
    model, params, batch_stats, bare = problem
    objective = losses.cross_entropy._replace(kernel_penalty=0.3)
    loss = losses.on_batch(model, batch_stats, batch, objective=objective)
    squares = sum(float(jnp.sum(layer["kernel"] ** 2)) for layer in params.values())
    np.testing.assert_allclose(loss(params), bare(params) + 0.3 * squares, rtol=1e-12)
    more = jax.tree.map(jnp.subtract, jax.grad(loss)(params), jax.grad(bare)(params))
    for path, leaf in jax.tree_util.tree_leaves_with_path(more):
        name = path[-1].key
        expected = 0.6 * params[path[0].key]["kernel"] if name == "kernel" else 0 * leaf
        np.testing.assert_allclose(leaf, expected, atol=1e-12)
    with pytest.raises(UsageError, match="no parameter is a kernel, the names are"):
        objective.penalty({"norm": {"scale": jnp.ones(2)}})


def test_a_z_loss_is_on_the_logits_of_each_example_and_equal_ones_share_programs(problem, batch):
    model, params, batch_stats, bare = problem
    objective = losses.cross_entropy.with_z_loss(0.3)
    assert objective == losses.cross_entropy.with_z_loss(0.3)
    assert hash(objective) == hash(losses.cross_entropy.with_z_loss(0.3))
    assert losses.cross_entropy.with_z_loss(0.0) is losses.cross_entropy
    loss = losses.on_batch(model, batch_stats, batch, objective=objective)
    logits, _ = model.apply(params, batch_stats, batch.images, train=True)
    sizes = np.log(np.exp(np.asarray(logits)).sum(-1))
    np.testing.assert_allclose(loss(params), bare(params) + 0.3 * (sizes**2).mean(), rtol=1e-12)
    tokens = jnp.stack([logits, logits])
    labels = jnp.stack([batch.labels, batch.labels])
    np.testing.assert_allclose(objective(tokens, labels), loss(params), rtol=1e-12)


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


def penalised(penalty):
    return losses.cross_entropy._replace(kernel_penalty=penalty)


def test_a_model_a_batch_and_a_decay_that_cannot_be_are_named(problem, batch):
    model, _, batch_stats, _ = problem
    on_batch = inspect.unwrap(losses.on_batch)  # as users have it, without checks of types
    few, whole = batch.labels[:1], batch.images.astype(jnp.uint8)
    for own, given, options, message in [
        (model.module, batch, {}, r"give bnjax\.models\.Model\(module\), or .* and bnjax"),
        (model, (batch.images, batch.labels), {}, r"the batch a tuple: give .*Batch\(images"),
        (model, batch._replace(labels=few), {}, r"floating-point images, .* a label for each"),
        (model, batch._replace(images=whole), {}, r"floating-point images, .* a label for each"),
        (model, batch, {"weight_decay": -1.0}, r"weight_decay=-1\.0 must be 0 or more"),
        *(
            (model, batch, {"objective": penalised(penalty)}, f"kernel_penalty={penalty} must be 0")
            for penalty in (-0.1, float("nan"), float("inf"))
        ),
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
            mean = self.variable("batch_stats", "mean", jnp.zeros, x.shape[-1:])
            x = x - (x.mean(axis=(0, 1, 2)) if train else mean.value).reshape(1, 1, 1, -1)
            return nn.Dense(10, param_dtype=x.dtype)(x.mean(axis=(1, 2)))

    model = Model(Foreign())
    variables = model.init(jax.random.key(0), batch.images)
    with pytest.raises(UsageError, match=r"^mean: .* 'moments'.*flax\.linen\.BatchNorm"):
        losses.on_batch(
            model, variables["batch_stats"], batch, "frozen", centre=variables["params"]
        )


@pytest.mark.parametrize("labels", [[0, 12], [-1, 3], [10, 0]])
def test_labels_outside_of_the_classes_are_refused_everywhere(problem, batch, labels):
    model, params, batch_stats, _ = problem
    labels = jnp.array(labels, jnp.int32)
    some = Batch(batch.images[:2], labels)
    message = f"labels are from {labels.min()} to {labels.max()}: of 10 classes .* from 0 to 9"
    with pytest.raises(UsageError, match=message):
        losses.on_batch(model, batch_stats, some)
    for objective in losses.OBJECTIVES.values():
        with pytest.raises(UsageError, match=message):
            objective(jnp.zeros((2, 10)), labels)
        # What is compiled does not know its labels: the loss is no number.
        assert jnp.isnan(jax.jit(objective.each)(jnp.zeros((2, 10)), labels).max())

    def loss(params, some):
        return losses.on_batch(model, batch_stats, some)(params)

    assert jnp.isnan(jax.jit(loss)(params, some))


def test_the_last_class_and_labels_of_a_wider_network_are_taken(problem, batch):
    model, params, batch_stats, _ = problem
    labels = jnp.array([0, 9], jnp.int32)
    loss = losses.on_batch(model, batch_stats, Batch(batch.images[:2], labels))
    assert jnp.isfinite(loss(params))
    assert jnp.isfinite(losses.cross_entropy(jnp.zeros((2, 12)), labels + 2))


def test_an_empty_batch_is_refused(problem, batch):
    model, params, batch_stats, _ = problem
    nothing = Batch(batch.images[:0], batch.labels[:0])
    for act in (
        lambda: losses.on_batch(model, batch_stats, nothing),
        lambda: losses.pooled_statistics(model, params, batch_stats, batch.images[None, :0]),
        lambda: losses.pooled_statistics(model, params, batch_stats, batch.images[None][:0]),
    ):
        with pytest.raises(UsageError, match="give at least one"):
            act()


def test_one_image_is_refused_where_statistics_of_the_batch_are_taken(problem, batch):
    model, params, batch_stats, _ = problem
    alone = Batch(batch.images[:1], batch.labels[:1])
    options = {"centre": params, "calibration": batch.images[None]}
    for given, statistics, refused in [
        (alone, "batch", True),
        (alone, "frozen", True),
        (alone, "running", False),
        (alone, "recalibrated", False),
        (Batch(batch.images[:2], batch.labels[:2]), "batch", False),
    ]:
        if refused and batch_stats:
            with pytest.raises(UsageError, match=r"a batch of one image.*'running'"):
                losses.on_batch(model, batch_stats, given, statistics, **options)
        else:
            assert jnp.isfinite(
                losses.on_batch(model, batch_stats, given, statistics, **options)(params)
            )
    if batch_stats:
        with pytest.raises(UsageError, match="a batch of one image"):
            losses.pooled_statistics(model, params, batch_stats, batch.images[:, None])
        state = TrainState(jnp.int32(0), params, batch_stats, ())
        with pytest.raises(UsageError, match="a batch of one image"):
            compute_gradient(model, losses.cross_entropy, state, alone)


@pytest.mark.parametrize(
    ("objective", "labels"),
    [
        (losses.each_cross_entropy, jnp.zeros(3, jnp.int32)),
        (losses.each_cross_entropy, jnp.zeros((2, 9))),
        (losses.each_squared_error, jnp.zeros(3, jnp.int32)),
        (losses.each_squared_error, jnp.zeros((2, 1))),
        (losses.each_squared_error, jnp.zeros(2)),
    ],
)
def test_labels_that_do_not_fit_the_logits_are_refused(objective, labels):
    each = inspect.unwrap(objective)
    with pytest.raises(UsageError, match=r"and logits \(2, 10\): give whole numbers \(2,\)"):
        each(jnp.zeros((2, 10)), labels)
