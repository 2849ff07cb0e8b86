"""Internal covariate shift against its definition, written with plain loops."""

from collections import OrderedDict

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx
from jax.flatten_util import ravel_pytree
from perceptron import PERCEPTRON, perceptron

from bnjax import probes
from bnjax.arithmetic import trees
from bnjax.arithmetic.trees import Selection
from bnjax.errors import UsageError
from bnjax.models import Model, layer_names, norms, resnet
from bnjax.studies.shift.measure import make_shift
from bnjax.train.step import Gradient, TrainState


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
TWO = {"a": jnp.array(1.0), "b": jnp.array(2.0)}
WHOLE = {"params": {"a": {"w": jnp.ones(2)}, "b": {"w": jnp.ones(2)}}}
INNER = r"one entry, 'params'.* give params\['params'\]"


def total(tree):
    return jnp.sum(tree["a"])


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda: probes.shift(jnp.sum, jnp.ones(2), jnp.ones(2)), "it must map the names of la"),
        (
            lambda: probes.shift(lambda tree: tree["a"] * tree["b"], TWO, TWO, order="a"),
            r"order='a' must have each layer of the loss once: \['a', 'b'\]",
        ),
        (lambda: probes.shift(total, WHOLE, WHOLE), INNER),
        (lambda: probes.layer_order(total, WHOLE), INNER),
        (lambda: probes.shift(total, A, B), "next_params has another structure"),
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


DEPTH, WIDTH = 11, 3
X = jnp.sin(jnp.arange(12.0, dtype=jnp.float64)).reshape(4, WIDTH)


def draw(seed, *shape):
    return 0.7 * jax.random.normal(jax.random.key(seed), shape, jnp.float64)


def dense(x, layer):
    return jnp.tanh(x @ layer["kernel"] + layer["bias"][None])


def chain(layers):
    """A loss of layers one above the other; twelve, so that names and numbers differ in order."""
    x = X
    for layer in layers:
        x = dense(x, layer)
    return jnp.mean(x**2)


LAYERS = [{"kernel": draw(i, WIDTH, WIDTH), "bias": draw(50 + i, WIDTH)} for i in range(DEPTH)]
STACK = jax.tree.map(lambda *rows: jnp.stack(rows), *LAYERS)
NUMBERS = tuple(map(str, range(DEPTH)))
NAMED = {f"conv{i + 1}": layer for i, layer in enumerate(LAYERS)}


def scan(stack, body=dense, reverse=False):
    x, _ = jax.lax.scan(lambda x, layer: (body(x, layer), None), X, stack, reverse=reverse)
    return jnp.mean(x**2)


HALF = jnp.asarray(np.arange(DEPTH * WIDTH**2).reshape(DEPTH, WIDTH, WIDTH) % 2 + 0.5)
CONTAINERS = {
    "list": (LAYERS, chain, NUMBERS),
    "tuple in a dict": (
        {"net": {"blocks": tuple(LAYERS)}},
        lambda params: chain(params["net"]["blocks"]),
        tuple(f"net/blocks/{i}" for i in NUMBERS),
    ),
    "pairs": (
        [(layer["kernel"], layer["bias"]) for layer in LAYERS],
        lambda params: chain([{"kernel": w, "bias": b} for w, b in params]),
        NUMBERS,
    ),
    "scan": ({"stage": STACK}, lambda params: scan(params["stage"]), "stage"),
    "scan of all": (STACK, scan, NUMBERS),
    "scan backwards": (
        jax.tree.map(lambda leaf: leaf[::-1], STACK),
        lambda params: scan(params, reverse=True),
        NUMBERS[::-1],
    ),
    "scan of casts, computed again": (
        {"stage": STACK},
        lambda params: scan(
            jax.tree.map(lambda leaf: 1.0 * leaf, params["stage"]), jax.checkpoint(dense)
        ),
        "stage",
    ),
    "scan of scans": (
        {"stage": jax.tree.map(lambda leaf: leaf[:10].reshape(2, 5, *leaf.shape[1:]), STACK)},
        lambda params: scan_of_scans(params["stage"]),
        tuple(f"stage/{i // 5}/{i % 5}" for i in range(10)),
    ),
}

CONTAINERS["two scans"] = (
    {
        name: jax.tree.map(lambda leaf, a=a: leaf[a : a + 5], STACK)
        for a, name in ((0, "z"), (5, "a"))
    },
    lambda params: two_scans(params["z"], params["a"]),
    (*(f"z/{i}" for i in range(5)), *(f"a/{i}" for i in range(5))),
)


