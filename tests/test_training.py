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
from bnjax.studies.landscape import measure as landscape
from bnjax.train import Probe, loop, optimizers, step

KEY = jax.random.key(5)


def start(dataset, norm="batch", lr=0.1, batch_size=16, augmented=False, block_steps=1):
    """Program, pipeline and a function that makes the first state anew (states are donated)."""
    model = tiny_model(norm)
    optimizer = optax.sgd(lr, momentum=0.9)
    pipeline = data.make_pipeline(dataset, batch_size, augmented=augmented)
    program = train.make_program(model, optimizer, pipeline, block_steps=block_steps)
    images = jnp.zeros((2, *dataset.train.pixels.shape[1:]), jnp.float32)
    return model, program, pipeline, lambda: train.init_state(model, optimizer, KEY, images)


def line_probe(model, pipeline, when, **options):
    loss = step.make_loss(model, pipeline)
    step_sizes = np.array([0.05, 0.1], np.float32)
    directions = ("gradient", "random")
    return Probe(when, landscape.make_line(loss, step_sizes, KEY, directions=directions, **options))


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_probing_leaves_training_bit_for_bit_as_it_was(noise_dataset, norm):
    model, program, pipeline, init = start(noise_dataset, norm, augmented=True)
    probe = line_probe(model, pipeline, lambda step: True)

    def train(probes):
        steps = loop.run(
            program, pipeline, noise_dataset.train, KEY, init(), start=0, stop=5, probes=probes
        )
        return [(progress.metrics, jax.tree.map(np.array, progress.state)) for progress in steps]

    chex.assert_trees_all_equal(train({}), train({"line": probe}))


def test_a_probe_sees_the_batch_and_the_parameters_before_the_update(noise_dataset):
    model, program, pipeline, init = start(noise_dataset)
    probe = line_probe(model, pipeline, loop.every(2))
    steps = loop.run(
        program, pipeline, noise_dataset.train, KEY, init(), start=0, stop=5, probes={"line": probe}
    )
    progress = list(steps)
    assert [each.step for each in progress if each.measured] == [0, 2, 4]
    for each in progress[::2]:
        np.testing.assert_allclose(each.measured["line"].loss[0], each.metrics.loss, rtol=1e-5)
        norm = each.measured["line"].gradient_norm[0]
        np.testing.assert_allclose(norm, each.metrics.gradient_norm, rtol=1e-4)


@pytest.mark.full  # many compiles
def test_training_s_own_gradient_serves_as_the_centre(noise_dataset):
    model, program, pipeline, init = start(noise_dataset)
    probes = {
        name: line_probe(model, pipeline, loop.every(1), reuse_gradient=reuse)
        for name, reuse in (("anew", False), ("reused", True))
    }
    for progress in loop.run(
        program, pipeline, noise_dataset.train, KEY, init(), start=0, stop=3, probes=probes
    ):
        chex.assert_trees_all_close(*progress.measured.values(), rtol=1e-3)
        assert progress.measured["reused"].loss[0] == progress.metrics.loss


def test_nothing_compiles_twice_in_a_run(noise_dataset):
    model, program, pipeline, init = start(noise_dataset)
    probe = line_probe(model, pipeline, loop.every(1))
    for _ in loop.run(
        program, pipeline, noise_dataset.train, KEY, init(), start=0, stop=8, probes={"line": probe}
    ):
        pass
    assert program.gradient._cache_size() == 1
    assert program.update._cache_size() == 1
    assert program.batch._cache_size() == 1
    assert probe.measure.func._cache_size() == 1


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_blocks_of_steps_agree_with_single_steps(noise_dataset, norm):
    probe = lambda model, pipeline: line_probe(model, pipeline, loop.every(5))  # noqa: E731

    def train(block_steps):
        model, program, pipeline, init = start(noise_dataset, norm, block_steps=block_steps)
        steps = loop.run(
            program,
            pipeline,
            noise_dataset.train,
            KEY,
            init(),
            start=0,
            stop=13,
            probes={"line": probe(model, pipeline)},
        )
        columns, spans = [], []
        for each in steps:
            spans.append((each.step, each.stop))
            taken = each.stop - each.step
            columns.append([np.atleast_1d(field)[:taken] for field in each.metrics])
        rows = [np.concatenate(field).astype(np.float32) for field in zip(*columns, strict=True)]
        return rows, spans, program, pipeline, jax.tree.map(np.array, each.state)

    single, _, _, _, last = train(1)
    blocks, spans, program, pipeline, block_last = train(3)
    assert [first for first, _ in spans[1:]] == [stop for _, stop in spans[:-1]]
    assert (spans[0], spans[-1][1]) == ((0, 1), 13)
    assert {(5, 6), (10, 11)} < set(spans)
    assert {stop - first for first, stop in spans} == {1, 2, 3}
    assert all(pipeline.epoch(first) == pipeline.epoch(stop - 1) for first, stop in spans)
    assert program.block._cache_size() == 1
    chex.assert_trees_all_close(
        blocks, [jax.tree.map(np.float32, row) for row in single], rtol=1e-4
    )
    chex.assert_trees_all_close(block_last, last, rtol=1e-3, atol=1e-6)


