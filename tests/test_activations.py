"""Activations and their distributions against numpy."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from conftest import cast, tiny_model

from bnjax import train
from bnjax.errors import UsageError
from bnjax.losses import cross_entropy
from bnjax.models import layer_names
from bnjax.probes.activations import distribution
from bnjax.studies.distributions.measure_activations import make_distributions
from bnjax.train.step import compute_gradient

EDGES = np.linspace(-2.0, 2.0, 9)


@pytest.fixture
def activations():
    """Two batches of activations `[5, 4, 4, 3]`, units of different mean and deviation."""
    generator = np.random.default_rng(0)
    scale, shift = np.array([0.5, 1.0, 3.0]), np.array([0.0, 1.0, -1.0])
    return tuple(scale * generator.normal(size=(5, 4, 4, 3)) + shift for _ in range(2))


def test_a_distribution_is_numpys(activations):
    before, after = activations
    measured = distribution(
        jnp.asarray(before), jnp.asarray(after), edges=jnp.asarray(EDGES), channel=2
    )
    inside = np.clip(before.ravel(), -1.999, 1.999)
    np.testing.assert_allclose(measured.histogram, np.histogram(inside, EDGES)[0] / inside.size)
    levels = [15, 50, 85]
    np.testing.assert_allclose(
        measured.percentiles, np.percentile(before, levels, method="inverted_cdf")
    )
    np.testing.assert_allclose(
        measured.channel_percentiles, np.percentile(before[..., 2], levels, method="inverted_cdf")
    )
    rows, moved = before.reshape(-1, 3), after.reshape(-1, 3)
    units = range(3)
    mean = np.mean([rows[:, j].mean() for j in units])
    deviation = np.mean([rows[:, j].std() for j in units])
    mean_change = np.mean([abs(moved[:, j].mean() - rows[:, j].mean()) for j in units])
    variance_change = np.mean([abs(moved[:, j].var() - rows[:, j].var()) for j in units])
    np.testing.assert_allclose(measured.mean, mean)
    np.testing.assert_allclose(measured.deviation, deviation)
    np.testing.assert_allclose(measured.mean_change, mean_change)
    np.testing.assert_allclose(measured.variance_change, variance_change)


def test_what_lies_outside_is_in_the_outer_bins():
    values = jnp.array([[-100.0], [-0.5], [0.5], [0.6], [1e30]])
    measured = distribution(values, edges=jnp.array([-1.0, 0.0, 1.0, 2.0]))
    assert measured.histogram.tolist() == [0.4, 0.4, 0.2]
    assert np.isnan(measured.mean_change)
    only_two = distribution(values, edges=jnp.array([0.0, 1.0]))
    assert only_two.histogram.tolist() == [1.0]


def test_what_is_not_a_number_is_in_no_bin():
    values = jnp.array([[0.5, jnp.nan], [0.5, 0.5]])
    assert np.isnan(distribution(values, edges=jnp.array([0.0, 1.0, 2.0])).histogram).all()


def test_a_unit_or_edges_that_do_not_exist_are_refused():
    values = jnp.zeros((2, 3))
    with pytest.raises(UsageError, match=r"channel=3 does not exist: choose from 0 to 2"):
        distribution(values, edges=jnp.array([0.0, 1.0]), channel=3)
    with pytest.raises(UsageError, match="at least two"):
        distribution(values, edges=jnp.array([0.0]))


def convolve(images, kernel, bias):
    """3×3 convolution with zeros outside, the obvious way."""
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    out = np.zeros((*images.shape[:3], kernel.shape[-1]))
    height, width = images.shape[1:3]
    for row in range(3):
        for column in range(3):
            window = padded[:, row : row + height, column : column + width]
            out += np.einsum("bhwc,cf->bhwf", window, kernel[row, column])
    return out + bias


def forward(params, images, normalised):
    """The tiny network written by hand: what each layer hands to its non-linearity."""
    found, x, params = {}, np.asarray(images), jax.tree.map(np.asarray, params)
    for name in ("conv1", "conv2"):
        layer = params[name]
        x = convolve(x, layer["kernel"], layer["bias"])
        if normalised:
            axes = (0, 1, 2)
            x = (x - x.mean(axes)) / np.sqrt(x.var(axes) + 1e-5)
            x = x * layer["norm"]["scale"] + layer["norm"]["bias"]
        found[name] = x
        x = np.maximum(x, 0)
        batch, height, width, channels = x.shape
        x = x.reshape(batch, height // 2, 2, width // 2, 2, channels).max((2, 4))
    x = x.reshape(len(x), -1)
    found["output"] = x @ params["output"]["kernel"] + params["output"]["bias"]
    return found


def test_preactivations_are_those_of_a_forward_pass_by_hand(problem, batch):
    model, params, batch_stats, _ = problem
    # γ and β away from 1 and 0, so that the normaliser's own parameters count.
    params = jax.tree.map(lambda leaf: leaf + 0.3, params)
    measured = jax.jit(model.preactivations)(params, batch_stats, batch.images)
    expected = forward(params, batch.images, normalised=bool(batch_stats))
    assert list(layer_names(model, (8, 8, 3))) == list(expected)
    assert measured.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(measured[name], values, rtol=1e-9, atol=1e-9, err_msg=name)


def start(model, params, batch_stats, optimizer, batch):
    """A state, and the gradient of its step."""
    step = jnp.zeros((), jnp.int32)
    state = train.TrainState(step, params, batch_stats, optimizer.init(params))
    return state, jax.jit(functools.partial(compute_gradient, model, cross_entropy))(state, batch)


def test_a_steps_change_is_that_of_the_update_and_zero_without_one(problem, batch):
    model, params, batch_stats, _ = problem
    optimizer = optax.sgd(0.1)
    state, computed = start(model, params, batch_stats, optimizer, batch)
    measure = make_distributions(model, optimizer, ("conv2", "conv1"), EDGES)
    measured = measure(state, batch, computed)
    moved = jax.tree.map(lambda leaf, slope: leaf - 0.1 * slope, params, computed.gradient)
    here, there = (forward(point, batch.images, bool(batch_stats)) for point in (params, moved))
    axes = (0, 1, 2)
    for row, layer in enumerate(("conv2", "conv1")):
        mean = np.abs(there[layer].mean(axes) - here[layer].mean(axes)).mean()
        variance = np.abs(there[layer].var(axes) - here[layer].var(axes)).mean()
        np.testing.assert_allclose(measured.mean_change[row], mean, rtol=1e-6)
        np.testing.assert_allclose(measured.variance_change[row], variance, rtol=1e-6)

    standing = computed._replace(gradient=jax.tree.map(jnp.zeros_like, computed.gradient))
    still = measure(state, batch, standing)
    assert still.mean_change.tolist() == still.variance_change.tolist() == [0, 0]
    np.testing.assert_array_equal(still.histogram, measured.histogram)


@pytest.mark.parametrize("redraw", [False, True])
def test_noise_moves_the_activations_only_where_it_is_redrawn(batch, redraw):
    model, optimizer = tiny_model("noise"), optax.sgd(0.1)
    params = cast(model.init(jax.random.key(0), batch.images))["params"]
    noisy = batch._replace(key=jax.random.key(1))
    state, computed = start(model, params, {}, optimizer, noisy)
    standing = computed._replace(gradient=jax.tree.map(jnp.zeros_like, computed.gradient))
    measure = make_distributions(model, optimizer, ("conv1",), EDGES, redraw=redraw)
    change = float(measure(state, noisy, standing).mean_change[0])
    assert 0.1 < change < 1 if redraw else change == 0


def test_a_layer_that_does_not_exist_is_refused(batch):
    model, optimizer = tiny_model("none"), optax.sgd(0.1)
    variables = cast(model.init(jax.random.key(0), batch.images))
    state, computed = start(model, variables["params"], {}, optimizer, batch)
    measure = make_distributions(model, optimizer, ("conv1", "conv9"), EDGES)
    with pytest.raises(UsageError, match="layers conv9: the model has conv1 conv2 output"):
        jax.eval_shape(measure, state, batch, computed)
