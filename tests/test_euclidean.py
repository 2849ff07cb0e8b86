"""Numbers far from 1 and samples far from 0, in float32: scaled or moved, results only follow."""

import functools

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from bnjax import probes, train
from bnjax.arithmetic import earth_mover, euclidean, trees
from bnjax.arithmetic.layers import flax_kernel
from bnjax.arithmetic.moments import moment_changes
from bnjax.arithmetic.principal import principal_components
from bnjax.probes.activations import distribution
from bnjax.probes.earth_mover import earth_mover as earth_mover_probe
from bnjax.probes.earth_mover import shape_of
from bnjax.probes.magnitudes import KINDS, magnitudes
from bnjax.probes.rounding import rounding_noise
from bnjax.probes.spectrum import lanczos, mean_and_error
from bnjax.probes.surface import filter_norms
from bnjax.train.step import Gradient, apply_gradient

SINGLE = jnp.float32


def draw(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape, SINGLE)


TREE = {"kernel": draw(0, 7, 5), "bias": draw(1, 5)}
OTHER = {"kernel": draw(2, 7, 5), "bias": draw(3, 5)}
A, B = draw(4, 9, 6), 1.5 + draw(5, 9, 6)
SCALES = (2.0**-90, 2.0**-60, 2.0**62, 2.0**90)  # 8e-28, 9e-19, 5e18, 1e27


def times(scale, tree):
    return jax.tree.map(lambda leaf: leaf * jnp.asarray(scale, leaf.dtype), tree)


def gradient_norm(tree):
    """Of the metrics of a training step."""
    state = train.TrainState(jnp.int32(0), TREE, {}, optax.sgd(0.1).init(TREE))
    found = Gradient(jnp.float32(1), jnp.float32(1), tree, {})
    with jax.numpy_dtype_promotion("standard"):
        return apply_gradient(optax.sgd(0.1), state, found)[1].gradient_norm


def quadratic(tree):
    """A loss whose gradients have the size of `tree`'s elements."""
    return lambda params: jnp.sum(
        tree["kernel"] * jnp.sin(params["kernel"] * params["bias"][None] + params["kernel"] ** 2)
    )


def line(tree):
    found = probes.line(quadratic(tree), OTHER, jnp.array([0.1, 0.2], SINGLE), direction=TREE)
    return {name: getattr(found, name) for name in LINE}


LINE = {
    **dict.fromkeys(("gradient_norms", "gradient_distances", "smoothness", "scaled_smoothness"), 1),
    **dict.fromkeys(("gradient_norm", "smoothness_limit", "curvature_limit"), 1),
    "cosines": 0,
}


def shift(tree):
    found = probes.shift(quadratic(tree), OTHER, TREE)
    return {name: getattr(found, name) for name in SHIFT}


SHIFT = {"distances": 1, "relative_distances": 0, "cosines": 0}


def krylov(tree):
    matrix = tree["kernel"] @ TREE["kernel"].T
    found = lanczos(lambda v: (matrix + matrix.T) @ v, draw(6, 7), tree["kernel"][:, 0], 4)
    return found._asdict()


HOMOGENEOUS = {
    # Function of a tree, and the power of its argument's scale that its result has.
    "norm": (trees.norm, 1),
    "norm over axes": (lambda tree: euclidean.norm(tree["kernel"], (0,)), 1),
    "norm of one axis": (lambda tree: euclidean.norm(tree["bias"]), 1),
    "cosine": (lambda tree: trees.cosine(tree, OTHER), 0),
    "cosine of two": (lambda tree: trees.cosine(tree, times(tree["bias"][0], OTHER)), 0),
    "random direction": (
        lambda t: trees.random_direction(jax.random.key(0), TREE, t["bias"][0]),
        1,
    ),
    "weighted norm": (lambda tree: trees.norm(tree, less=times(3.0, tree), times=OTHER), 1),
    "filter norms": (
        lambda tree: filter_norms(tree["kernel"], flax_kernel(tree["kernel"].ndim)),
        1,
    ),
    "magnitudes": (
        lambda tree: magnitudes(tree, dict.fromkeys(tree, "kernel")).norm[KINDS.index("kernel")],
        1,
    ),
    "metrics": (gradient_norm, 1),
    "line": (line, LINE),
    "shift": (shift, SHIFT),
    "lanczos": (krylov, {"nodes": 1, "weights": 0, "residuals": 1, "shares": 0}),
    "error of a mean": (lambda tree: mean_and_error(tree["bias"]), 1),
    "bounds": (lambda t: earth_mover.bounds(t["kernel"], t["kernel"][::-1]), 1),
    "channel bounds": (lambda t: earth_mover.channel_bounds(t["kernel"], 2 * t["kernel"]), 1),
    "paired": (lambda t: earth_mover.paired(t["kernel"], t["kernel"][::-1]), 1),
    "exact": (lambda t: earth_mover.exact(t["kernel"], 2 * t["kernel"][::-1]), 1),
    "sliced": (
        lambda t: earth_mover.sliced(jax.random.key(0), t["kernel"], 2 * t["kernel"], directions=5),
        1,
    ),
    "principal": (
        lambda tree: principal_components(tree["kernel"])._asdict(),
        {"directions": 0, "coordinates": 1, "shares": 0},
    ),
}


@pytest.mark.parametrize("name", HOMOGENEOUS)
def test_results_follow_the_scale_of_their_argument_as_far_as_numbers_go(name):
    function, power = HOMOGENEOUS[name]
    one = jax.jit(function)(TREE)
    for scale in SCALES:
        found = jax.jit(function)(times(scale, TREE))
        powers = power if isinstance(power, dict) else dict.fromkeys(range(99), power)
        fields = one if isinstance(power, dict) else dict(enumerate(jax.tree.leaves(one)))
        values = found if isinstance(power, dict) else dict(enumerate(jax.tree.leaves(found)))
        for field in fields:
            expected = np.asarray(fields[field], np.float64) * scale ** powers[field]
            close = {"rtol": 1e-5, "atol": 1e-6 * np.abs(expected).max()}
            np.testing.assert_allclose(values[field], expected, **close, err_msg=f"{scale} {field}")