def test_a_block_ends_at_the_step_that_is_not_finite(noise_dataset):
    _, program, pipeline, init = start(noise_dataset, "none", lr=1e30, block_steps=6)
    [first, *_] = loop.run(
        program, pipeline, noise_dataset.train, KEY, init(), start=0, stop=4, probes={}
    )
    finite = np.asarray(first.metrics.finite)
    ended = int(np.flatnonzero(finite == 0)[0])
    assert 0 < ended < 3
    assert (finite[:ended] == 1).all()
    assert np.isnan(finite[ended + 1 :]).all()
    assert int(first.state.step) == ended + 1


def test_starting_in_the_middle_continues_bit_for_bit(noise_dataset):
    _, program, pipeline, init = start(noise_dataset, augmented=True)

    def states(first, state, last):
        steps = loop.run(
            program, pipeline, noise_dataset.train, KEY, state, start=first, stop=last, probes={}
        )
        return [jax.tree.map(np.array, progress.state) for progress in steps]

    whole = states(0, init(), 7)
    later = states(4, jax.tree.map(jnp.asarray, whole[3]), 7)
    chex.assert_trees_all_equal(whole[4:], later)


def test_training_improves_on_digits():
    digits = data.load("digits")
    model, program, pipeline, init = start(digits, lr=0.05, batch_size=64)
    evaluate = train.make_evaluate(model, digits)
    state = init()
    before = evaluate(state.params, state.batch_stats, digits.test)
    history = []
    for progress in loop.run(
        program, pipeline, digits.train, KEY, state, start=0, stop=60, probes={}
    ):
        history.append(float(progress.metrics.loss))
        state = progress.state
    after = evaluate(state.params, state.batch_stats, digits.test)
    assert np.mean(history[-5:]) < 0.3 * np.mean(history[:5])
    assert after.accuracy > 0.8 > before.accuracy


def test_a_step_that_is_not_finite_changes_nothing_but_the_counter(noise_dataset):
    _, program, pipeline, init = start(noise_dataset, norm="none")
    state = init()
    poisoned = state._replace(params=jax.tree.map(lambda p: 1e20 * p, state.params))
    kept = jax.tree.map(np.array, poisoned)
    batch = program.batch(noise_dataset.train, pipeline.order(KEY, 0), KEY, jnp.int32(0))
    after, metrics = program.update(poisoned, program.gradient(poisoned, batch))
    assert not metrics.finite
    assert not np.isfinite(metrics.loss)
    chex.assert_trees_all_equal(after._replace(step=0), kept._replace(step=0))
    assert after.step == 1


def test_evaluation_counts_every_image_once_whatever_the_chunk(noise_dataset):
    model, _, _, init = start(noise_dataset)
    state = init()
    results = [
        train.make_evaluate(model, noise_dataset, chunk=chunk)(
            state.params, state.batch_stats, noise_dataset.train
        )
        for chunk in (50, 16, 500)
    ]
    images = data.make_pipeline(noise_dataset, 2).standardise(noise_dataset.train.pixels)
    logits, _ = model.apply(state.params, state.batch_stats, images, train=False)
    loss = losses.cross_entropy(logits, noise_dataset.train.labels)
    for result in results:
        np.testing.assert_allclose(result.loss, loss, rtol=1e-5)
        assert result.accuracy == results[0].accuracy


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
    }[name]
    state, expected_state = ours.init(params), reference.init(params)
    for gradient in gradients:
        updates, state = ours.update(gradient, state, params)
        decay = 0.0 if name == "adamw" else 0.01  # whose decay is no part of the gradient
        decayed = jax.tree.map(lambda g, w, decay=decay: g + decay * w, gradient, params)
        expected, expected_state = reference.update(decayed, expected_state, params)
        chex.assert_trees_all_close(updates, expected, rtol=1e-12)