def two_scans(low, high):
    def body(x, layer):
        return dense(x, layer), None

    return jnp.mean(jax.lax.scan(body, jax.lax.scan(body, X, low)[0], high)[0] ** 2)


def scan_of_scans(stack):
    def body(x, rows):
        return jax.lax.scan(lambda x, layer: (dense(x, layer), None), x, rows)

    return jnp.mean(jax.lax.scan(body, X, stack)[0] ** 2)


@pytest.mark.parametrize("case", CONTAINERS)
def test_each_block_of_a_list_a_tuple_or_a_scan_is_a_layer(case):
    params, loss, names = CONTAINERS[case]
    names = tuple(f"stage/{i}" for i in NUMBERS) if names == "stage" else names
    if len(names) == 10:  # of the first ten
        found = probes.shift(loss, params, after_a_step(loss, params))
        assert found.layers == names
        apart = dict(zip(names, LAYERS[:10], strict=True))
        whole = lambda layers: chain([layers[name] for name in names])  # noqa: E731
        expected = twin(whole, apart, after_a_step(whole, apart), names)
        np.testing.assert_allclose(columns(found), expected, rtol=1e-7, atol=1e-12)
        return
    apart = with_constants(lambda i, w: w)
    expected = twin(apart, NAMED, after_a_step(apart, NAMED), tuple(NAMED))
    found = jax.jit(lambda p, q: probes.shift(loss, p, q))(params, after_a_step(loss, params))
    assert found.layers == names
    np.testing.assert_allclose(columns(found), expected, rtol=1e-7, atol=1e-12)
    assert probes.layer_order(loss, params) == names


def with_constants(change):
    """A loss that changes all its weights by constants before it uses one; JAX sorts them."""

    def loss(params):
        kernels = {name: change(int(name[4:]) - 1, params[name]["kernel"]) for name in params}
        return chain([{**params[name], "kernel": kernels[name]} for name in NAMED])

    return loss


CHANGES = {
    "mask": lambda i, w: w * HALF[i],
    "boolean mask": lambda i, w: jnp.where(HALF[i] > 1, w, 0.0),
    "scale": lambda i, w: w * HALF[i, :1],
    "frozen adapter": lambda i, w: w + HALF[i] @ HALF[0],
    "scaled by its norm, then masked": lambda i, w: w / jnp.linalg.norm(w) * HALF[i],
    "pruned rows": lambda i, w: w.at[jnp.array([1, 2])].set(0.0),
}


@pytest.mark.parametrize("change", CHANGES)
def test_layers_stand_in_the_order_of_activations_where_weights_meet_constants_first(change):
    """By name conv10 would come after conv1."""
    loss = with_constants(CHANGES[change])
    assert probes.layer_order(loss, NAMED) == tuple(NAMED)
    found = probes.shift(
        loss, NAMED, after_a_step(loss, NAMED), layers=["conv1", "conv2", "conv11"]
    )
    assert found.distances[0] < 1e-12
    assert (found.distances[1:] > 0).all()


@pytest.mark.parametrize("around", [jax.jit, jax.checkpoint], ids=["jit", "checkpoint"])
def test_a_call_around_the_whole_loss_does_not_hide_the_order(around):
    assert probes.layer_order(around(with_constants(CHANGES["mask"])), NAMED) == tuple(NAMED)


def test_a_masked_scan_has_its_rows_in_order():
    def loss(params):
        return scan({**params, "kernel": params["kernel"] * HALF})

    assert probes.layer_order(loss, STACK) == NUMBERS
    expected = with_constants(CHANGES["mask"])
    found = probes.shift(loss, STACK, after_a_step(loss, STACK))
    rows = twin(expected, NAMED, after_a_step(expected, NAMED), tuple(NAMED))
    np.testing.assert_allclose(columns(found), rows, rtol=1e-7, atol=1e-12)


def test_a_table_that_is_added_to_the_data_comes_first():
    def loss(params):
        kernels = [{**layer, "kernel": w} for layer, w in zip(LAYERS, params["w"], strict=True)]
        x = X + params["places"][None]
        for layer in kernels:
            x = dense(x, layer)
        return jnp.mean(x**2)

    params = {"places": draw(99, WIDTH), "w": [layer["kernel"] for layer in LAYERS]}
    assert probes.layer_order(loss, params) == ("places", "w")


