"""Training: it learns, probes leave no trace, divergence ends it, nothing compiles twice."""

import typing

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import tiny_model

from bnjax import data, losses, train
from bnjax.errors import UsageError
from bnjax.studies.landscape import measure as landscape
from bnjax.train import Measurement, loop, optimizers, step

KEY = jax.random.key(5)


class Trainer:
    """Everything that trains the tiny network; states are made anew, as they are donated."""

    def __init__(
        self, dataset, norm="batch", lr=0.1, batch_size=16, augmented=False, block_steps=1
    ):
        self.model, self.dataset = tiny_model(norm), dataset
        self.optimizer = optax.sgd(lr, momentum=0.9)
        self.pipeline = data.make_pipeline(dataset, batch_size, augmented=augmented)
        self.program = train.make_program(
            self.model, self.optimizer, self.pipeline, block_steps=block_steps
        )

    def init(self):
        images = jnp.zeros((2, *self.dataset.train.pixels.shape[1:]), jnp.float32)
        return train.init_state(self.model, self.optimizer, KEY, images)

    def run(self, stop, probes=(), start=0, state=None):
        """What each step, or block, left: step, stop, metrics, measured, state."""
        first = self.init() if state is None else jax.tree.map(jnp.asarray, state)
        options = {"start": start, "stop": stop, "probes": dict(probes)}
        train_set = self.dataset.train
        steps = loop.run(self.program, self.pipeline, train_set, KEY, first, **options)
        return [one._replace(state=jax.tree.map(np.array, one.state)) for one in steps]

    def line(self, when, **options):
        loss, sizes = step.make_loss(self.model, self.pipeline), np.array([0.05, 0.1], np.float32)
        directions = ("gradient", "random")
        return Measurement(
            when, landscape.make_line(loss, sizes, KEY, directions=directions, **options)
        )


def test_probing_leaves_training_bit_for_bit_as_it_was_and_a_start_in_the_middle_too(
    noise_dataset,
):
    trainer = Trainer(noise_dataset, augmented=True)
    plain, probed = trainer.run(7), trainer.run(5, {"line": trainer.line(lambda step: True)})
    for one, other in zip(plain, probed, strict=False):
        chex.assert_trees_all_equal((one.metrics, one.state), (other.metrics, other.state))
    later = trainer.run(7, start=4, state=plain[3].state)
    chex.assert_trees_all_equal([one.state for one in plain[4:]], [one.state for one in later])


@pytest.mark.parametrize("reuse", [False, True])
def test_a_probe_sees_the_parameters_before_the_update_and_nothing_compiles_twice(
    noise_dataset, reuse
):
    """Training's own gradient serves centre and points."""
    trainer = Trainer(noise_dataset)
    gradient = trainer.program.gradient if reuse else None
    probe = trainer.line(loop.every(2), gradient=gradient)
    progress = trainer.run(8, {"line": probe})
    assert [each.step for each in progress if each.measured] == [0, 2, 4, 6]
    for each in progress[::2]:
        found, tolerance = each.measured["line"], 0 if reuse else 1e-5
        np.testing.assert_allclose(found.loss[0], each.metrics.loss, rtol=tolerance)
        np.testing.assert_allclose(found.gradient_norm[0], each.metrics.gradient_norm, rtol=1e-4)
    program = trainer.program
    compiled = (program.gradient, program.update, program.batch)
    assert [function._cache_size() for function in compiled] == [1, 1, 1]


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_blocks_of_steps_agree_with_single_steps(noise_dataset, norm):
    rows, states, spans = {}, {}, {}
    for size in (1, 3):
        trainer = Trainer(noise_dataset, norm, block_steps=size)
        steps = trainer.run(13, {"line": trainer.line(loop.every(5))})
        spans[size] = [(each.step, each.stop) for each in steps]
        columns = [
            [np.atleast_1d(field)[: each.stop - each.step] for field in each.metrics]
            for each in steps
        ]
        rows[size] = [
            np.concatenate(field).astype(np.float32) for field in zip(*columns, strict=True)
        ]
        states[size] = steps[-1].state
    blocks, epoch = spans[3], trainer.pipeline.epoch
    assert [first for first, _ in blocks[1:]] == [stop for _, stop in blocks[:-1]]
    assert (blocks[0], blocks[-1][1]) == ((0, 1), 13)
    assert {(5, 6), (10, 11)} < set(blocks)
    assert {stop - first for first, stop in blocks} == {1, 2, 3}
    assert all(epoch(first) == epoch(stop - 1) for first, stop in blocks)
    assert trainer.program.block._cache_size() == 1
    chex.assert_trees_all_close(rows[3], rows[1], rtol=1e-4)
    chex.assert_trees_all_close(states[3], states[1], rtol=1e-3, atol=1e-6)


