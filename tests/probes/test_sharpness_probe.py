"""Batch, critical and spherical sharpness, rotation: exact on quadratics and at the edge 2/lr."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from scipy.stats import t as student

from bnjax import losses, probes
from bnjax.errors import UsageError

RATE, DECAY = 0.1, 0.3
CURVATURE = jnp.array([1.0, 3.0, 7.0])
POINT = {"a": jnp.array([2.0, -1.0]), "b": jnp.array([0.5])}


def quadratic(params, curvature=CURVATURE):
    return 0.5 * jnp.sum(curvature * jnp.concatenate([params["a"], params["b"]]) ** 2)


def weights(curvature, point):
    """gᵀHg/‖g‖² of ½ Σ h w²."""
    gradient = curvature * np.concatenate([point["a"], point["b"]])
    return float(np.sum(curvature * gradient**2) / np.sum(gradient**2))


# Step and batch sharpness


def test_step_sharpness_is_the_curvature_along_the_gradient_and_that_of_the_line():
    found = probes.step_sharpness(quadratic, POINT)
    np.testing.assert_allclose(found, weights(np.asarray(CURVATURE), POINT), rtol=1e-14)
    line = probes.line(quadratic, POINT, jnp.array([RATE]))
    np.testing.assert_allclose(found, line.curvature_limit, rtol=1e-14)
    part = probes.step_sharpness(quadratic, POINT, parameters="b")
    np.testing.assert_allclose(part, 7.0, rtol=1e-14)


def test_batch_sharpness_is_the_mean_of_ratios_with_a_t_interval():
    batches = jax.random.uniform(jax.random.key(0), (5, 3), float, 1.0, 9.0)
    found = jax.jit(lambda point: probes.batch_sharpness(quadratic, point, batches))(POINT)
    steps = [weights(np.asarray(one), POINT) for one in batches]
    np.testing.assert_allclose(found.steps, steps, rtol=1e-13)
    low, high = student.interval(0.95, 4, np.mean(steps), np.std(steps, ddof=1) / 5**0.5)
    expected = (np.mean(steps), low, high)
    np.testing.assert_allclose((found.mean, found.low, found.high), expected, rtol=1e-12)


def test_batch_sharpness_is_not_the_ratio_of_means():
    """One batch has a large gradient: it weighs as much as the other."""

    def loss(params, scale):
        return scale * quadratic(params, scale * CURVATURE)

    found = probes.batch_sharpness(loss, POINT, jnp.array([1.0, 10.0]))
    one = weights(np.asarray(CURVATURE), POINT)
    np.testing.assert_allclose(found.mean, (1 + 100) / 2 * one, rtol=1e-13)


def test_one_batch_has_no_interval_and_none_is_refused():
    found = probes.batch_sharpness(quadratic, POINT, CURVATURE[None])
    assert np.isfinite(found.mean)
    assert np.isnan([found.low, found.high]).all()
    with pytest.raises(UsageError, match="batches are empty"):
        probes.batch_sharpness(quadratic, POINT, jnp.zeros((0, 3)))


def test_gradient_descent_at_a_step_sharpness_of_2_over_lr_keeps_its_loss():
    """So it stands between falling and rising: the edge of stability."""
    for factor, way in ((0.99, -1), (1.0, 0), (1.01, 1)):
        curvature = jnp.array([2 / RATE]) * factor

        def loss(w, curvature=curvature):
            return 0.5 * jnp.sum(curvature * w**2)

        w = jnp.array([0.7])
        np.testing.assert_allclose(probes.step_sharpness(loss, w) * RATE / 2, factor, rtol=1e-14)
        change = loss(w - RATE * jax.grad(loss)(w)) - loss(w)
        assert np.sign(np.round(change, 10)) == way


# The critical step


def test_the_critical_sharpness_of_gradient_descent_at_its_edge_is_2_over_lr_minus_decay():
    """With decay in the step, θ − lr (g + wd θ) = −θ on a quadratic of curvature 2/lr − wd."""
    curvature = 2 / RATE - DECAY

    def loss(w):
        return 0.5 * curvature * jnp.sum(w**2)

    w = jnp.array([0.7, -1.0])
    found = probes.critical_step(loss, w, jax.grad(loss)(w), RATE)
    np.testing.assert_allclose(found.sharpness, 2 / RATE - DECAY, rtol=1e-12)
    np.testing.assert_allclose(found.step, 2 / curvature, rtol=1e-12)
    np.testing.assert_allclose(found.curvature, curvature, rtol=1e-12)
    np.testing.assert_allclose(w - RATE * (jax.grad(loss)(w) + DECAY * w), -w, rtol=1e-12)


@pytest.mark.parametrize("multiple", [0.1, 1.0, 10.0])
def test_on_a_quadratic_the_critical_step_is_exact_wherever_the_search_begins(multiple):
    direction = {"a": jnp.array([1.0, 2.0]), "b": jnp.array([3.0])}  # an optimiser's own
    d, w = (np.concatenate([tree["a"], tree["b"]]) for tree in (direction, POINT))
    sharpness = np.sum(CURVATURE * d**2) / np.sum(CURVATURE * d * w)
    start = multiple * 2 / sharpness
    found = jax.jit(lambda point: probes.critical_step(quadratic, point, direction, start))(POINT)
    np.testing.assert_allclose(found.sharpness, sharpness, rtol=1e-9)
    np.testing.assert_allclose(found.curvature, sharpness, rtol=1e-9)
    np.testing.assert_allclose(found.loss, quadratic(POINT), rtol=1e-15)


# Spherical sharpness


def on_a_circle(w):
    """Of the angle alone: λ ‖w‖² is 6 where the second weight is 0."""
    return 3 * w["v"][1] ** 2 / jnp.sum(w["v"] ** 2) + w["free"] ** 2


@pytest.mark.parametrize("norm", [0.5, 1.0, 8.0])
def test_spherical_sharpness_does_not_depend_on_the_norm_of_scale_invariant_weights(norm):
    point = {"v": jnp.array([norm, 0.0]), "free": jnp.array(2.0)}
    find = jax.jit(
        lambda point, key: probes.spherical_sharpness(
            on_a_circle, point, key, RATE, parameters="v", lanczos_steps=9
        )
    )
    found = find(point, jax.random.key(0))
    np.testing.assert_allclose(found.sharpness, 6, rtol=1e-12)
    np.testing.assert_allclose(found.effective_rate, RATE / norm**2, rtol=1e-14)
    np.testing.assert_allclose(found.product, 6 * RATE / norm**2, rtol=1e-12)
    assert found.residual < 1e-12
    turned = find(point | {"v": jnp.array([norm, 0.4 * norm])}, jax.random.key(1))
    assert turned.invariance < 1e-15


def test_spherical_sharpness_times_effective_rate_is_2_at_the_edge():
    """There gradient descent throws a small angle to its negative; beside it, it falls or rises."""
    for factor, way in ((0.99, -1), (1.0, 0), (1.01, 1)):
        norm = (RATE * 6 / (2 * factor)) ** 0.5
        point = {"v": jnp.array([norm, 0.0]), "free": jnp.array(0.0)}
        found = probes.spherical_sharpness(
            on_a_circle, point, jax.random.key(0), RATE, parameters="v"
        )
        np.testing.assert_allclose(found.product, 2 * factor, rtol=1e-12)
        moved = point | {"v": jnp.array([norm, 1e-5 * norm])}
        after = moved["v"] - RATE * jax.grad(on_a_circle)(moved)["v"]
        growth = float(after[1] / moved["v"][1])
        np.testing.assert_allclose(growth, 1 - 2 * factor, rtol=1e-8)
        assert np.sign(np.round(abs(growth) - 1, 6)) == way


def test_weights_that_are_not_scale_invariant_are_told_by_kappa():
    found = probes.spherical_sharpness(quadratic, POINT, jax.random.key(0), RATE)
    np.testing.assert_allclose(found.product, 7 * RATE, rtol=1e-12)
    assert found.invariance > 0.5


# Rotation


def test_rotation_is_the_angle_of_each_group_over_its_equilibrium():
    before = {"a": jnp.array([1.0, 0.0]), "b": jnp.array([0.0, 1.0]), "c": jnp.zeros(2)}
    after = {"a": jnp.array([3.0, 3.0]), "b": jnp.array([0.0, 2.0]), "c": jnp.ones(2)}
    rest = probes.equilibrium_angle(RATE, DECAY, momentum=0.9)
    np.testing.assert_allclose(rest, (2 * RATE * DECAY / 1.9) ** 0.5, rtol=1e-15)
    found = probes.rotation(before, after, equilibrium=rest)
    np.testing.assert_allclose(found.angles, [np.pi / 4, 0, np.nan], atol=1e-15)
    np.testing.assert_allclose(found.ratios, found.angles / rest)
    together = probes.rotation(before, after, groups={"both": ["a", "b"]})
    expected = np.arccos((3 + 2) / 2**0.5 / 22**0.5)
    np.testing.assert_allclose(together.angles, [expected], rtol=1e-14)
    assert np.isnan(together.ratios).all()


@pytest.mark.parametrize(("momentum", "b1"), [(0.0, None), (0.9, None), (0.0, 0.9)])
def test_a_scale_invariant_group_under_random_gradients_comes_to_its_equilibrium(momentum, b1):
    """Noise across w that falls as 1/‖w‖; the mean of 300 late angles, each good to 1/√(2·2000)."""
    rate, decay, size = 0.05, 0.05, 2000
    rest = probes.equilibrium_angle(rate, decay, momentum=momentum, b1=b1)

    def step(carry, key):
        w, velocity, square = carry
        noise = jax.random.normal(key, w.shape)
        gradient = (noise - jnp.vdot(noise, w) / jnp.vdot(w, w) * w) / jnp.linalg.norm(w)
        if b1 is None:  # decay in the gradient
            velocity = momentum * velocity + gradient + decay * w
            moved = w - rate * velocity
        else:  # AdamW, whose second moment is that of all weights here; decay beside it
            velocity = b1 * velocity + (1 - b1) * gradient
            square = 0.99 * square + 0.01 * jnp.mean(gradient**2)
            moved = w - rate * (velocity / jnp.sqrt(square) + decay * w)
        found = probes.rotation({"w": w}, {"w": moved}, equilibrium=rest)
        return (moved, velocity, square), found.ratios[0]

    w = jax.random.normal(jax.random.key(0), (size,))
    keys = jax.random.split(jax.random.key(1), 2500)
    _, ratios = lax.scan(step, (w, jnp.zeros(size), jnp.array(1.0 / size)), keys)
    np.testing.assert_allclose(ratios[-300:].mean(), 1, atol=0.02)


# Which statistics


def test_recalibrated_statistics_come_close_to_those_of_a_large_batch(problem_with_batchnorm):
    model, params, batch_stats, draw = problem_with_batchnorm
    batch = draw(0, 1000)
    calibration = draw(1, 1024).images.reshape(4, 256, 8, 8, 3)
    found = losses.statistics_gap(model, params, batch_stats, batch, calibration)
    own, running, frozen, recalibrated = found.losses
    assert tuple(losses.STATISTICS) == ("batch", "running", "frozen", "recalibrated")
    np.testing.assert_allclose(frozen, own, rtol=1e-12)
    assert abs(running - own) > 0.1  # those before the first step
    assert abs(recalibrated - own) < 0.01 * own
    assert ((found.accuracies >= 0) & (found.accuracies <= 1)).all()
    whole = losses.statistics_gap(model, params, batch_stats, batch, batch.images[None])
    np.testing.assert_allclose(whole.losses[3], own, rtol=1e-12)


@pytest.fixture(scope="module")
def problem_with_batchnorm():
    from conftest import cast, tiny_model

    from bnjax.data import Batch

    model = tiny_model("batch")

    def draw(seed, count):
        images = 2 + 3 * jax.random.normal(jax.random.key(seed), (count, 8, 8, 3), jnp.float64)
        return Batch(images, jnp.argmax(images.mean((1, 2)), axis=-1).astype(jnp.int32))

    variables = cast(model.init(jax.random.key(2), draw(0, 2).images))
    return model, variables["params"], variables["batch_stats"], draw
