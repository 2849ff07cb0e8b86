"""Internal covariate shift against its definition, written with plain loops."""

from collections import OrderedDict

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bnjax import probes
from bnjax.errors import UsageError

LAYERS = ("conv1", "conv2", "output")


def flatten(tree):
    return np.concatenate([np.asarray(leaf).ravel() for leaf in jax.tree.leaves(tree)])


def twin(loss, params, next_params, layers):
    """A whole gradient at each mixed point, layer by layer."""
    before = jax.grad(loss)(params)
    rows = []
    for position, name in enumerate(layers):
        mixed = {**params, **{below: next_params[below] for below in layers[:position]}}
        g, there = flatten(before[name]), flatten(jax.grad(loss)(mixed)[name])
        distance = np.linalg.norm(g - there)
        cosine = g @ there / (np.linalg.norm(g) * np.linalg.norm(there))
        rows.append((distance, distance / np.linalg.norm(g), cosine))
    return np.array(rows).T


def after_a_step(loss, params, step_size=0.3):
    return jax.tree.map(lambda p, g: p - step_size * g, params, jax.grad(loss)(params))


def columns(shift):
    return np.stack([shift.distances, shift.relative_distances, shift.cosines])


def test_shift_equals_its_definition_in_float64(problem):
    _, params, _, loss = problem
    next_params = after_a_step(loss, params)
    shift = jax.jit(lambda p, q: probes.shift(loss, p, q))(params, next_params)
    assert shift.layers == LAYERS
    np.testing.assert_allclose(
        columns(shift), twin(loss, params, next_params, LAYERS), rtol=1e-9, atol=1e-14
    )
    assert shift.distances[0] == 0
    assert (shift.distances[1:] > 0).all()


def test_some_layers_and_a_known_gradient_give_the_same_numbers(problem):
    _, params, _, loss = problem
    next_params = after_a_step(loss, params)
    whole = probes.shift(loss, params, next_params)
    some = probes.shift(
        jax.jit(loss),
        params,
        next_params,
        layers=("output", "conv2"),
        gradient=jax.grad(loss)(params),
    )
    assert some.layers == ("output", "conv2")
    np.testing.assert_allclose(columns(some), columns(whole)[:, [2, 1]], rtol=1e-9)


def test_without_a_step_there_is_no_shift(problem):
    _, params, _, loss = problem
    shift = probes.shift(loss, params, params)
    np.testing.assert_allclose(shift.distances, 0, atol=1e-12)
    np.testing.assert_allclose(shift.cosines, 1, rtol=1e-12)


def test_layers_are_ordered_by_use_and_not_by_name():
    def loss(params):
        x = jnp.ones(3)
        for name in ("z", "b10", "b9", "a"):
            x = jnp.tanh(params[name]["w"] @ x)
        return jnp.sum(x)

    keys = dict(zip(("a", "b9", "b10", "z"), jax.random.split(jax.random.key(0), 4), strict=True))
    params = {name: {"w": jax.random.normal(key, (3, 3))} for name, key in keys.items()}
    next_params = after_a_step(loss, params)
    shift = probes.shift(loss, params, next_params)
    assert shift.layers == ("z", "b10", "b9", "a")
    np.testing.assert_allclose(
        columns(shift), twin(loss, params, next_params, shift.layers), rtol=1e-9, atol=1e-13
    )


def test_the_part_below_a_layer_is_not_run_again():
    """Counted in the program: a chain of k products needs k forward and the rest of each tail."""

    def loss(params):
        x = jnp.ones((2, 2))
        for name in sorted(params):
            x = jnp.tanh(params[name] @ x)
        return jnp.sum(x)

    keys = jax.random.split(jax.random.key(0), 6)
    params = {f"w{index}": jax.random.normal(key, (2, 2)) for index, key in enumerate(keys)}
    measure = jax.jit(lambda p, q: probes.shift(loss, p, q, gradient=p).distances)
    program = measure.lower(params, params).as_text()
    forward = 6 + sum(6 - position for position in range(6))
    backward = sum(6 - position for position in range(6))
    assert program.count("dot_general") <= forward + backward


def test_shift_leaves_its_arguments_alone(problem):
    _, params, _, loss = problem
    before = jax.tree.map(np.array, params)
    probes.shift(loss, params, after_a_step(loss, params))
    chex.assert_trees_all_equal(params, before)