def test_a_block_ends_at_the_step_that_is_not_finite(noise_dataset):
    first = Trainer(noise_dataset, "none", lr=1e30, block_steps=6).run(4)[0]
    finite = np.asarray(first.metrics.finite)
    ended = int(np.flatnonzero(finite == 0)[0])
    assert 0 < ended < 3
    assert (finite[:ended] == 1).all()
    assert np.isnan(finite[ended + 1 :]).all()
    assert int(first.state.step) == ended + 1


def test_training_improves_on_digits():
    digits = data.load("digits")
    trainer = Trainer(digits, lr=0.05, batch_size=64)
    evaluate = train.make_evaluate(trainer.model, digits)
    steps = trainer.run(60)
    before, after = (
        evaluate(state.params, state.batch_stats, digits.test)
        for state in (trainer.init(), jax.tree.map(jnp.asarray, steps[-1].state))
    )
    history = [float(each.metrics.loss) for each in steps]
    assert np.mean(history[-5:]) < 0.3 * np.mean(history[:5])
    assert after.accuracy > 0.8 > before.accuracy


def test_a_step_that_is_not_finite_changes_nothing_but_the_counter(noise_dataset):
    trainer = Trainer(noise_dataset, norm="none")
    program, state = trainer.program, trainer.init()
    poisoned = state._replace(params=jax.tree.map(lambda p: 1e20 * p, state.params))
    kept = jax.tree.map(np.array, poisoned)
    order = trainer.pipeline.order(KEY, 0)
    batch = program.batch(noise_dataset.train, order, KEY, jnp.int32(0))
    after, metrics = program.update(poisoned, program.gradient(poisoned, batch))
    assert not metrics.finite
    assert not np.isfinite(metrics.loss)
    chex.assert_trees_all_equal(after._replace(step=0), kept._replace(step=0))
    assert after.step == 1


def test_evaluation_counts_every_image_once_whatever_the_chunk(noise_dataset):
    trainer = Trainer(noise_dataset)
    model, state, examples = trainer.model, trainer.init(), noise_dataset.train
    images = trainer.pipeline.standardise(examples.pixels)
    logits, _ = model.apply(state.params, state.batch_stats, images, train=False)
    loss, accuracy = (f(logits, examples.labels) for f in (losses.cross_entropy, losses.accuracy))
    for chunk in (50, 16, 500):
        evaluate = train.make_evaluate(model, noise_dataset, chunk=chunk)
        result = evaluate(state.params, state.batch_stats, examples)
        np.testing.assert_allclose(result.loss, loss, rtol=1e-5)
        np.testing.assert_allclose(result.accuracy, accuracy, rtol=1e-6)


