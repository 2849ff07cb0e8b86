"""Noise against its distribution, and ℓp normalisation against numpy."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from conftest import cast, tiny_model

from bnjax import losses
from bnjax.data import make_pipeline
from bnjax.errors import UsageError
from bnjax.models.norms import noisy, none, weight_norm, with_exceptions
from bnjax.models.norms.batch import LpNorm
from bnjax.models.norms.noise import NoiseScale, draw_noise

DRAWS, EXAMPLES, UNITS = 500, 64, 8
PAPER = NoiseScale(mean=0.5, deviation=1.25, mean_spread=0.1, deviation_spread=0.1)
P_VALUE = 1e-4  # of fixed draws: a test of the right distribution fails for 1 seed in 10⁴


@pytest.fixture(scope="module")
def noise():
    """Many steps' draws of one layer: scale and shift `[draws, examples, units]`."""
    keys = jax.random.split(jax.random.key(0), DRAWS)
    draw = jax.vmap(lambda key: draw_noise(key, (EXAMPLES, UNITS), jnp.float64, PAPER))
    return jax.tree.map(np.asarray, draw(keys))


# A unit's mean over a step's examples is its μ_j, up to a spread of 0.1/√(3 · 64). Two examples of
# a unit differ by a difference of two uniforms, triangular on ±0.2, and of two normals.
LAWS = {
    "mean of a unit": (lambda noise: noise.shift.mean(axis=1), scipy.stats.uniform(-0.5, 1.0)),
    "shifts of two examples": (
        lambda noise: noise.shift[:, ::2] - noise.shift[:, 1::2],
        scipy.stats.triang(0.5, loc=-0.2, scale=0.4),
    ),
    "scales of two examples": (
        lambda noise: noise.scale[:, ::2] - noise.scale[:, 1::2],
        scipy.stats.norm(0, 0.1 * math.sqrt(2)),
    ),
}


@pytest.mark.parametrize("name", LAWS)
def test_noise_has_its_law_by_kolmogorov_and_smirnov_and_by_two_moments(noise, name):
    of, law = LAWS[name]
    values = of(noise).ravel()
    assert scipy.stats.kstest(values, law.cdf).pvalue > P_VALUE
    assert abs(values.mean() - law.mean()) < 5 * law.std() / math.sqrt(values.size)
    fourth = float(law.stats("k")) + 2
    assert abs(values.var() - law.var()) < 5 * law.var() * math.sqrt(fourth / values.size)


def test_the_default_strength_is_the_papers_and_the_largest_shift_its_limit(noise):
    assert NoiseScale() == PAPER
    assert 0.59 < np.abs(noise.shift).max() < 0.6


def test_units_deviations_are_uniform_from_one(noise):
    units = noise.scale.mean(axis=1)
    # The mean of 64 normals blurs the edges of the uniform law by 0.1/8.
    error = 0.1 / math.sqrt(EXAMPLES)
    assert abs(units.mean() - 1.125) < 5 * 0.25 / math.sqrt(12 * units.size)
    np.testing.assert_allclose(units.var(), 0.25**2 / 12 + error**2, rtol=0.05)
    assert units.min() > 1 - 6 * error
    assert units.max() < 1.25 + 6 * error


def test_units_and_the_two_parts_are_drawn_independently(noise):
    shifts, scales = noise.shift.mean(axis=1), noise.scale.mean(axis=1)
    correlations = np.corrcoef(np.concatenate([shifts, scales], axis=1).T)
    np.fill_diagonal(correlations, 0)
    assert np.abs(correlations).max() < 5 / math.sqrt(DRAWS)


def test_pixels_have_noise_of_their_own_and_share_their_units():
    drawn = draw_noise(jax.random.key(3), (2, 5, 5, 3), jnp.float64, PAPER)
    assert len(np.unique(drawn.shift)) == len(np.unique(drawn.scale)) == 2 * 5 * 5 * 3
    assert (np.ptp(drawn.shift, axis=(0, 1, 2)) < 0.2).all()
    still = NoiseScale(mean_spread=0.0, deviation_spread=0.0)  # only units differ
    drawn = draw_noise(jax.random.key(3), (6, 3), jnp.float64, still)
    assert len(np.unique(drawn.shift)) == len(np.unique(drawn.scale)) == 3


