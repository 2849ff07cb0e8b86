"""The theorems on random layers in float64 against dense twins."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import cast, tiny_model

from bnjax import models
from bnjax.errors import UsageError
from bnjax.losses import cross_entropy
from bnjax.models import interception, norms
from bnjax.probes.theory import steepness, theory

EQUALITIES = ("lipschitz", "curvature", "worst_gradient")


def measured_at(head, y, scale, shift, **options):
    """`theory` as one compiled program."""
    return jax.jit(lambda *layer: theory(head, *layer, **options))(y, scale, shift)


def random_layer(shape=(12, 5), seed=0):
    """y, γ (of either sign), β and a smooth head that ties rows and channels together."""
    keys = jax.random.split(jax.random.key(seed), 5)
    y, mix = (jax.random.normal(key, shape, jnp.float64) for key in keys[:2])
    scale, shift = (jax.random.normal(key, shape[-1:], jnp.float64) for key in keys[2:4])
    scale = scale + jnp.sign(scale) / 2
    weights = jax.random.normal(keys[4], (shape[-1], 7), jnp.float64)

    def head(z):
        hidden = jnp.tanh((z + mix) @ weights)
        return jnp.sum(jax.nn.logsumexp(hidden, axis=-1)) + jnp.sum(hidden[:-1] * hidden[1:])

    return head, 3 * y + 1, scale, shift


@pytest.fixture(scope="module")
def trained(batch):
    """A tiny network with BatchNorm, ε = 0, away from its initialisation."""
    module = tiny_model("batch").module
    model = models.Model(module.clone(norm=norms.batch_norm(epsilon=0.0)))
    variables = cast(model.init(jax.random.key(0), batch.images))
    draw = np.random.default_rng(3).standard_normal
    moved = jax.tree.map(lambda x: x + 0.1 * draw(x.shape), variables["params"])
    return model, moved, variables["batch_stats"]


@pytest.mark.parametrize("shape", [(12, 5), (200, 2)])
def test_the_equalities_hold_on_random_dense_layers(shape):
    measured = measured_at(*random_layer(shape), channels=range(shape[1]), input_norm=0.3)
    for name in EQUALITIES:
        equality = getattr(measured, name)
        assert np.abs(equality.residual).max() <= 1e-10, name
        assert np.abs(equality.left).max() > 1e-3, name
    # The coefficient as printed is wrong, and so is the inequality: 1/√m takes away too much.
    assert np.abs(measured.printed.residual).max() > 1e-2
    assert (measured.lipschitz.left > measured.printed.right).all()


def test_the_equalities_hold_on_a_convolution_of_a_network(trained, batch):
    model, params, batch_stats = trained
    found = interception.at_norms(model, ["conv1"], params, batch_stats, batch.images)["conv1"]
    shape = found.activations.shape
    assert shape == (16, 8, 8, 4)
    norm = params["conv1"]["norm"]

    def head(rows):
        return cross_entropy(found.head(rows.reshape(shape)), batch.labels)

    rows = found.activations.reshape(-1, shape[-1])
    measured = measured_at(head, rows, norm["scale"], norm["bias"], channels=[0, 3])
    for name in EQUALITIES:
        assert np.abs(getattr(measured, name).residual).max() <= 1e-10, name

    # v and ⟨g, ŷ⟩ against the gradient of the whole network through its own BatchNorm.
    def loss(params):
        logits, _ = model.apply(params, batch_stats, batch.images, train=True)
        return cross_entropy(logits, batch.labels)

    value, gradient = jax.jit(jax.value_and_grad(loss))(params)
    patches = jax.lax.conv_general_dilated_patches(
        batch.images, (3, 3), (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    ).reshape(-1, 3, 3, 3)
    kernel = np.einsum("rcij,ru->ijcu", patches, measured.steepness.gradient)
    np.testing.assert_allclose(kernel, gradient["conv1"]["kernel"], atol=1e-13)
    np.testing.assert_allclose(measured.alignment, gradient["conv1"]["norm"]["scale"], atol=1e-12)
    np.testing.assert_allclose(measured.steepness.loss, value, rtol=1e-12)


def test_both_sides_against_dense_hessians():
    head, y, scale, shift = random_layer((9, 3), seed=4)
    channels = [2, 0]
    measured = measured_at(head, y, scale, shift, channels=channels)

    def normalise(y):
        return (y - y.mean(0, keepdims=True)) / y.std(0, keepdims=True) * scale[None] + shift[None]

    def through(y):
        return head(normalise(y))

    v = jax.jit(jax.grad(through))(y)
    inner, outer = (jax.jit(jax.hessian(f))(x) for f, x in ((head, normalise(y)), (through, y)))
    plain = jax.jit(lambda y: steepness(through, y, channels=channels))(y)
    for i, j in enumerate(channels):
        quadratic, curvature = (v[:, j] @ h[:, j, :, j] @ v[:, j] for h in (inner, outer))
        np.testing.assert_allclose(measured.quadratic[i], quadratic, rtol=1e-10)
        np.testing.assert_allclose(measured.curvature.left[i], curvature, rtol=1e-9)
        np.testing.assert_allclose(plain.curvature[i], curvature, rtol=1e-9)
    whole = jnp.einsum("iu,iujv,jv->", v, outer, v)
    for found in (plain, measured.steepness):
        np.testing.assert_allclose(found.layer_curvature, whole, rtol=1e-10)
    np.testing.assert_allclose(measured.steepness.gradient, v, rtol=1e-10, atol=1e-14)
    np.testing.assert_allclose(measured.variance, y.var(0), rtol=1e-12)


def test_no_input_of_bounded_norm_beats_the_worst_gradient_and_one_reaches_it():
    head, y, scale, shift = random_layer((8, 3), seed=5)
    bound = 0.7
    measured = measured_at(head, y, scale, shift, channels=[0], input_norm=bound)
    v = np.asarray(measured.steepness.gradient)
    generator = np.random.default_rng(0)
    best = np.zeros(3)
    for _ in range(2000):
        x = generator.standard_normal((8, 4))
        x *= bound / np.linalg.norm(x, 2)
        best = np.maximum(best, np.square(x.T @ v).sum(axis=0))
    worst = np.asarray(measured.worst_gradient.left)
    assert (best <= worst).all()
    assert (best > 0.3 * worst).all()
    for j in range(3):
        x = bound * np.outer(v[:, j], np.eye(4)[0]) / np.linalg.norm(v[:, j])
        np.testing.assert_allclose(np.square(x.T @ v[:, j]).sum(), worst[j], rtol=1e-12)
    np.testing.assert_allclose(measured.worst_gradient.right, worst, rtol=1e-9)


def test_epsilon_spoils_the_equality_by_about_its_share_of_the_variance():
    layer = random_layer()
    residuals = [
        float(np.abs(measured_at(*layer, channels=[0], epsilon=epsilon).lipschitz.residual).max())
        for epsilon in (1e-3, 1e-2)
    ]
    assert 1e-8 < residuals[0] < 1e-3
    np.testing.assert_allclose(residuals[1] / residuals[0], 10, rtol=0.05)


def test_a_channel_without_gradient_has_no_residual_and_one_that_is_not_there_is_named():
    head, y, scale, shift = random_layer()
    measured = measured_at(lambda z: jnp.sum(z[:, 1:] ** 3), y, scale, shift, channels=[0, 1])
    for name in EQUALITIES:
        assert getattr(measured, name).residual[0] == 0
    assert measured.steepness.gradient_squared[0] == 0
    with pytest.raises(UsageError, match=r"channels \[5\] do not exist: choose from 0 to 4"):
        theory(head, y, scale, shift, channels=[0, 5])


def test_interception_leaves_the_network_as_it_is(problem, batch):
    model, params, batch_stats, _ = problem
    expected, _ = model.apply(params, batch_stats, batch.images, train=True)
    outputs = interception.at_outputs(model, ["conv2", "output"], params, batch_stats, batch.images)
    for found in outputs.values():
        np.testing.assert_array_equal(found.head(found.activations), expected)
    seen = model.preactivations(params, batch_stats, batch.images)
    np.testing.assert_array_equal(outputs["conv2"].activations, seen["conv2"])
    with pytest.raises(UsageError, match=r"layers conv9 are not .* conv1 conv2 output"):
        interception.at_outputs(model, ["conv9"], params, batch_stats, batch.images)
    if not batch_stats:
        with pytest.raises(UsageError, match=r"conv1 are not .* normaliser: it has none"):
            interception.at_norms(model, ["conv1"], params, batch_stats, batch.images)
        return
    found = interception.at_norms(model, ["conv1"], params, batch_stats, batch.images)["conv1"]
    kernel, bias = params["conv1"]["kernel"], params["conv1"]["bias"]
    raw = jax.lax.conv_general_dilated(
        batch.images, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")
    )
    np.testing.assert_allclose(found.activations, raw + bias.reshape(1, 1, 1, -1), atol=1e-12)
    with pytest.raises(UsageError, match=r"output are not .* normaliser: conv1 conv2"):
        interception.at_norms(model, ["output"], params, batch_stats, batch.images)
