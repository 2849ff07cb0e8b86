"""Training of some parameters: the others keep their bits, and no optimiser sees them."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import cast, tiny_model

from bnjax import data, losses, models, train
from bnjax.arithmetic import trees
from bnjax.arithmetic.trees import leaf_names
from bnjax.errors import UsageError
from bnjax.train.step import accumulate_gradient, compute_gradient


def is_norm(name):
    return "/norm/" in name


def run_steps(model, batch, chosen, steps=3):
    """States before and after some steps of SGD with momentum and weight decay."""
    optimizer = optax.chain(optax.add_decayed_weights(0.1), optax.sgd(0.1, momentum=0.9))
    pipeline = data.Pipeline(16, 16, (0.0,) * 3, (1.0,) * 3, dtype="float64")
    program = train.make_program(model, optimizer, pipeline, selection=chosen)
    state = train.init_state(model, optimizer, jax.random.key(0), batch.images, chosen)
    before = jax.tree.map(np.array, state)
    for _ in range(steps):
        state, _ = program.update(state, program.gradient(state, batch))
    return before, state


def changed(before, after):
    names = leaf_names(before.params)
    pairs = zip(jax.tree.leaves(before.params), jax.tree.leaves(after.params), strict=True)
    return {name: np.asarray(a) != np.asarray(b) for name, (a, b) in zip(names, pairs, strict=True)}


def test_only_the_selected_leaves_move(batch, standard_promotion):
    before, after = run_steps(tiny_model("batch"), batch, trees.leaves_where(is_norm))
    for name, moved in changed(before, after).items():
        assert moved.any() == is_norm(name), name
    kept = sum(leaf.size for leaf in jax.tree.leaves(after.opt_state))
    assert kept == sum(m.size for name, m in changed(before, after).items() if is_norm(name))


def test_only_the_selected_elements_move(batch, standard_promotion):
    model = tiny_model("batch")
    params = jax.eval_shape(model.init, jax.random.key(0), batch.images)["params"]
    places = trees.random_elements(
        jax.random.key(3), params, 40, lambda name: name.endswith("kernel")
    )
    before, after = run_steps(model, batch, trees.elements(places))
    assert sum(len(found) for found in places.values()) == 40
    for name, moved in changed(before, after).items():
        expected = np.zeros(moved.size, bool)
        expected[places.get(name, [])] = True
        assert not moved.reshape(-1)[~expected].any()
        assert moved.reshape(-1)[expected].all()
    assert sum(leaf.size for leaf in jax.tree.leaves(after.opt_state)) == 40


def test_the_gradient_of_a_selection_is_that_part_of_the_whole_gradient(batch):
    model = tiny_model("batch")
    variables = cast(model.init(jax.random.key(0), batch.images))
    state = train.TrainState(jnp.int32(0), **variables, opt_state=())
    whole = compute_gradient(model, losses.cross_entropy, state, batch)
    chosen = trees.leaves_where(is_norm)
    part = compute_gradient(model, losses.cross_entropy, state, batch, chosen)
    chex.assert_trees_all_close(part.gradient, chosen.split(whole.gradient), rtol=1e-12)
    assert len(jax.tree.leaves(part.gradient)) < len(jax.tree.leaves(whole.gradient))


def test_a_penalty_is_trained_and_the_recorded_loss_is_without_it(batch):
    model = tiny_model("batch")
    variables = cast(model.init(jax.random.key(0), batch.images))
    state = train.TrainState(jnp.int32(0), **variables, opt_state=())
    objective = losses.cross_entropy._replace(kernel_penalty=0.3)
    found = compute_gradient(model, objective, state, batch)
    loss = losses.on_batch(model, state.batch_stats, batch, objective=objective)
    bare = losses.on_batch(model, state.batch_stats, batch)
    value, gradient = jax.value_and_grad(loss)(state.params)
    chex.assert_trees_all_close((found.loss, found.gradient), (value, gradient), rtol=1e-12)
    np.testing.assert_allclose(found.minibatch_loss, bare(state.params), rtol=1e-12)
    assert found.loss > found.minibatch_loss + 0.1
    optimizer = optax.sgd(0.1)
    state = state._replace(opt_state=optimizer.init(state.params))
    _, metrics = train.step.apply_gradient(optimizer, state, found)
    assert metrics.loss == found.minibatch_loss


def test_random_elements_are_drawn_without_replacement_and_uniformly_over_leaves():
    params = {"a": jnp.zeros((10, 30)), "b": jnp.zeros(100), "c": jnp.zeros(1000)}
    places = trees.random_elements(jax.random.key(0), params, 200, lambda name: name != "c")
    for found in places.values():
        assert len(set(found.tolist())) == len(found)
    assert 130 < len(places["a"]) < 170  # 150 expected, hypergeometric deviation 5
    with pytest.raises(UsageError, match="count=101 must be from 1 to 100"):
        trees.random_elements(jax.random.key(0), params, 101, lambda name: name == "b")


@pytest.mark.full  # many compiles
@pytest.mark.parametrize("penalty", [0.0, 0.3])
@pytest.mark.parametrize("objective", ["cross_entropy", "summed_squared_error"])
def test_microbatches_add_up_to_the_gradient_of_the_batch(batch, objective, penalty):
    model = models.lenet(norm=models.norms.layer_norm(), width=0.5)
    variables = cast(model.init(jax.random.key(0), batch.images))
    state = train.TrainState(jnp.int32(0), **variables, opt_state=())
    chosen = losses.OBJECTIVES[objective]._replace(kernel_penalty=penalty)

    def compute(state, part):
        return compute_gradient(model, chosen.of_part(4), state, part)

    whole = compute_gradient(model, chosen, state, batch)
    parts = accumulate_gradient(compute, state, batch, 4, summed=chosen.summed)
    chex.assert_trees_all_close(parts, whole, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize(
    ("norm", "parts", "message"),
    [
        ("none", 3, "microbatches=3 must divide the batch of 16"),
        ("batch", 2, "their gradients do not add up"),
    ],
)
def test_microbatches_that_do_not_add_up_are_refused_with_the_reason(batch, norm, parts, message):
    variables = tiny_model(norm).init(jax.random.key(0), batch.images)
    state = train.TrainState(jnp.int32(0), **variables, opt_state=())
    with pytest.raises(UsageError, match=message):
        accumulate_gradient(lambda *_: None, state, batch, parts)