@pytest.mark.parametrize("norm", ["noisy_batch", "noise"])
def test_noise_is_that_of_the_step_and_absent_when_not_training(norm, batch):
    model = tiny_model(norm)
    variables = cast(model.init(jax.random.key(0), batch.images))

    @functools.partial(jax.jit, static_argnums=0)
    def logits(train, key):
        return model.apply(**variables, images=batch.images, train=train, key=key)[0]

    first, again, other = (logits(True, jax.random.key(n)) for n in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.1
    calm = [logits(False, jax.random.key(n)) for n in (1, 2)]
    if norm == "noise":  # is then the network without it
        plain = jax.jit(functools.partial(tiny_model("none").apply, train=False))
        calm.append(plain(**variables, images=batch.images)[0])
    for own in calm[1:]:
        np.testing.assert_array_equal(own, calm[0])
    with pytest.raises(UsageError, match=r"give Model\.apply a key="):
        jax.eval_shape(functools.partial(logits, True), None)


def test_noise_leaves_normalised_kernels_and_reaches_every_exception():
    kernels = weight_norm()
    norm = noisy(with_exceptions(kernels, {"conv2": none()}))
    assert norm.name == f"noisy_{kernels.name}"
    assert norm.reparametrise is kernels.reparametrise
    assert norm.for_layer("conv2").name == "noise"


def test_a_layers_output_is_scaled_and_shifted_by_draws_of_the_papers_strength(batch):
    noisy, plain = tiny_model("noise"), tiny_model("none")
    variables = cast(plain.init(jax.random.key(0), batch.images))
    observe = jax.jit(functools.partial(noisy.preactivations, **variables, images=batch.images))
    plainly = jax.jit(functools.partial(plain.preactivations, **variables))
    clean = np.asarray(plainly(images=batch.images)["conv1"])
    shifts = []
    for seed in range(40):
        disturbed = observe(key=jax.random.key(seed))["conv1"]
        for unit in range(clean.shape[-1]):
            x, y = clean[..., unit].ravel(), np.asarray(disturbed)[..., unit].ravel()
            slope, shift = np.polyfit(x, y, 1)
            assert 0.97 < slope < 1.28
            shifts.append(shift)
    assert scipy.stats.kstest(shifts, scipy.stats.uniform(-0.5, 1.0).cdf).pvalue > P_VALUE


def test_all_probes_of_a_step_see_one_noise_and_each_step_another(noise_dataset):
    pipeline = make_pipeline(noise_dataset, 16)
    key = jax.random.key(0)
    order = pipeline.order(key, 0)
    draw = jax.jit(pipeline.batch)
    first, again, later = (
        draw(noise_dataset.train, order, key, jnp.int32(step)) for step in (0, 0, 1)
    )
    model = tiny_model("noise")
    variables = model.init(jax.random.key(0), first.images)

    @jax.jit
    def loss(batch):
        return losses.on_batch(model, variables["batch_stats"], batch)(variables["params"])

    assert loss(first) == loss(again)
    # The same images under the next step's key: the noise alone makes the difference.
    assert loss(first) != loss(first._replace(key=later.key))


def lp(x, power):
    """The average ℓp norm of each channel, by numpy."""
    size = np.abs(x).reshape(-1, x.shape[-1])
    return size.max(axis=0) if math.isinf(power) else (size**power).mean(axis=0) ** (1 / power)


@pytest.mark.parametrize("power", [1.0, 2.0, math.inf])
@pytest.mark.parametrize("shape", [(7, 3), (4, 5, 5, 3)])
def test_lp_normalisation_is_numpys(power, shape):
    generator = np.random.default_rng(0)
    x = generator.normal(size=shape) * np.array([0.1, 1.0, 5.0]) + np.array([0.0, 2.0, -3.0])
    module = LpNorm(power, momentum=0.8)
    variables = module.init(jax.random.key(0), jnp.asarray(x), train=False)
    scale, bias = np.array([0.5, 1.0, 2.0]), np.array([1.0, 0.0, -1.0])
    params = {"scale": jnp.asarray(scale), "bias": jnp.asarray(bias)}
    axes = tuple(range(x.ndim - 1))
    mean, size = x.mean(axes), lp(x, power)
    variables = {**variables, "params": params}
    collections = ["batch_stats", "moments"]
    out, updated = module.apply(variables, jnp.asarray(x), train=True, mutable=collections)
    np.testing.assert_allclose(out, scale * (x - mean) / (size + 1e-5) + bias, rtol=1e-9)
    np.testing.assert_allclose(updated["moments"]["mean"], mean)
    np.testing.assert_allclose(updated["moments"]["size"], size)
    running = updated["batch_stats"]
    np.testing.assert_allclose(running["mean"], 0.2 * mean)
    np.testing.assert_allclose(running["size"], 0.8 + 0.2 * size)
    at_test = module.apply({"params": params, "batch_stats": running}, jnp.asarray(x), train=False)
    expected = scale * (x - 0.2 * mean) / (0.8 + 0.2 * size + 1e-5) + bias
    np.testing.assert_allclose(at_test, expected, rtol=1e-9)

    def total(x):
        return module.apply(variables, x, train=True, mutable=["batch_stats"])[0].sum()

    assert np.isfinite(jax.grad(total)(jnp.zeros(shape))).all()  # a channel of zeros
