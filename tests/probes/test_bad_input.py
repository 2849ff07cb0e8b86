"""What no probe can measure: the same error from each, with the remedy."""

import jax
import jax.numpy as jnp
import jaxtyping
import numpy as np
import optax
import pytest

import bnjax
from bnjax import probes
from bnjax.errors import UsageError

KEY = jax.random.key(0)
STEPS = np.array([0.1, 0.2])


@pytest.fixture(autouse=True)
def unchecked_shapes():
    """As for a user, whose calls no type checker sees."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)


def total(params):
    """A loss of whatever has numbers."""
    return sum(jnp.sum(jnp.asarray(x).astype(float) ** 2) for x in jax.tree.leaves(params))


def plane(measure, params, directions=None, rows=STEPS, columns=STEPS):
    return probes.values_on_plane(measure, params, directions or (params, params), rows, columns)


# Of a loss and its parameters.
LOSSES = {
    "line": lambda loss, params: probes.line(loss, params, STEPS),
    "Probe": lambda loss, params: probes.Probe(loss, STEPS)(params),
    "Probe as a program": lambda loss, params: probes.Probe(loss, STEPS, mapped=True)(params),
    "losses_on_line": lambda loss, params: probes.losses_on_line(loss, params, STEPS, params),
    "shift": lambda loss, params: probes.shift(loss, params, params),
    "layer_order": probes.layer_order,
    "spectrum": lambda loss, params: probes.spectrum(loss, params, KEY, lanczos_steps=2, top=1),
    "product": lambda loss, params: probes.hessian_vector_product(loss, params)(params),
    "rounding_noise": probes.rounding_noise,
    "step_sharpness": probes.step_sharpness,
    "batch_sharpness": lambda loss, params: probes.batch_sharpness(
        (lambda params, _: loss(params)) if callable(loss) else loss, params, jnp.zeros(2)
    ),
    "critical_step": lambda loss, params: probes.critical_step(loss, params, params, 0.1),
    "spherical_sharpness": lambda loss, params: probes.spherical_sharpness(loss, params, KEY, 0.1),
}
# Of parameters and any function of them, or none.
POINTS = {
    "values_on_line": lambda params: probes.values_on_line(total, params, params, STEPS),
    "values_on_plane": lambda params: plane(total, params),
    "filter_direction": lambda params: probes.filter_direction(KEY, params),
    "rotation": lambda params: probes.rotation(params, params),
}
# Of activations, gradients or a kernel, which may be narrow.
ARRAYS = {
    "distribution": lambda x: probes.distribution(x, edges=jnp.arange(3.0)),
    "earth_mover": lambda x: probes.earth_mover(KEY, x, x),
    "magnitudes": lambda x: probes.magnitudes({"bad": x}, {"bad": "kernel"}),
    "symmetry": probes.symmetry,
    "orthogonality": lambda x: probes.orthogonality([x]),
    "residual_shares": lambda x: probes.residual_shares([x], [x]),
    "steepness": lambda x: probes.steepness(total, x, channels=[0]),
    "theory": lambda x: probes.theory(total, x, jnp.ones(2), jnp.zeros(2), channels=[0]),
}


def function(x):
    return x


NARROW = "hold a float32 copy, loss, params = probes.in_float32(loss, params)"
IMAGINARY = "give its real and its imaginary part as two leaves"
CLOSED_OVER = "leave what is no parameter to the loss"
LEAVES = {
    "float": (1.0, "has a Python float", "make it an array, jax.tree.map"),
    "int": (3, "has a Python int", CLOSED_OVER),
    "bool": (True, "has a Python bool", CLOSED_OVER),
    "complex": (1j, "has a Python complex", IMAGINARY),
    "str": ("float32", "has a Python str", CLOSED_OVER),
    "function": (function, "has a Python function", CLOSED_OVER),
    "array of strings": (np.array(["a"]), "has <U1", CLOSED_OVER),
    "whole": (jnp.ones((2, 2), jnp.int32), "has int32", CLOSED_OVER),
    "key": (KEY, "has key<fry>", CLOSED_OVER),
    "imaginary": (jnp.ones((2, 2), jnp.complex64), "has complex64", IMAGINARY),
    "float16": (jnp.ones((2, 2), jnp.float16), "has float16", NARROW),
    "bfloat16": (np.ones((2, 2), jnp.bfloat16), "has bfloat16", NARROW),
}


def each(table):
    return pytest.mark.parametrize("given", table.values(), ids=list(table))


@each(LEAVES)
@pytest.mark.parametrize("probe", [*LOSSES, *POINTS])
def test_every_probe_refuses_a_leaf_that_is_no_parameter_in_the_same_words(probe, given):
    leaf, found, remedy = given
    params = {"w": jnp.ones(2), "bad": leaf}
    with pytest.raises(UsageError) as told:
        LOSSES[probe](total, params) if probe in LOSSES else POINTS[probe](params)
    expected = f"params {found} at bad; it must be float32 or float64: {remedy}"
    assert str(told.value).startswith(expected)
    assert "\n" not in str(told.value)


@each(LEAVES)
@pytest.mark.parametrize("probe", ARRAYS)
def test_every_probe_of_arrays_refuses_what_is_none(probe, given):
    leaf, found, remedy = given
    if remedy is NARROW and probe not in ("theory", "steepness"):
        with jax.numpy_dtype_promotion("standard"):
            assert jax.tree.leaves(ARRAYS[probe](jnp.asarray(leaf)))
        return
    legal = "float32 or float64" if probe in ("theory", "steepness") else "floating point"
    with pytest.raises(UsageError, match=rf"{found} at .*; it must be {legal}: "):
        ARRAYS[probe](leaf)


@pytest.mark.parametrize("probe", [*LOSSES, *POINTS])
def test_parameters_without_arrays_are_refused(probe):
    with pytest.raises(UsageError, match="params has no arrays"):
        LOSSES[probe](total, {"a": None}) if probe in LOSSES else POINTS[probe]({"a": None})


@pytest.mark.parametrize("probe", sorted(set(LOSSES) - {"layer_order"}))
def test_arrays_of_numpy_and_empty_places_are_legal(probe):
    host = {"w": np.array([1.0, 2.0]), "none": None, "v": np.array([3.0])}
    found, expected = (LOSSES[probe](total, p) for p in (host, jax.tree.map(jnp.asarray, host)))
    for one, other in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("name", ["whole", "imaginary", "float16", "bfloat16"])
@pytest.mark.parametrize("probe", sorted(set(LOSSES) - {"layer_order"}))
def test_under_jit_the_dtype_tells(probe, name):
    leaf, found, _ = LEAVES[name]
    with pytest.raises(UsageError, match=f"{found} at bad; it must be float32 or float64"):
        jax.jit(lambda params: LOSSES[probe](total, params))({"bad": jnp.asarray(leaf)})


RETURNED = {
    "no function": (3.0, "the loss is a float; it must be a function: give lambda params"),
    "an array": (lambda p: p["w"], r"returns .*\(2,\).*; it must return one scalar: reduce it"),
    "more": (lambda p: (total(p), {}), r"returns a tuple; .* lambda params: loss\(params\)\[0\]"),
    "more, and a text": (lambda p: (total(p), "text"), "returns a tuple; it must return one"),
    "a text": (lambda p: "text", "returns text; it must return one scalar"),
    "nothing": (lambda p: None, "returns None; it must return one scalar"),
    "complex": (lambda p: total(p).astype(complex), "returns complex128; .* take its real part"),
    "whole": (lambda p: total(p).astype(int), "returns int64; .* cast what it is computed from"),
}


@each(RETURNED)
@pytest.mark.parametrize("probe", [*LOSSES, "theory", "steepness", "mean_over"])
def test_every_probe_refuses_a_loss_that_is_none_in_the_same_words(probe, given):
    loss, message = given
    params = {"w": jnp.array([1.0, 2.0])}
    rows = jnp.ones((3, 2))
    also = {
        "theory": lambda: probes.theory(head, rows, jnp.ones(2), jnp.zeros(2), channels=[0]),
        "steepness": lambda: probes.steepness(head, rows, channels=[0]),
        "mean_over": lambda: probes.line(
            probes.mean_over(chunk_loss, jnp.ones((2, 1))), params, STEPS
        ),
    }

    def of_rows(y):
        return loss({"w": y[0]})

    def of_chunk(params, chunk):
        return loss(params)

    head, chunk_loss = (one if callable(loss) else loss for one in (of_rows, of_chunk))
    if probe == "mean_over" and not callable(loss):
        message = "chunk_loss is a float; it must be a function"
    with pytest.raises(UsageError, match=message):
        also[probe]() if probe in also else LOSSES[probe](loss, params)


def test_an_error_of_the_loss_itself_stays_as_it_is():
    with pytest.raises(TypeError, match="of its own"):
        probes.line(raises, jnp.ones(2), STEPS)


def raises(params):
    raise TypeError("of its own")


VALUES = {
    "complex": (np.array([0.1j]), "has complex128; it must have real numbers: give e.g."),
    "text": (["0.1"], "has <U3; it must have real numbers"),
    "None": (None, "has object; it must have real numbers"),
    "truth": ([True], "has bool; it must have real numbers"),
    "ragged": ([[0.1], [0.1, 0.2]], "is no array"),
    "empty": ([], r"has shape \(0,\); it must be one-dimensional and not empty"),
    "one number": (0.1, r"has shape \(\); it must be one-dimensional"),
    "a matrix": (jnp.ones((2, 2)), r"has shape \(2, 2\); it must be one-dimensional"),
    "NaN": ([0.1, np.nan], "has nan; it must be finite"),
    "infinite": (jnp.array([jnp.inf]), "has inf; it must be finite"),
}
W = jnp.ones(2)
STEPPED = {
    "line": ("step_sizes", lambda steps: probes.line(total, W, steps)),
    "Probe": ("step_sizes", lambda steps: probes.Probe(total, steps)),
    "losses_on_line": ("step_sizes", lambda steps: probes.losses_on_line(total, W, steps, W)),
    "map_points": ("step_sizes", lambda steps: probes.map_points(jnp.square, steps)),
    "values_on_line": ("coordinates", lambda steps: probes.values_on_line(total, W, W, steps)),
    "rows": ("rows", lambda steps: plane(total, W, rows=steps)),
    "columns": ("columns", lambda steps: plane(total, W, columns=steps)),
}


@each(VALUES)
@pytest.mark.parametrize("probe", STEPPED)
def test_every_probe_refuses_points_that_are_none_in_the_same_words(probe, given):
    values, message = given
    argument, call = STEPPED[probe]
    with pytest.raises(UsageError, match=f"^{argument} {message}"):
        call(values)


def test_lists_and_whole_numbers_are_points():
    expected = probes.line(total, W, jnp.array([1.0, 2.0]))
    for values in ([1.0, 2.0], [1, 2], (1, 2)):
        found = probes.line(total, W, values)
        np.testing.assert_array_equal(found.losses, expected.losses)
    assert probes.Probe(total, [1, 2])(W).losses.tolist() == expected.losses.tolist()


@pytest.mark.parametrize("ends", [(3, "low", 1.0), (3, -1.0, 1j), (3, np.nan, 1.0), ("3", -1, 1)])
def test_coordinates_of_anything_else_are_refused(ends):
    with pytest.raises(UsageError, match="must be 3 or more, around 0"):
        probes.coordinates(*ends)


LIKE = {
    "structure": (
        {"v": jnp.ones(2)},
        r"another structure than params \(only .* has v; only params has w\); they must be",
    ),
    "shape": ({"w": jnp.ones(3)}, r"has shape \(3,\) at w, .* \(2,\); they must be the same"),
    "width": ({"w": jnp.ones(2, jnp.float32)}, r"has float32 at w, .* float64; .*astype"),
    "whole": ({"w": jnp.ones(2, int)}, "has int64 at w, .* float64; they must be the same"),
    "numbers": ({"w": [1.0, 2.0]}, "has another structure than .*; they must be the same"),
    "text": ({"w": "text"}, r"has shape \(\) at w"),
}
OTHERS = {
    "line": lambda p, d: probes.line(total, p, STEPS, direction=d),
    "centre": lambda p, d: probes.line(total, p, STEPS, centre=(total(p), d)),
    "Probe": lambda p, d: probes.Probe(total, STEPS)(p, direction=d),
    "centre of a Probe": lambda p, d: probes.Probe(total, STEPS)(p, centre=(total(p), d)),
    "Probe as a program": lambda p, d: probes.Probe(total, STEPS, mapped=True)(p, direction=d),
    "losses_on_line": lambda p, d: probes.losses_on_line(total, p, STEPS, d),
    "next_params": lambda p, d: probes.shift(total, p, d),
    "gradient": lambda p, d: probes.shift(total, p, p, gradient=d),
    "product": lambda p, d: probes.hessian_vector_product(total, p)(d),
    "values_on_line": lambda p, d: probes.values_on_line(total, p, d, STEPS),
    "values_on_plane": lambda p, d: plane(total, p, (p, d)),
}


@each(LIKE)
@pytest.mark.parametrize("probe", OTHERS)
def test_every_probe_refuses_a_direction_unlike_the_parameters(probe, given):
    other, message = given
    with pytest.raises(UsageError, match=message):
        OTHERS[probe]({"w": jnp.ones(2)}, other)


@pytest.mark.parametrize("after", [jnp.ones((2, 3)), jnp.ones((2, 2), jnp.float32)])
def test_activations_after_a_step_are_like_those_before(after):
    before = jnp.ones((2, 2))
    for call in (
        lambda: probes.distribution(before, after, edges=jnp.arange(3.0)),
        lambda: probes.earth_mover(KEY, before, after),
    ):
        with pytest.raises(UsageError, match=r"after has .*, before .*; they must be the same"):
            call()


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_a_network_of_16_bits_is_probed_through_a_copy_of_32(dtype):
    narrow = {"w": jnp.array([1.5, -2.25], dtype), "kept": jnp.array([0.1], jnp.float32)}

    def loss(params, x):
        return jnp.sum(jnp.tanh(params["w"] * x) ** 2) * params["kept"][0].astype(dtype)

    x = jnp.array([0.3, 0.7], dtype)
    wide_loss, wide = probes.in_float32(loss, narrow)
    assert [leaf.dtype for leaf in jax.tree.leaves(wide)] == [jnp.float32] * 2
    # Between two numbers of 16 bits, where rounding matters.
    point = jax.tree.map(lambda leaf: leaf * jnp.float32(1.0007), wide)
    rounded = {"w": point["w"].astype(dtype), "kept": point["kept"]}
    assert float(wide_loss(point, x)) == float(loss(rounded, x))
    assert wide_loss(point, x).dtype == jnp.float32
    found, expected = jax.grad(wide_loss)(point, x), jax.grad(loss)(rounded, x)
    for one, other in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
        assert one.dtype == jnp.float32
        np.testing.assert_array_equal(one, other.astype(jnp.float32))
    line = probes.Probe(wide_loss, np.float32([1e-5, 0.5]))(wide, x)
    assert line.resolved.tolist() == [False, True]  # a step below the spacing of 16 bits
    for bad in ({"w": 1.0}, {"w": jnp.ones(2, int)}):
        with pytest.raises(UsageError, match="it must be floating point"):
            probes.in_float32(loss, bad)


def test_a_16_bit_network_has_all_curvature_matrices():
    rows, targets = jnp.ones((4, 2), jnp.bfloat16), jnp.zeros((4, 1), jnp.float32)
    params = {"w": jnp.array([[0.5], [1.5]], jnp.bfloat16)}
    plain = probes.Composite(lambda p: rows @ p["w"], lambda f, y: 0.5 * (f - y) ** 2, targets)
    loss, wide = probes.in_float32(plain, params)
    found = probes.curvature_vector_product(loss, wide, "gauss_newton")(wide)["w"]
    np.testing.assert_array_equal(found, [[2.0], [2.0]])
    assert found.dtype == jnp.float32


@pytest.mark.parametrize("count", [1, 3])
def test_a_plane_has_two_directions(count):
    with pytest.raises(UsageError, match=f"directions has {count} entries: give two"):
        plane(total, W, (W,) * count)


@pytest.mark.parametrize(("labels", "more"), [(jnp.ones(2), (1, 2)), (lambda chunk: chunk, ())])
def test_a_composite_takes_one_chunk_or_none(labels, more):
    loss = probes.Composite(lambda p, *chunk: p, lambda f, y: (f - y) ** 2, labels)
    with pytest.raises(UsageError, match=f"and {len(more)} arguments more: give one chunk"):
        loss(W, *more)


def quadratic(w):
    return jnp.sum(w**2)


# Of a key that draws.
KEYS = {
    "spectrum": lambda key: probes.spectrum(quadratic, jnp.ones(3), key, lanczos_steps=2, top=1),
    "diagonal": lambda key: probes.diagonal(quadratic, jnp.ones(3), key),
    "filter_direction": lambda key: probes.filter_direction(key, {"kernel": jnp.ones((2, 2))}),
    "earth_mover": lambda key: probes.earth_mover(key, jnp.ones((2, 2)), jnp.ones((2, 2))),
    "line": lambda key: probes.line(quadratic, jnp.ones(3), STEPS, random_key=key),
    "audit": lambda key: probes.audit(quadratic, jnp.ones(3), key, draws=2),
}


@pytest.mark.parametrize("name", KEYS)
@pytest.mark.parametrize("key", [7, 1.5, "seed", np.arange(2)])
def test_a_seed_is_no_key(name, key):
    with pytest.raises(UsageError, match=r"is .*: give a key, such as jax.random.key\("):
        KEYS[name](key)


@pytest.mark.parametrize("name", KEYS)
def test_keys_of_both_kinds_draw(name):
    KEYS[name](KEY)
    KEYS[name](jax.random.PRNGKey(0))


@pytest.mark.parametrize("count", [2.5, 0, -1, True, "3", None])
@pytest.mark.parametrize(
    "name", ["lanczos_steps", "top", "num_vectors", "num_trace_vectors", "num_draws"]
)
def test_counts_are_whole_numbers(name, count):
    options = {"lanczos_steps": 2, "top": 1, name: count}
    with pytest.raises(UsageError, match=rf"{name}={count} must be a whole number, [12] or more"):
        probes.spectrum(quadratic, jnp.ones(3), KEY, **options)


@pytest.mark.parametrize("draws", [2.5, 1, "3", None])
def test_draws_of_an_audit_are_whole_numbers(draws):
    with pytest.raises(UsageError, match=f"draws={draws} must be a whole number, 2 or more"):
        probes.audit(quadratic, jnp.ones(3), KEY, draws=draws)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"learning_rate": "0.1"}, "learning_rate 0.1: must be a number or its schedule"),
        (
            {"optimizer": optax.sgd},
            "optimizer is <function sgd.*: give one of optax",
        ),
        ({"loss": 3}, "loss is 3: give a function"),
    ],
)
def test_a_recorder_wants_an_optimiser_numbers_and_a_function(arguments, message):
    given = {"optimizer": optax.sgd(0.1), "learning_rate": 0.1, "weight_decay": 0.0, **arguments}
    with pytest.raises(UsageError, match=message):
        bnjax.watch(**given)