def test_norms_of_ordinary_numbers_are_those_of_the_plain_formula_to_the_last_bit():
    for seed, spread in enumerate((1e-12, 1e-6, 1.0, 1e4, 1e12)):
        tree = {"a": spread * draw(seed, 1000), "b": spread * draw(seed + 9, 30, 20)}
        assert jax.jit(trees.norm)(tree) == jax.jit(optax.tree.norm)(tree)
        kernel = tree["b"]
        found, plain = jax.jit(lambda x: (euclidean.norm(x, (0,)), jnp.sqrt(jnp.sum(x * x, 0))))(
            kernel
        )
        np.testing.assert_array_equal(found, plain)
        found, plain = (
            optax.tree.vdot(tree, tree) / (optax.tree.norm(tree) * optax.tree.norm(tree)),
            trees.cosine(tree, tree),
        )
        np.testing.assert_allclose(found, plain, rtol=1e-6)


def test_norms_pass_on_what_is_not_finite_and_have_derivatives_at_zero():
    for bad in (jnp.nan, jnp.inf):
        x = jnp.array([1.0, bad, 3.0], SINGLE)
        np.testing.assert_array_equal(trees.norm({"x": x}), bad)
        np.testing.assert_array_equal(euclidean.norm(jnp.stack([x, x]), (1,)), [bad, bad])
    assert trees.norm({"x": jnp.zeros(3)}) == euclidean.norm(jnp.zeros((0, 2))) == 0
    for size in (0.0, 1.0, 2.0**90):
        point = jnp.array([3.0, 4.0], SINGLE) * jnp.float32(size)
        product = jax.jvp(jax.grad(euclidean.norm), (point,), (jnp.ones(2, SINGLE),))
        length = jnp.array([0.6, 0.8]) if size else jnp.zeros(2)
        np.testing.assert_allclose(product[0], length, rtol=1e-6)
        bend = (1 - 1.4 * np.array([0.6, 0.8])) / (5 * size) if size else np.zeros(2)
        np.testing.assert_allclose(product[1], bend, rtol=1e-4)


def test_norms_of_half_precision_are_summed_in_single_precision():
    x = jnp.full((1024,), 300, jnp.float16)
    assert euclidean.norm(x) == trees.norm([x]) == 9600
    assert euclidean.norm(x).dtype == trees.norm([x]).dtype == jnp.float16


# Samples on a grid of 1/64 about an offset at which float32 resolves 1/1024: moved exactly.
OFFSET = 1e4
GRID_A, GRID_B = (jnp.round(64 * x) / 64 for x in (A, B))


MOVED = {
    "exact": earth_mover.exact,
    "sliced": lambda a, b: earth_mover.sliced(jax.random.key(0), a, b, directions=16),
    "bounds": earth_mover.bounds,
    "channel bounds": earth_mover.channel_bounds,
    "paired": earth_mover.paired,
    "per channel": earth_mover.per_channel,
    "moment changes": functools.partial(moment_changes, axes=(0,)),
    "shape": lambda a, b: shape_of(a),
    "distribution": lambda a, b: distribution(a, b, edges=jnp.zeros(2, SINGLE))[-3:],
    "principal shares": lambda a, b: principal_components(a).shares,
    "probe": lambda a, b: earth_mover_probe(jax.random.key(1), a, b),
}


@pytest.mark.parametrize("name", MOVED)
def test_results_do_not_depend_on_how_far_from_the_origin_samples_lie(name):
    function = jax.jit(MOVED[name])
    near, far = function(GRID_A, GRID_B), function(OFFSET + GRID_A, OFFSET + GRID_B)
    chex.assert_trees_all_close(far, near, rtol=2e-5, atol=2e-6)


def test_the_distance_of_two_pairs_far_from_the_origin_is_right():
    a = jnp.array([[1e4], [1e4 + 1]], SINGLE)
    assert earth_mover.exact(a, a + 0.5) == 0.5
    # In another order, too, where the cost of no pair is known directly.
    assert earth_mover.exact(a, a[::-1] + 0.5) == 0.5
    assert earth_mover.exact(a, a[::-1]) == 0
    x = draw(7, 40, 30)
    assert earth_mover.exact(x, x[::-1]) == 0


def test_a_constant_channel_has_no_variance_skewness_or_kurtosis_whatever_its_value():
    for value in (0.1, 1e4 + 1 / 3):
        var, skewness, kurtosis = shape_of(jnp.full((1000, 1), value, SINGLE))
        assert (var[0], skewness[0], kurtosis[0]) == (0, 0, 0)


def test_a_small_step_far_from_the_origin_changes_the_mean_by_that_step():
    before = OFFSET + GRID_A
    after = before + 2.0**-8
    found = distribution(before, after, edges=jnp.zeros(2, SINGLE))
    assert (found.mean_change, found.variance_change) == (2.0**-8, 0)
    moved = earth_mover_probe(jax.random.key(0), before, after)
    assert (moved.mean_change, moved.variance_change) == (2.0**-8, 0)
    np.testing.assert_allclose(moved.exact, 2.0**-8 * 6**0.5, rtol=1e-6)


def test_rounding_noise_of_large_gradients_is_a_number():
    weights = jnp.ones(3, SINGLE) * 2.0**70

    def loss(x):
        return jnp.sum(weights * x)

    assert rounding_noise(loss, jnp.ones(3, SINGLE)) == 0
