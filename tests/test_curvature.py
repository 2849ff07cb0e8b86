"""Curvature matrices against dense ones; parts of a network; losses without a forward mode."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

from bnjax import losses, probes
from bnjax.arithmetic import trees
from bnjax.data import Batch
from bnjax.errors import UsageError

KEY = jax.random.key(0)
EXAMPLES, INPUTS, HIDDEN, CLASSES = 6, 3, 4, 3
IMAGES = jax.random.normal(jax.random.key(1), (EXAMPLES, INPUTS), jnp.float64)
LABELS = jnp.array([0, 2, 1, 1, 0, 2])
TARGETS = jax.random.normal(jax.random.key(2), (EXAMPLES, CLASSES), jnp.float64)
PARAMS = {
    "hidden": {
        "kernel": jax.random.normal(jax.random.key(3), (INPUTS, HIDDEN), jnp.float64),
        "bias": jnp.linspace(-0.5, 0.5, HIDDEN),
    },
    "output": {"kernel": jax.random.normal(jax.random.key(4), (HIDDEN, CLASSES), jnp.float64)},
}
POINT, UNRAVEL = ravel_pytree(PARAMS)
VECTOR = jax.random.normal(jax.random.key(5), POINT.shape, jnp.float64)
cross_entropy = optax.losses.softmax_cross_entropy_with_integer_labels


def network(params, images=IMAGES):
    hidden = images @ params["hidden"]["kernel"] + params["hidden"]["bias"][None]
    return jnp.tanh(hidden) @ params["output"]["kernel"]


def half_square(outputs, targets):
    return 0.5 * jnp.sum((outputs - targets) ** 2, axis=-1)


def composite(summed=False, squared=False):
    if squared:
        return probes.Composite(network, half_square, TARGETS, losses.sample_targets, summed)
    return probes.Composite(network, cross_entropy, LABELS, jax.random.categorical, summed)


@functools.cache
def jacobian():
    """Of the outputs by all parameters, `[example, class, parameter]`."""
    return np.asarray(jax.jacobian(lambda flat: network(UNRAVEL(flat)))(POINT))


def outer(loss, labels):
    """c Σ ∇ℓ∇ℓᵀ over examples, each gradient by itself."""
    slopes = jax.grad(lambda outputs, own: loss.costs(outputs, own).sum())
    gradients = np.einsum("nc,ncp->np", slopes(network(PARAMS), labels), jacobian())
    return gradients.T @ gradients * (1 if loss.summed else 1 / EXAMPLES)


def dense(loss, curvature, num_draws):
    """The same matrices from their definitions."""
    if curvature == "hessian":
        return np.asarray(jax.hessian(lambda flat: loss(UNRAVEL(flat)))(POINT))
    if curvature == "gauss_newton":
        inner = np.asarray(jax.hessian(loss.cost)(network(PARAMS)))
        return np.einsum("ncp,ncmd,mdq->pq", jacobian(), inner, jacobian())
    if curvature == "empirical_fisher":
        return outer(loss, loss.labels)
    keys = jax.random.split(KEY, num_draws)
    return sum(outer(loss, loss.sample(key, network(PARAMS))) for key in keys) / num_draws


def matrix_of(product, size):
    """A matrix from its products with the unit vectors, of a function of flat vectors."""
    return np.asarray(jax.lax.map(product, jnp.eye(size)))


def flat_product(loss, curvature, **options):
    product = probes.curvature_vector_product(loss, PARAMS, curvature, **options)
    return lambda vector: ravel_pytree(product(UNRAVEL(vector)))[0]


@pytest.mark.parametrize("curvature", probes.CURVATURES)
@pytest.mark.parametrize("squared", [False, True])
@pytest.mark.parametrize("summed", [False, True])
def test_a_product_is_that_of_the_dense_matrix(curvature, squared, summed):
    loss = composite(summed, squared)
    options = {"key": KEY, "num_draws": 2} if curvature == "fisher" else {}
    found = jax.jit(flat_product(loss, curvature, **options))(VECTOR)
    expected = dense(loss, curvature, 2) @ np.asarray(VECTOR)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("squared", [False, True])
def test_what_the_fisher_expects_is_the_gauss_newton_matrix(squared):
    loss = composite(squared=squared)
    exact = dense(loss, "gauss_newton", 0)
    if not squared:  # over every label that the model can draw
        shares = np.asarray(jax.nn.softmax(network(PARAMS)))
        weighted = 0
        for label in range(CLASSES):
            slopes = (shares - np.eye(CLASSES)[label]) * np.sqrt(shares[:, label : label + 1])
            gradients = np.einsum("nc,ncp->np", slopes, jacobian())
            weighted = weighted + gradients.T @ gradients / EXAMPLES
        np.testing.assert_allclose(weighted, exact, rtol=1e-9, atol=1e-12)
    product = flat_product(loss, "fisher", key=KEY, num_draws=4000)
    found = jax.jit(lambda: jax.lax.map(product, jnp.eye(POINT.size)))()
    assert np.linalg.norm(found - exact) < 0.05 * np.linalg.norm(exact)
    other = dense(loss, "empirical_fisher", 0)
    assert np.linalg.norm(other - exact) > 0.3 * np.linalg.norm(exact)


# Trace, Frobenius norm and vᵀMv, v_i = sin i, in float64, of `M @ torch.eye(26)` by curvlinops
# 3.0.1 and torch 2.13.0, for the network, data and labels below and `reduction="mean"`.
CURVLINOPS = {
    (False, "hessian"): (1.084923172109599, 0.9986548521261613, 0.9636772012775213),
    (False, "gauss_newton"): (1.1608442232691725, 0.739224272596079, 0.7198681497178958),
    (False, "empirical_fisher"): (1.2231444378834702, 0.7794179567741785, 0.8859610858492588),
    (True, "hessian"): (3.2191371229765027, 4.400961978567333, 2.4863582233253463),
    (True, "gauss_newton"): (7.039503949412292, 3.2377766378754305, 6.384175165079297),
    (True, "empirical_fisher"): (21.118464499965985, 12.726863663360431, 17.326622710454174),
}


@pytest.mark.parametrize(("squared", "curvature"), CURVLINOPS)
@pytest.mark.parametrize("summed", [False, True])
def test_matrices_are_those_of_curvlinops_up_to_the_documented_factors(squared, curvature, summed):
    """`MSELoss` divides by examples and outputs and has no half; sums are n or n·C means."""

    def made(*shape):
        return jnp.asarray(0.8 * np.sin(1 + 1.7 * np.arange(np.prod(shape))).reshape(shape))

    inputs, targets, examples, outputs = made(5, 3), jnp.cos(3 * made(5, 2)), 5, 2
    # Kernels as PyTorch has them, [outputs, inputs], in the order of its parameters.
    params = [0.9 * made(4, 3), 0.3 * made(4), 1.1 * made(2, 4), 0.2 * made(2)]

    def logits(params):
        kernel, bias, last, last_bias = params
        return jnp.tanh(inputs @ kernel.T + bias[None]) @ last.T + last_bias[None]

    objective = losses.OBJECTIVES["squared_error" if squared else "cross_entropy"]
    labels = targets if squared else jnp.array([0, 1, 1, 0, 1])
    loss = probes.Composite(logits, objective.each, labels, summed=summed)
    matrix = matrix_of(flat_product_at(loss, params, curvature), 26)
    factor = (4 if curvature == "empirical_fisher" else 2) / (1 if summed else outputs)
    theirs = np.array(CURVLINOPS[squared, curvature])
    theirs = theirs * (examples * (outputs if squared else 1) if summed else 1)
    vector = np.sin(np.arange(26))
    found = np.array([np.trace(matrix), np.linalg.norm(matrix), vector @ matrix @ vector])
    np.testing.assert_allclose((factor if squared else 1) * found, theirs, rtol=1e-10)


@pytest.mark.parametrize("name", losses.OBJECTIVES)
def test_labels_are_drawn_from_the_distribution_that_an_objective_belongs_to(name):
    objective = losses.OBJECTIVES[name]
    parts = objective.each, LABELS[:1], objective.sample, objective.summed
    loss, logits = probes.Composite(lambda logits: logits, *parts), jnp.array([[0.5, -1.0, 0.2]])

    def matrix(curvature, **options):
        product = probes.curvature_vector_product(loss, logits, curvature, **options)
        return jax.jit(lambda: jax.lax.map(product, jnp.eye(3).reshape(3, 1, 3)))()

    exact = matrix("gauss_newton")
    drawn = matrix("fisher", key=KEY, num_draws=20_000)
    assert np.linalg.norm(drawn - exact) < 0.03 * np.linalg.norm(exact)


@pytest.mark.parametrize("name", losses.OBJECTIVES)
def test_the_fisher_of_tokens_is_that_of_each_token(name):
    class Network:
        def apply(self, params, batch_stats, tokens, *, train, key=None):
            return params["table"][tokens] @ params["out"], batch_stats

        def moments(self, params, batch_stats, tokens, *, key=None):
            return batch_stats

    tokens = jnp.arange(6).reshape(2, 3)
    keys = jax.random.split(KEY)
    params = {
        "table": jax.random.normal(keys[0], (6, 2)),
        "out": jax.random.normal(keys[1], (2, CLASSES)),
    }
    batch = Batch(tokens, tokens % CLASSES)
    loss = losses.on_batch(Network(), {}, batch, objective=losses.OBJECTIVES[name])
    size = trees.ravel(params)[0].size
    traces = [
        np.trace(matrix_of(flat_product_at(loss, params, curvature, **options), size))
        for curvature, options in (
            ("gauss_newton", {}),
            ("fisher", {"key": KEY, "num_draws": 2000}),
        )
    ]
    np.testing.assert_allclose(traces[1], traces[0], rtol=0.05)


def flat_product_at(loss, params, curvature, **options):
    _, unravel = trees.ravel(params)
    product = probes.curvature_vector_product(loss, params, curvature, **options)
    return lambda vector: trees.ravel(product(unravel(vector)))[0]


def test_a_spectrum_says_of_which_matrix_it_is():
    loss = composite()
    for place, curvature in enumerate(probes.CURVATURES):
        found = probes.spectrum(loss, PARAMS, KEY, lanczos_steps=2, top=1, curvature=curvature)
        assert int(found.curvature) == place
        named = ("Hessian", "Gauss–Newton", "Fisher", "empirical Fisher")[place]
        assert named in found.plot().title
        assert not (place and any("Hessian" in panel.title for panel in found.plot().panels))


def test_names_of_nnx_are_found_without_their_end():
    params = {"a": {"kernel": {"value": jnp.ones(2)}, "bias": {"value": jnp.ones(1)}}}
    for pattern in ("*/kernel", "a/kernel", "*/kernel/value"):
        assert trees.selected_names(params, pattern) == ["a/kernel/value"]


def test_a_model_on_a_batch_tells_its_outputs_if_there_is_no_penalty(problem, batch):
    model, params, batch_stats, _ = problem

    def logits(params):
        return model.apply(params, batch_stats, batch.images, train=True)[0]

    loss = losses.on_batch(model, batch_stats, batch)
    vector = jax.tree.map(jnp.cos, params)
    found = jax.jit(probes.curvature_vector_product(loss, params, "gauss_newton"))(vector)

    @jax.jit
    def by_hand():
        outputs, along = jax.jvp(logits, (params,), (vector,))
        shares = jax.nn.softmax(outputs)
        mean = jnp.sum(shares * along, axis=1, keepdims=True)
        return jax.vjp(logits, params)[1](shares * (along - mean) / len(outputs))[0]

    chex.assert_trees_all_close(found, by_hand(), rtol=1e-9, atol=1e-12)
    penalised = losses.on_batch(model, batch_stats, batch, weight_decay=0.1)
    with pytest.raises(UsageError, match="does not tell them"):
        probes.curvature_vector_product(penalised, params, "gauss_newton")


CHUNKS = IMAGES.reshape(3, 2, INPUTS), LABELS.reshape(3, 2)


def over_chunks():
    return probes.Composite(
        lambda params, chunk: network(params, chunk[0]),
        cross_entropy,
        lambda chunk: chunk[1],
        jax.random.categorical,
    )


@pytest.mark.parametrize("curvature", ["hessian", "gauss_newton", "empirical_fisher"])
def test_the_mean_over_chunks_has_the_matrix_of_the_whole_batch(curvature):
    mean = probes.mean_over(over_chunks(), CHUNKS)
    measure = jax.jit(
        lambda key: probes.spectrum(mean, PARAMS, key, curvature=curvature, lanczos_steps=28, top=3)
    )
    found, whole = measure(KEY), np.linalg.eigvalsh(dense(composite(), curvature, 0))
    np.testing.assert_allclose(found.largest, whole[::-1][:3], rtol=1e-8)
    np.testing.assert_allclose(found.loss, composite()(PARAMS), rtol=1e-12)
    gradient = ravel_pytree(jax.grad(composite())(PARAMS))[0]
    np.testing.assert_allclose(found.gradient_norm, np.linalg.norm(gradient), rtol=1e-12)
    assert abs(float(found.trace) - whole.sum()) < 4 * float(found.trace_error)


def test_the_fisher_of_a_mean_draws_other_labels_for_each_chunk():
    mean = probes.mean_over(over_chunks(), CHUNKS)
    found = jax.jit(flat_product(mean, "fisher", key=KEY, num_draws=3))(VECTOR)
    each = []
    for number, chunk in enumerate(zip(*CHUNKS, strict=True)):
        own = probes.mean_over(over_chunks(), tuple(leaf[None] for leaf in chunk))
        key = jax.random.fold_in(KEY, number)
        each.append(flat_product(own, "fisher", key=key, num_draws=3)(VECTOR))
    np.testing.assert_allclose(found, sum(each) / 3, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("curvature", probes.CURVATURES)
def test_a_mean_takes_the_memory_of_one_chunk(curvature):
    def temporary(count):
        chunks = jax.tree.map(
            lambda leaf: jnp.tile(leaf[:1], (count, *[1] * (leaf.ndim - 1))), CHUNKS
        )

        def product(chunks, params, vector):
            loss = probes.mean_over(over_chunks(), chunks)
            return probes.curvature_vector_product(loss, params, curvature, key=KEY)(vector)

        program = jax.jit(product).lower(chunks, PARAMS, PARAMS).compile()
        return program.memory_analysis().temp_size_in_bytes

    # A kept chunk would be more than its eight hidden numbers; the keys are eight bytes each.
    assert temporary(512) - temporary(4) < 508 * 16


# Parts of a network


def test_a_block_of_the_matrix_is_that_of_the_selected_leaves():
    loss, whole = composite(), dense(composite(), "hessian", 0)
    inside = np.concatenate(
        [np.ones(HIDDEN + INPUTS * HIDDEN, bool), np.zeros(HIDDEN * CLASSES, bool)]
    )
    block = whole[inside][:, inside]
    product = flat_product(loss, "hessian", parameters="hidden/*")
    expected = np.where(inside, whole @ np.where(inside, VECTOR, 0), 0)
    np.testing.assert_allclose(product(VECTOR), expected, rtol=1e-9, atol=1e-12)
    found = jax.jit(
        lambda key: probes.spectrum(
            loss, PARAMS, key, parameters="hidden/*", lanczos_steps=16, top=2
        )
    )(KEY)
    np.testing.assert_allclose(found.largest, np.linalg.eigvalsh(block)[::-1][:2], rtol=1e-8)
    np.testing.assert_allclose(found.smallest, np.linalg.eigvalsh(block)[:2], rtol=1e-8)
    gradient = ravel_pytree(jax.grad(loss)(PARAMS))[0][inside]
    np.testing.assert_allclose(found.gradient_norm, np.linalg.norm(gradient), rtol=1e-10)


NEXT = jax.tree.map(lambda leaf: 0.9 * leaf, PARAMS)
KINDS = {"hidden/bias": "bias", "hidden/kernel": "kernel", "output/kernel": "kernel"}
ROWS = jnp.array([-0.5, 0.0, 0.5])
EVERY_PROBE = {
    "line": lambda loss, **part: probes.line(loss, PARAMS, ROWS[2:], **part),
    "Probe": lambda loss, **part: probes.Probe(loss, ROWS[2:], **part)(PARAMS),
    "losses_on_line": lambda loss, **part: probes.losses_on_line(loss, PARAMS, ROWS, NEXT, **part),
    "values_on_line": lambda loss, **part: probes.values_on_line(loss, PARAMS, NEXT, ROWS, **part),
    "values_on_plane": lambda loss, **part: probes.values_on_plane(
        loss, PARAMS, (NEXT, PARAMS), ROWS, ROWS, **part
    ),
    "filter_direction": lambda _, **part: probes.filter_direction(KEY, PARAMS, **part),
    "shift": lambda loss, **part: probes.shift(loss, PARAMS, NEXT, **part),
    "magnitudes": lambda _, **part: probes.magnitudes(NEXT, KINDS, **part),
    "rounding_noise": lambda loss, **part: probes.rounding_noise(loss, PARAMS, **part),
    "spectrum": lambda loss, **part: probes.spectrum(
        loss, PARAMS, KEY, lanczos_steps=4, top=1, **part
    ),
    "diagonal": lambda loss, **part: probes.diagonal(loss, PARAMS, KEY, **part).values,
    "product": lambda loss, **part: probes.hessian_vector_product(loss, PARAMS, **part)(NEXT),
}


@pytest.mark.parametrize("name", EVERY_PROBE)
def test_every_probe_takes_a_pattern_for_a_part(name):
    probe = functools.partial(EVERY_PROBE[name], composite())
    found = probe(parameters="output/*")
    same = [
        probe(parameters=lambda name: name.startswith("output")),
        probe(parameters=["output/kern*"]),
    ]
    for other in same:
        for one, two in zip(*map(jax.tree.leaves, (found, other)), strict=True):
            np.testing.assert_array_equal(one, two)
    whole = jax.tree.leaves(probe())
    part = jax.tree.leaves(found)
    assert len(whole) != len(part) or any(
        np.shape(a) != np.shape(b) or not np.array_equal(a, b, equal_nan=True)
        for a, b in zip(whole, part, strict=True)
    )
    with pytest.raises(
        UsageError, match=r"'outputs/\*' fits no name; the names are hidden/bias, hi"
    ):
        probe(parameters=["hidden/*", "outputs/*"])


def test_a_part_of_a_layer_is_measured_with_all_of_the_layers_below_updated():
    def loss(params):
        hidden = jnp.tanh(IMAGES @ params["a"]["kernel"] + params["a"]["bias"][None])
        return jnp.sum((hidden @ params["b"]["kernel"] + params["b"]["bias"][None]) ** 2)

    layer = {"kernel": jnp.eye(INPUTS), "bias": jnp.linspace(0.1, 0.3, INPUTS)}
    params = {"a": layer, "b": layer}
    after = jax.tree.map(lambda leaf: 0.8 * leaf, params)
    found = probes.shift(loss, params, after, parameters="*/kernel")
    before, updated = (jax.grad(loss)({**params, "a": below})["b"] for below in (layer, after["a"]))
    assert found.layers == ("a", "b")
    distance = np.linalg.norm(updated["kernel"] - before["kernel"])
    np.testing.assert_allclose(found.distances, [0, distance], rtol=1e-12)
    of_one = probes.shift(loss, params, after, parameters="b/bias")
    assert of_one.layers == ("b",)
    distance = np.linalg.norm(updated["bias"] - before["bias"])
    np.testing.assert_allclose(of_one.distances, [distance], rtol=1e-12)


# The diagonal


@pytest.mark.parametrize("curvature", probes.CURVATURES)
def test_few_parameters_have_an_exact_diagonal(curvature):
    loss = composite()
    found = jax.jit(lambda key: probes.diagonal(loss, PARAMS, key, curvature=curvature))(KEY)
    key = jax.random.fold_in(KEY, 2)
    product = flat_product(loss, curvature, key=key)
    expected = np.diag(matrix_of(product, POINT.size))
    np.testing.assert_allclose(ravel_pytree(found.values)[0], expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.sum_of_squares, (expected**2).sum(), rtol=1e-9)
    assert not ravel_pytree(found.errors)[0].any()


def test_an_estimated_diagonal_is_without_bias_and_knows_its_error():
    loss, runs, count = composite(), 1500, 5
    exact = np.diag(dense(loss, "hessian", 0))
    keys = jax.random.split(KEY, runs)
    measure = jax.jit(jax.vmap(lambda key: probes.diagonal(loss, PARAMS, key, num_vectors=count)))
    found = measure(keys)
    values, errors = (
        np.asarray(jax.vmap(lambda tree: ravel_pytree(tree)[0])(tree))
        for tree in (found.values, found.errors)
    )
    spread = values.std(axis=0)
    assert (np.abs(values.mean(axis=0) - exact) < 4.5 * spread / runs**0.5).all()
    np.testing.assert_allclose(np.sqrt((errors**2).mean(axis=0)), spread, rtol=0.1)
    squares = np.asarray(found.sum_of_squares)
    truth, own = (exact**2).sum(), squares.std() / runs**0.5
    assert abs(squares.mean() - truth) < 4 * own
    assert (values**2).sum(axis=1).mean() - truth > 20 * own  # of the estimates themselves


# Losses without a forward mode


def settle(a):
    """x with x = cos(a x), by iterations until it stands."""

    def goes_on(pair):
        return jnp.max(jnp.abs(pair[0] - pair[1])) > 1e-15

    start = jnp.zeros_like(a), jnp.ones_like(a)
    return jax.lax.while_loop(goes_on, lambda pair: (jnp.cos(a * pair[0]), pair[0]), start)[0]


@jax.custom_vjp
def solve(a):
    return settle(a)


def solve_forward(a):
    x = solve(a)  # as implicit solvers do: so that their derivatives have derivatives
    return x, (a, x)


def solve_backward(known, cotangent):
    a, x = known
    slope = -jnp.sin(a * x)
    return (cotangent * slope * x / (1 - a * slope),)


solve.defvjp(solve_forward, solve_backward)


def on_host(function, *arguments):
    shape = jax.ShapeDtypeStruct(arguments[0].shape, arguments[0].dtype)
    return jax.pure_callback(function, shape, *arguments, vmap_method="sequential")


@jax.custom_vjp
def kernel(x):
    return on_host(lambda x: np.tanh(np.asarray(x)), x)


def kernel_backward(y, cotangent):
    return (on_host(lambda y, g: (1 - np.asarray(y) ** 2) * np.asarray(g), y, cotangent),)


kernel.defvjp(lambda x: (kernel(x),) * 2, kernel_backward)


@jax.custom_vjp
def clipped(x):
    return jnp.tanh(x)


clipped.defvjp(lambda x: (jnp.tanh(x), x), lambda x, g: (g * (1 - jnp.tanh(x) ** 2),))


def unrolled(a):
    """`solve` with iterations that everything can be derived of."""
    return jax.lax.fori_loop(0, 200, lambda _, x: jnp.cos(a * x), jnp.ones_like(a))


# function, the same in plain JAX, how its Hessian is found, how the others are, how close
WITHOUT = {
    "implicit solver": (solve, unrolled, "reverse", "reverse", 1e-8),
    "fused kernel": (kernel, jnp.tanh, "differences", "differences", 1e-7),
    "own gradient": (clipped, jnp.tanh, "forward", "reverse", 1e-10),
    "nothing of its own": (jnp.tanh, jnp.tanh, "forward", "forward", 1e-12),
}


def with_activation(activation, images=IMAGES, labels=LABELS):
    def outputs(params):
        hidden = images @ params["hidden"]["kernel"] + params["hidden"]["bias"][None]
        return activation(0.5 * jnp.tanh(hidden)) @ params["output"]["kernel"]

    return probes.Composite(outputs, cross_entropy, labels, jax.random.categorical)


@pytest.mark.parametrize("name", WITHOUT)
@pytest.mark.parametrize("curvature", probes.CURVATURES)
def test_a_loss_without_forward_mode_is_served_and_it_is_said_how(name, curvature):
    function, plain, mode, of_others, tolerance = WITHOUT[name]
    loss = with_activation(function)
    if mode != "forward":
        with pytest.raises((TypeError, ValueError)):
            jax.jit(lambda p: jax.jvp(jax.grad(loss), (p,), (p,)))(PARAMS)
    product = probes.curvature_vector_product(loss, PARAMS, curvature, key=KEY)
    expected = probes.curvature_vector_product(with_activation(plain), PARAMS, curvature, key=KEY)(
        NEXT
    )
    found = jax.jit(product)(NEXT)
    flat, exact = (np.asarray(ravel_pytree(tree)[0]) for tree in (found, expected))
    assert np.linalg.norm(flat - exact) < tolerance * np.linalg.norm(exact)
    assert product.mode == (mode if curvature == "hessian" else of_others)


@pytest.mark.parametrize("name", WITHOUT)
def test_probes_say_how_they_found_second_derivatives(name):
    function, plain, mode, _, tolerance = WITHOUT[name]
    loss, easy = with_activation(function), with_activation(plain)
    number = probes.MODES.index(mode)

    def measure(loss):
        return (
            probes.spectrum(loss, PARAMS, KEY, lanczos_steps=28, top=2),
            probes.line(loss, PARAMS, ROWS[2:]),
            probes.diagonal(loss, PARAMS, KEY),
        )

    found, expected = jax.jit(lambda: measure(loss))(), jax.jit(lambda: measure(easy))()
    assert [int(one.derivative_mode) for one in found] == [number] * 3
    assert [int(one.derivative_mode) for one in expected] == [0] * 3
    close = {"rtol": 100 * tolerance, "atol": 10 * tolerance}
    np.testing.assert_allclose(found[0].largest, expected[0].largest, **close)
    np.testing.assert_allclose(found[0].smallest, expected[0].smallest, **close)
    for limit in ("smoothness_limit", "curvature_limit"):
        np.testing.assert_allclose(getattr(found[1], limit), getattr(expected[1], limit), **close)
    values = [ravel_pytree(one[2].values)[0] for one in (found, expected)]
    np.testing.assert_allclose(*values, **close)
    probe = probes.Probe(loss, ROWS[2:])(PARAMS)
    assert probe.derivative_mode == number
    np.testing.assert_allclose(probe.curvature_limit, found[1].curvature_limit, rtol=1e-6)
    assert np.isnan(probes.Probe(loss, ROWS[2:])(PARAMS, limits=False).derivative_mode)


@pytest.mark.parametrize("name", WITHOUT)
def test_chunks_of_a_loss_without_forward_mode_are_served_as_one(name):
    function, plain, mode, _, tolerance = WITHOUT[name]

    def chunk_loss(params, chunk):
        return with_activation(function, *chunk)(params)

    mean = probes.mean_over(chunk_loss, CHUNKS)
    product = probes.hessian_vector_product(mean, PARAMS)
    expected = probes.hessian_vector_product(with_activation(plain), PARAMS)(NEXT)
    flat, exact = (ravel_pytree(tree)[0] for tree in (jax.jit(product)(NEXT), expected))
    assert product.mode == mode
    assert np.linalg.norm(flat - exact) < tolerance * np.linalg.norm(exact)


def test_differences_in_float32_are_of_fourth_order():
    """Far from the origin a step is long: plain central differences are off by a thousandth."""
    params = 5 + jnp.linspace(-0.8, 0.8, 16, dtype=jnp.float32)
    vector = jnp.zeros(16, jnp.float32).at[3].set(1)
    product = probes.hessian_vector_product(lambda w: jnp.sum(kernel(w - 5)), params)
    exact = probes.hessian_vector_product(lambda w: jnp.sum(jnp.tanh(w - 5)), params)(vector)
    assert product.mode == "differences"
    np.testing.assert_allclose(product(vector), exact, rtol=1e-4, atol=1e-7)
    np.testing.assert_array_equal(product(0 * vector), 0)


# Refused


def scalar_costs():
    return probes.Composite(network, lambda *both: cross_entropy(*both).mean(), LABELS)


def of(loss, curvature, **options):
    return lambda: probes.curvature_vector_product(loss(), PARAMS, curvature, **options)


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (of(composite, "newton"), "curvature='newton' is not known: choose hessian, gauss_newton"),
        (
            of(lambda: lambda p: network(p).sum(), "gauss_newton"),
            "does not tell them: give probes.C",
        ),
        (of(scalar_costs, "empirical_fisher"), "needs the cost of each example"),
        (of(composite, "fisher"), "the Fisher draws labels: give key="),
        (
            of(composite, "fisher", key=KEY, num_draws=0),
            "num_draws=0 must be a whole number, 1 or more",
        ),
        (of(lambda: scalar_costs(), "fisher", key=KEY), "needs the cost of each example"),
        (
            lambda: probes.mean_over(composite(), CHUNKS)(PARAMS),
            "labels of a Composite over chunks must be a function",
        ),
        (
            lambda: probes.hessian_vector_product(composite(), PARAMS)({"hidden": 1.0}),
            "the vector has another structure",
        ),
        (
            lambda: probes.diagonal(composite(), PARAMS, KEY, num_vectors=1),
            "num_vectors=1 must be a whole number, 2 or more",
        ),
        (
            lambda: probes.shift(
                composite(), PARAMS, NEXT, layers=["hidden"], parameters="output/*"
            ),
            r"none of their parameters is selected: choose from \['output'\]",
        ),
        (lambda: trees.partition(PARAMS, []), "no parameter is selected"),
        (
            lambda: trees.partition(PARAMS, "Output/*"),
            r"give one of them, or .* such as 'hidden\*'",
        ),
    ],
)
def test_what_cannot_be_measured_is_refused(act, message):
    with pytest.raises(UsageError, match=message):
        act()