def test_shift_refuses_what_it_cannot_measure():
    params = {"a": jnp.ones(2)}

    def loss(tree):
        return jnp.sum(tree["a"])

    with pytest.raises(UsageError, match="params is a list"):
        probes.shift(loss, [jnp.ones(2)], [jnp.ones(2)])
    whole = {"params": {"a": {"w": jnp.ones(2)}, "b": {"w": jnp.ones(2)}}}
    for measure in (probes.layer_order, lambda loss, tree: probes.shift(loss, tree, tree)):
        with pytest.raises(UsageError, match=r"one entry, 'params'.* give params\['params'\]"):
            measure(loss, whole)
    with pytest.raises(UsageError, match="next_params has the structure"):
        probes.shift(loss, params, {"b": jnp.ones(2)})
    with pytest.raises(UsageError, match=r"next_params has shape \(3,\) at a, params \(2,\)"):
        probes.shift(loss, params, {"a": jnp.ones(3)})
    with pytest.raises(UsageError, match="must return one scalar"):
        probes.shift(lambda tree: tree["a"], params, params)
    with pytest.raises(UsageError, match="must return one scalar"):
        probes.layer_order(lambda tree: tree["a"], params)
    with pytest.raises(UsageError, match=r"\['b'\] are not used by the loss: choose from \['a'\]"):
        probes.shift(loss, params, params, layers=("b",))


@pytest.mark.parametrize("early", ["cast", "penalty", "norm"])
def test_what_is_made_of_one_layer_alone_is_no_use_of_it(early):
    x = jnp.array([1.0, -2.0])

    def plain(params):
        hidden = jnp.tanh(x.astype(params["in"].dtype) @ params["in"])
        return jnp.tanh(hidden @ params["body"]) @ params["out"]

    def loss(params):
        shown = {name: params[name] for name in ("out", "body", "in")}  # read from above to below
        if early == "cast":
            return plain({name: w.astype(jnp.float32) for name, w in shown.items()})
        if early == "penalty":
            return sum(jnp.sum(w**2) for w in shown.values()) + plain(params)
        return plain({name: w / jnp.linalg.norm(w) for name, w in shown.items()})

    keys = jax.random.split(jax.random.key(0), 3)
    params = {
        "body": jax.random.normal(keys[0], (2, 2)),
        "in": jax.random.normal(keys[1], (2, 2)),
        "out": jax.random.normal(keys[2], (2,)),
    }
    assert probes.layer_order(loss, params) == ("in", "body", "out")
    measured = probes.shift(loss, params, after_a_step(loss, params))
    assert measured.distances[0] < 1e-7
    assert (measured.distances[1:] > 1e-3).all()


def test_layers_that_are_none_are_refused():
    params = {"a": jnp.ones(2)}
    with pytest.raises(UsageError, match=r"layers='a' must be a sequence of names: give \['a'\]"):
        probes.shift(lambda tree: jnp.sum(tree["a"]), params, params, layers="a")
    with pytest.raises(UsageError, match=r"no layer is to be measured: choose from \['a'\]"):
        probes.shift(lambda tree: jnp.sum(tree["a"]), params, params, layers=())


def test_an_ordered_mapping_is_measured_as_a_dict():
    def loss(params):
        return jnp.sum(jnp.sin(params["b"] @ jnp.cos(params["a"])))

    before = {"b": jnp.arange(4.0).reshape(2, 2), "a": jnp.array([1.0, 2.0])}
    after = jax.tree.map(lambda leaf: leaf + 0.5, before)
    expected = probes.shift(loss, before, after)
    ordered = probes.shift(loss, OrderedDict(before), OrderedDict(after))
    assert ordered.layers == expected.layers == ("a", "b")
    np.testing.assert_array_equal(ordered.distances, expected.distances)
    assert ordered.distances[0] == 0


def test_a_weight_that_is_used_again_higher_up_is_updated_there_too():
    def loss(params):
        return jnp.sin(params["a"]) * params["b"] * params["a"] * params["c"]

    before = {"a": jnp.array(2.0), "b": jnp.array(3.0), "c": jnp.array(5.0)}
    after = {"a": jnp.array(1.5), "b": jnp.array(2.5), "c": jnp.array(0.0)}
    measured = probes.shift(loss, before, after)
    assert measured.layers == ("a", "b", "c")
    expected = [0.0, 5 * abs(np.sin(2.0) * 2 - np.sin(1.5) * 1.5)]
    expected.append(abs(np.sin(2.0) * 3 * 2 - np.sin(1.5) * 2.5 * 1.5))
    np.testing.assert_allclose(measured.distances, expected, atol=1e-12)
