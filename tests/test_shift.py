"""Internal covariate shift against its definition, written with plain loops."""

from collections import OrderedDict

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from perceptron import PERCEPTRON, perceptron

from bnjax import probes
from bnjax.errors import UsageError


def twin(loss, params, next_params, layers):
    """A whole gradient at each mixed point, layer by layer."""
    gradient = jax.jit(jax.grad(loss))
    before, rows = gradient(params), []
    for position, name in enumerate(layers):
        mixed = {**params, **{below: next_params[below] for below in layers[:position]}}
        g, there = (np.asarray(ravel_pytree(x[name])[0]) for x in (before, gradient(mixed)))
        distance, length = np.linalg.norm(g - there), np.linalg.norm(g)
        rows.append((distance, distance / length, g @ there / (length * np.linalg.norm(there))))
    return np.array(rows).T


def after_a_step(loss, params, step_size=0.3):
    return jax.tree.map(lambda p, g: p - step_size * g, params, jax.jit(jax.grad(loss))(params))


def columns(shift):
    return np.stack([shift.distances, shift.relative_distances, shift.cosines])


def assert_is_its_definition(loss, params, layers):
    before, next_params = jax.tree.map(np.array, params), after_a_step(loss, params)
    shift = jax.jit(lambda p, q: probes.shift(loss, p, q))(params, next_params)
    assert shift.layers == layers
    expected = twin(loss, params, next_params, layers)
    np.testing.assert_allclose(columns(shift), expected, rtol=1e-9, atol=1e-13)
    assert shift.distances[0] == 0
    assert (shift.distances[1:] > 0).all()
    chex.assert_trees_all_equal(params, before)
    return next_params, columns(shift)


def test_shift_of_a_network_equals_its_definition_in_float64(problem):
    _, params, _, loss = problem
    assert_is_its_definition(loss, params, ("conv1", "conv2", "output"))


def test_layers_are_ordered_by_use_and_some_with_a_known_gradient_give_the_same_numbers():
    next_params, whole = assert_is_its_definition(perceptron, PERCEPTRON, ("in", "body", "out"))
    gradient = jax.grad(perceptron)(PERCEPTRON)
    some = probes.shift(
        jax.jit(perceptron), PERCEPTRON, next_params, layers=("out", "body"), gradient=gradient
    )
    assert some.layers == ("out", "body")
    np.testing.assert_allclose(columns(some), whole[:, [2, 1]], rtol=1e-9)


def test_without_a_step_there_is_no_shift():
    shift = probes.shift(perceptron, PERCEPTRON, PERCEPTRON)
    np.testing.assert_allclose(shift.distances, 0, atol=1e-12)
    np.testing.assert_allclose(shift.cosines, 1, rtol=1e-12)


def test_the_part_below_a_layer_is_not_run_again():
    """Counted in the program: a chain of k products needs k forward and the rest of each tail."""

    def loss(params):
        x = jnp.ones((2, 2))
        for name in sorted(params):
            x = jnp.tanh(params[name] @ x)
        return jnp.sum(x)

    params = {f"w{index}": jnp.full((2, 2), 0.1 * index) for index in range(6)}
    measure = jax.jit(lambda p, q: probes.shift(loss, p, q, gradient=p).distances)
    program = measure.lower(params, params).as_text()
    tails = sum(6 - position for position in range(6))  # as many forward as backward
    assert program.count("dot_general") <= 6 + 2 * tails


A, B = {"a": jnp.ones(2)}, {"b": jnp.ones(2)}
WHOLE = {"params": {"a": {"w": jnp.ones(2)}, "b": {"w": jnp.ones(2)}}}
INNER = r"one entry, 'params'.* give params\['params'\]"


def total(tree):
    return jnp.sum(tree["a"])


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: probes.shift(total, [jnp.ones(2)], [jnp.ones(2)]), "params is a list"),
        (lambda: probes.shift(total, WHOLE, WHOLE), INNER),
        (lambda: probes.layer_order(total, WHOLE), INNER),
        (lambda: probes.shift(total, A, B), "next_params has the structure"),
        (
            lambda: probes.shift(total, A, {"a": jnp.ones(3)}),
            r"next_params has shape \(3,\) at a, params \(2,\)",
        ),
        (lambda: probes.shift(lambda tree: tree["a"], A, A), "must return one scalar"),
        (lambda: probes.layer_order(lambda tree: tree["a"], A), "must return one scalar"),
        (
            lambda: probes.shift(total, A | B, A | B, layers=("b",)),
            r"\['b'\] are not used by the loss: choose from \['a'\]",
        ),
        (
            lambda: probes.shift(total, A, A, layers="a"),
            r"layers='a' must be a sequence of names: give \['a'\]",
        ),
        (
            lambda: probes.shift(total, A, A, layers=()),
            r"no layer is to be measured: choose from \['a'\]",
        ),
    ],
)
def test_shift_refuses_what_it_cannot_measure(act, message):
    with pytest.raises(UsageError, match=message):
        act()


@pytest.mark.parametrize("early", ["cast", "penalty", "norm"])
def test_what_is_made_of_one_layer_alone_is_no_use_of_it(early):
    def loss(params):
        shown = {name: params[name]["kernel"] for name in ("out", "body", "in")}  # from above
        if early == "penalty":
            return sum(jnp.sum(w**2) for w in shown.values()) + perceptron(params)
        if early == "cast":
            changed = {name: w.astype(jnp.float32).astype(w.dtype) for name, w in shown.items()}
        else:
            changed = {name: w / jnp.linalg.norm(w) for name, w in shown.items()}
        return perceptron({name: {"kernel": w} for name, w in changed.items()})

    assert probes.layer_order(loss, PERCEPTRON) == ("in", "body", "out")
    measured = probes.shift(loss, PERCEPTRON, after_a_step(loss, PERCEPTRON, step_size=3.0))
    assert measured.distances[0] < 1e-12
    assert (measured.distances[1:] > 1e-5).all()


def test_an_ordered_mapping_is_measured_as_a_dict():
    after = after_a_step(perceptron, PERCEPTRON)
    expected = probes.shift(perceptron, PERCEPTRON, after)
    ordered = probes.shift(perceptron, OrderedDict(PERCEPTRON), OrderedDict(after))
    assert ordered.layers == expected.layers == ("in", "body", "out")
    np.testing.assert_array_equal(ordered.distances, expected.distances)


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