def test_an_order_that_is_given_holds():
    def loss(params):  # each weight has a product with a constant of its own, before all else
        kernels = {name: params[name]["kernel"] @ HALF[0] for name in params}
        return chain([{**params[name], "kernel": kernels[name]} for name in NAMED])

    after = after_a_step(loss, NAMED)
    assert probes.layer_order(loss, NAMED) == tuple(sorted(NAMED))
    found = probes.shift(loss, NAMED, after, order=list(NAMED))
    assert found.layers == tuple(NAMED)
    np.testing.assert_allclose(
        columns(found), twin(loss, NAMED, after, tuple(NAMED)), rtol=1e-9, atol=1e-12
    )


def test_modules_of_nnx_and_equinox_fall_into_their_layers():
    random = nnx.Rngs(0)
    linears = [nnx.Linear(WIDTH, WIDTH, rngs=random, param_dtype=jnp.float64) for _ in range(11)]
    graph, params = nnx.split(nnx.Sequential(*linears))

    def nnx_loss(params):
        return jnp.mean(jnp.square(nnx.merge(graph, params)(X)))

    found = probes.shift(nnx_loss, params, after_a_step(nnx_loss, params))
    assert found.layers == tuple(f"layers/{i}" for i in range(11))
    eqx = pytest.importorskip("equinox", reason="pip install 'bnjax[notebooks]'")
    whole = eqx.nn.MLP(WIDTH, WIDTH, 8, 11, key=jax.random.key(0), dtype=jnp.float64)
    params, static = eqx.partition(whole, eqx.is_inexact_array)

    def equinox_loss(params):
        return jnp.mean(jnp.square(jax.vmap(eqx.combine(params, static))(X)))

    found = probes.shift(equinox_loss, params, after_a_step(equinox_loss, params))
    assert found.layers == tuple(f"layers/{i}" for i in range(12))
    assert (found.distances[1:] > 0).all()


class Rows(nn.Module):
    """The body of a scan of linen's own."""

    @nn.compact
    def __call__(self, x, _):
        return jnp.tanh(nn.Dense(WIDTH, param_dtype=jnp.float64)(x)), None


def test_a_scan_of_linen_counts_row_by_row():
    scanned = nn.scan(Rows, {"params": 0}, split_rngs={"params": True}, length=3)
    params = {"rows": scanned().init(jax.random.key(0), X, None)["params"]}
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.float64), params)

    def loss(params):
        return jnp.mean(jnp.square(scanned().apply({"params": params["rows"]}, X, None)[0]))

    found = probes.shift(loss, params, after_a_step(loss, params))
    assert found.layers == ("rows/0", "rows/1", "rows/2")
    assert (found.distances[1:] > 0).all()


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_convolutions_inside_the_scan_of_a_resnet_are_layers_in_the_order_of_use(norm, batch):
    """So that the study's axis of layers, which are those of the network, fits the probe."""
    model = resnet(20, norm=norms.by_name(norm), width=0.125, scan=True)
    variables = model.init(jax.random.key(0), batch.images)
    params, (split, merge) = variables["params"], model.by_layer
    chex.assert_trees_all_equal(merge(params, split(params)), params)

    def loss(layers):
        logits, _ = model.apply(
            merge(params, layers), variables["batch_stats"], batch.images, train=True
        )
        return jnp.mean(logits)

    names = layer_names(model, batch.images.shape[1:])
    assert names[:8] == ("conv1", *(f"conv{i}" for i in range(2, 9)))
    assert probes.layer_order(loss, split(params)) == names


def test_the_study_measures_a_network_by_layer_whose_parameters_are_stacked(batch):
    """A stand-in for a scanned ResNet, which takes minutes to compile."""

    class Stacked(nn.Module):
        """A module whose layers are rows of one stack."""

        @property
        def by_layer(self):
            def split(tree):
                rows = (jax.tree.map(lambda x, i=i: x[i], tree) for i in range(DEPTH))
                return dict(zip(NAMED, rows, strict=True))

            return Selection(split, lambda _, layers: trees.stack([layers[n] for n in NAMED]))

    loss, optimizer = with_constants(lambda i, w: w), optax.sgd(0.3)
    after = after_a_step(loss, NAMED)
    state = TrainState(jnp.int32(0), STACK, {}, optimizer.init(STACK))
    computed = Gradient(jnp.array(0.0), jnp.array(0.0), jax.grad(scan)(STACK), {})
    row = make_shift(lambda *_: scan, optimizer, model=Model(Stacked()))(state, batch, computed)
    np.testing.assert_allclose(
        columns(row), twin(loss, NAMED, after, tuple(NAMED)), rtol=1e-7, atol=1e-12
    )