def test_evaluation_refuses_a_split_that_is_none(noise_dataset):
    trainer = Trainer(noise_dataset)
    state, (pixels, labels) = trainer.init(), noise_dataset.test
    evaluate = train.make_evaluate(trainer.model, noise_dataset)
    for split, message in [
        (data.Split(pixels[:0], labels[:0]), "at least one image"),
        (data.Split(pixels, labels[:3]), "one label for each image"),
        (data.Split(pixels, labels.at[1].set(12)), "to 12: of 10 classes"),
        (data.Split(pixels, labels.at[1].set(-1)), "labels are from -1"),
    ]:
        with pytest.raises(UsageError, match=message):
            evaluate(state.params, state.batch_stats, split)


def test_schedule_refuses_an_interval_below_one():
    with pytest.raises(ValueError, match="interval 0"):
        loop.every(0)


@pytest.mark.parametrize("name", typing.get_args(optimizers.OptimizerName))
def test_optimisers_by_name_take_optaxs_step_and_decay_before_it(name, standard_promotion):
    params = {"w": jnp.array([1.0, -2.0]), "b": jnp.array(3.0)}
    gradients = [jax.tree.map(lambda leaf, k=k: jnp.sin(leaf + k), params) for k in range(3)]
    ours = optimizers.by_name(name, 0.1, weight_decay=0.01)
    reference = {
        "sgd": optax.sgd(0.1),
        "momentum": optax.sgd(0.1, momentum=0.9),
        "nesterov": optax.sgd(0.1, momentum=0.9, nesterov=True),
        "adagrad": optax.adagrad(0.1),
        "rmsprop": optax.rmsprop(0.1),
        "adam": optax.adam(0.1),
        "adamw": optax.adamw(0.1, weight_decay=0.01),
        "muon": optax.nadamw(0.1, weight_decay=0.01),  # of what is no kernel
    }[name]
    state, expected_state = ours.init(params), reference.init(params)
    for gradient in gradients:
        updates, state = ours.update(gradient, state, params)
        decay = 0.0 if name in ("adamw", "muon") else 0.01  # their decay is no part of the gradient
        decayed = jax.tree.map(lambda g, w, decay=decay: g + decay * w, gradient, params)
        expected, expected_state = reference.update(decayed, expected_state, params)
        chex.assert_trees_all_close(updates, expected, rtol=1e-12)


def test_muon_turns_the_kernels_of_hidden_layers_by_all_directions_alike(standard_promotion):
    shapes = {
        "conv1": {"kernel": (3, 3, 4, 8), "bias": (8,)},
        "block/query": {"kernel": (8, 2, 4)},
        "stage": {"kernel": (3, 8, 8), "bias": (3, 8)},  # three layers of one shape
        "embed": {"embedding": (9, 8)},
        "output": {"kernel": (8, 5)},
    }
    random = np.random.default_rng(0)
    params, gradient = (
        {
            layer: {name: jnp.asarray(random.normal(size=size)) for name, size in own.items()}
            for layer, own in shapes.items()
        }
        for _ in range(2)
    )
    optimizer = optimizers.by_name("muon", 0.5, weight_decay=0.1)
    update, _ = optimizer.update(gradient, optimizer.init(params), params)
    adam = optax.nadamw(0.5, weight_decay=0.1)
    plain, _ = adam.update(gradient, adam.init(params), params)
    for layer, name in (("conv1", "bias"), ("embed", "embedding"), ("output", "kernel")):
        chex.assert_trees_all_close(update[layer][name], plain[layer][name], rtol=1e-6)
    bare = jax.tree.map(lambda step, w: step / -0.5 - 0.1 * w, update, params)
    matrices = {
        "convolution": bare["conv1"]["kernel"].reshape(36, 8),
        "query": bare["block/query"]["kernel"].reshape(8, 8),
        **{f"stage {i}": matrix for i, matrix in enumerate(bare["stage"]["kernel"])},
    }
    for name, matrix in matrices.items():
        sizes = jnp.linalg.svd(matrix, compute_uv=False) / (0.2 * max(matrix.shape) ** 0.5)
        assert (sizes > 0.6).all(), name
        assert (sizes < 1.3).all(), name
