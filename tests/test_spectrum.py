"""The spectrum probe against dense Hessians and matrices whose spectrum is known."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import cast
from jax.flatten_util import ravel_pytree
from scipy.stats import norm as normal
from scipy.stats import t as student

from bnjax import losses, models, train
from bnjax.data import Batch, make_pipeline
from bnjax.errors import UsageError
from bnjax.models.small import Small
from bnjax.probes.points import mean_over
from bnjax.probes.spectrum import density, lanczos, mean_and_error, spectrum
from bnjax.studies.spectrum.measure import make_spectrum, probed_part

EIGENVALUES = np.array([9.0, 4.0, 1.0, 0.5, 0.1, 0.0, -0.2, -3.0])


def rotated(eigenvalues, seed=0, dtype=jnp.float64):
    """A symmetric matrix with these eigenvalues, and its eigenvectors as columns."""
    generator = np.random.default_rng(seed)
    vectors, _ = np.linalg.qr(generator.normal(size=(len(eigenvalues), len(eigenvalues))))
    return jnp.asarray(vectors * eigenvalues @ vectors.T, dtype), vectors


def quadratic(matrix, slope):
    """½ wᵀHw + slope·w on a pytree of two leaves."""

    def loss(params):
        flat = jnp.concatenate([params["a"], params["b"].reshape(-1)])
        return 0.5 * flat @ matrix @ flat + slope @ flat

    return loss


def point(size, dtype=jnp.float64):
    """A pytree of two leaves with so many numbers in all."""
    return {"a": jnp.ones(size - 4, dtype), "b": jnp.full((2, 2), 2.0, dtype)}


@pytest.mark.parametrize(("dtype", "tolerance"), [(jnp.float64, 1e-10), (jnp.float32, 2e-4)])
def test_a_known_spectrum_is_found_with_its_gradient(dtype, tolerance):
    matrix, vectors = rotated(EIGENVALUES, dtype=dtype)
    slope = jnp.asarray(np.arange(8.0), dtype)
    params = point(8, dtype)
    measure = jax.jit(
        lambda params, key: spectrum(
            quadratic(matrix, slope), params, key, lanczos_steps=8, num_vectors=2, top=3
        )
    )
    found = measure(params, jax.random.key(0))
    flat = np.asarray(ravel_pytree(params)[0])
    gradient = np.asarray(matrix @ flat + slope)
    shares = (vectors.T @ gradient) ** 2 / (gradient @ gradient)
    close = {"rtol": tolerance, "atol": tolerance}
    np.testing.assert_allclose(found.nodes[1], EIGENVALUES[::-1], **close)
    np.testing.assert_allclose(found.largest, [9, 4, 1], **close)
    np.testing.assert_allclose(found.smallest, [-3, -0.2, 0], **close)
    np.testing.assert_allclose(found.gradient_fraction, np.cumsum(shares[:3]), **close)
    np.testing.assert_allclose(found.gradient_norm, np.linalg.norm(gradient), **close)
    np.testing.assert_allclose(found.loss, 0.5 * flat @ matrix @ flat + slope @ flat, **close)
    assert all(field.dtype == dtype for field in found)


@pytest.mark.parametrize("eigenvalues", [np.geomspace(1, 1e-3, 40), EIGENVALUES])
def test_lanczos_is_the_matrix_in_its_krylov_space(eigenvalues):
    """Nodes, weights and residuals of the Ritz vectors; and 2m moments, exactly."""
    matrix, _ = rotated(eigenvalues)
    start = jax.random.normal(jax.random.key(1), eigenvalues.shape, jnp.float64)
    steps = 7 if len(eigenvalues) > 8 else 3
    found = jax.jit(lambda start: lanczos(lambda v: matrix @ v, start, start, steps))(start)
    # A slow twin: the Krylov space by QR of its powers, then the matrix in that space.
    matrix, unit = np.asarray(matrix), np.asarray(start / jnp.linalg.norm(start))
    powers = [unit]
    for _ in range(2 * steps - 1):
        powers.append(matrix @ powers[-1])
    krylov = np.stack(powers[:steps], axis=1)
    basis, _ = np.linalg.qr(krylov / np.linalg.norm(krylov, axis=0))
    values, inside = np.linalg.eigh(basis.T @ matrix @ basis)
    vectors = basis @ inside
    residuals = np.linalg.norm(matrix @ vectors - vectors * values, axis=0)
    np.testing.assert_allclose(found.nodes, values, rtol=1e-8)
    np.testing.assert_allclose(found.residuals, residuals, rtol=1e-6)
    np.testing.assert_allclose(found.weights, (vectors.T @ unit) ** 2, rtol=1e-7)
    moments = [float((found.weights * found.nodes**order).sum()) for order in range(2 * steps)]
    np.testing.assert_allclose(moments, [unit @ power for power in powers], rtol=1e-10)


@pytest.fixture(scope="module", params=[jnp.float32, jnp.float64])
def of_diagonal(request):
    """The spectrum of a diagonal matrix of size 40, compiled once for each dtype."""
    dtype = request.param
    slope, key = jnp.ones(40, dtype), jax.random.key(0)
    measure = jax.jit(
        lambda diagonal, params: spectrum(
            quadratic(jnp.diag(diagonal), slope), params, key, lanczos_steps=20, top=6
        )
    )
    return lambda diagonal: measure(jnp.asarray(diagonal, dtype), point(40, dtype))


@pytest.mark.parametrize(
    ("eigenvalues", "distinct"),
    [([3.0, 2.0, 1.0] + [0.0] * 37, [3, 2, 1, 0]), ([1.0] * 40, [1]), ([0.0] * 40, [0])],
)
def test_where_the_krylov_space_ends_nothing_is_invented(of_diagonal, eigenvalues, distinct):
    found = of_diagonal(eigenvalues)
    missing = [np.nan] * (6 - len(distinct))
    np.testing.assert_allclose(found.largest, [*distinct, *missing], atol=1e-5)
    np.testing.assert_allclose(found.smallest, [*distinct[::-1], *missing], atol=1e-5)
    np.testing.assert_allclose(found.weights.sum(), 1, rtol=1e-5)
    assert np.isfinite(found.gradient_fraction).all()
    assert found.gradient_fraction[-1] <= 1 + 1e-5


def test_a_hessian_of_nan_gives_nan(of_diagonal):
    found = of_diagonal([np.nan] * 40)
    for name in ("largest", "smallest", "nodes", "trace", "trace_error", "gradient_fraction"):
        assert np.isnan(getattr(found, name)).all(), name


def test_memory_is_a_copy_of_the_parameters_for_each_lanczos_step_and_none_for_a_vector():
    params = jnp.ones((300, 300))
    images = jax.random.normal(jax.random.key(1), (8, 300))

    def temporary(**options):
        def measure(params, key):
            return spectrum(lambda w: jnp.sum(jnp.tanh(images @ w) ** 2), params, key, **options)

        program = jax.jit(measure).lower(params, jax.random.key(0)).compile()
        return program.memory_analysis().temp_size_in_bytes / params.nbytes

    few = temporary(lanczos_steps=10, num_trace_vectors=2, num_vectors=2)
    assert abs(temporary(lanczos_steps=10, num_trace_vectors=64, num_vectors=2) - few) < 0.1
    assert abs(temporary(lanczos_steps=10, num_trace_vectors=2, num_vectors=16) - few) < 0.1
    assert 9.5 < temporary(lanczos_steps=20, num_trace_vectors=2, num_vectors=2) - few < 10.5


def test_density_is_the_sum_of_gaussians_and_integrates_to_1():
    nodes = np.array([[0.0, 2.0, np.nan], [-1.0, 0.0, 1.0]])
    weights = np.array([[0.75, 0.25, 0.0], [0.2, 0.5, 0.3]])
    grid = np.linspace(-3, 4, 701)
    found = density(nodes, weights, grid, 0.2)
    expected = sum(
        w * normal.pdf(grid, node, 0.2) / 2
        for node, w in zip(nodes.ravel(), weights.ravel(), strict=True)
        if w
    )
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(found.sum() * (grid[1] - grid[0]), 1, rtol=1e-6)


def test_nineteen_of_twenty_intervals_hold_the_trace():
    # Rademacher samples of vᵀHv: the 95 % interval of the standard error must cover tr H so often.
    matrix, _ = rotated(np.geomspace(5, 0.1, 30))
    count, runs = 8, 2000
    signs = jax.random.rademacher(jax.random.key(3), (runs, count, 30), jnp.float64)
    samples = jnp.einsum("rni,ij,rnj->rn", signs, matrix, signs)
    mean, error = jax.vmap(mean_and_error)(samples)
    half = student.ppf(0.975, count - 1) * np.asarray(error)
    covered = np.abs(np.asarray(mean) - np.trace(matrix)) <= half
    assert 0.935 < covered.mean() < 0.965
    spread = np.asarray(mean).std()
    np.testing.assert_allclose(np.sqrt((np.asarray(error) ** 2).mean()), spread, rtol=0.05)


def test_the_trace_is_the_mean_of_its_samples_and_near_the_true_one():
    matrix, _ = rotated(EIGENVALUES)
    loss = quadratic(matrix, jnp.ones(8))
    found = jax.jit(
        lambda params, key: spectrum(
            loss, params, key, lanczos_steps=2, top=1, num_trace_vectors=400
        )
    )(point(8), jax.random.key(4))
    assert abs(float(found.trace) - EIGENVALUES.sum()) < 3 * float(found.trace_error)
    off = np.asarray(matrix - jnp.diag(jnp.diag(matrix)))
    expected = np.sqrt(2 * (off**2).sum() / 400)  # the variance of a Rademacher quadratic form
    np.testing.assert_allclose(found.trace_error, expected, rtol=0.15)


@pytest.fixture(scope="module", params=["none", "batch"])
def network(request):
    """A perceptron of one hidden layer in float64, its state, and two chunks of eight images."""
    glorot = models.layers.initializer("glorot_uniform")
    norm = models.norms.by_name(request.param)
    model = models.Model(Small((), (5,), 4, norm, glorot, "tanh", 0.0))
    images = jax.random.normal(jax.random.key(1), (2, 8, 2, 2, 3), jnp.float64)
    variables = cast(model.init(jax.random.key(0), images[0]))
    keys = jax.random.split(jax.random.key(5), 2)
    part = Batch(images, jnp.arange(16, dtype=jnp.int32).reshape(2, 8) % 4, keys)
    state = train.TrainState(jnp.zeros((), jnp.int32), **variables, opt_state=())
    return request.param, model, state, part


def dense(model, state, part, mode):
    """The probed loss without any loop: its value, gradient and Hessian, as arrays."""
    flat, unravel = ravel_pytree(state.params)

    def loss(flat):
        batches = (Batch(part.images[i], part.labels[i]) for i in range(2))
        each = (losses.on_batch(model, state.batch_stats, batch, mode) for batch in batches)
        return sum(one(unravel(flat)) for one in each) / 2

    every = jax.jit(lambda flat: (loss(flat), jax.grad(loss)(flat), jax.hessian(loss)(flat)))
    return tuple(map(np.asarray, every(flat)))


def test_a_network_against_its_dense_hessian(network):
    norm, model, state, part = network
    kinds = ("batch", "running", "recalibrated")
    measure = make_spectrum(
        model,
        part,
        jax.random.key(6),
        statistics=kinds,
        lanczos_steps=60,
        num_trace_vectors=40,
        top=4,
    )
    found = measure(state, None, None)
    pooled = losses.pooled_statistics(model, state.params, state.batch_stats, part.images)
    for row, mode in enumerate(kinds):
        own = state._replace(batch_stats=pooled) if mode == "recalibrated" else state
        used = "batch" if mode == "batch" else "running"
        loss, gradient, hessian = dense(model, own, part, used)
        values, vectors = np.linalg.eigh(hessian)
        np.testing.assert_allclose(found.largest[row], values[::-1][:4], rtol=1e-6)
        np.testing.assert_allclose(found.smallest[row], values[:4], rtol=1e-6)
        shares = (vectors[:, ::-1][:, :4].T @ gradient) ** 2 / (gradient @ gradient)
        np.testing.assert_allclose(found.gradient_fraction[row], np.cumsum(shares), atol=1e-6)
        error = abs(float(found.trace[row]) - np.trace(hessian))
        assert error < 4 * float(found.trace_error[row])
        np.testing.assert_allclose(found.loss[row], loss, rtol=1e-12)
    if norm == "none":
        assert all(np.array_equal(field[0], field[1]) for field in found)
    else:
        assert abs(found.largest[0, 0] / found.largest[1, 0] - 1) > 0.01


def test_chunks_give_the_loss_gradient_and_hessian_of_their_mean(network):
    _, model, state, part = network
    params = state.params

    def chunk_loss(params, chunk):
        return losses.on_batch(model, state.batch_stats, chunk, "running")(params)

    @functools.partial(jax.jit, static_argnums=1)
    def measured(params, chunks):
        images = part.images.reshape(chunks, -1, 2, 2, 3)
        loss = mean_over(chunk_loss, Batch(images, part.labels.reshape(chunks, -1)))
        direction = jax.tree.map(jnp.ones_like, params)
        return loss(params), jax.jvp(jax.grad(loss), (params,), (direction,))

    results = [measured(params, 1), measured(params, 4)]
    for whole, split in zip(*map(jax.tree.leaves, results), strict=True):
        np.testing.assert_allclose(whole, split, rtol=1e-9, atol=1e-11)


def test_the_probed_part_is_the_first_of_the_training_set(noise_dataset):
    pipeline = make_pipeline(noise_dataset, 10)
    part = probed_part(noise_dataset, pipeline, 12, 4, jax.random.key(0))
    assert part.images.shape == (3, 4, 8, 8, 3)
    np.testing.assert_array_equal(part.labels.reshape(-1), noise_dataset.train.labels[:12])
    np.testing.assert_array_equal(
        part.images.reshape(12, 8, 8, 3), pipeline.standardise(noise_dataset.train.pixels[:12])
    )


def spectrum_of(loss=lambda p: jnp.sum(p["a"]), **options):
    return spectrum(loss, point(8), jax.random.key(0), **options)


def lanczos_of(steps):
    return lanczos(lambda v: 2 * v, jnp.ones(3), jnp.ones(3), steps)


def density_of(width):
    return density(np.zeros(2), np.full(2, 0.5), np.linspace(-1, 1, 5), width)


@pytest.mark.parametrize(
    ("act", "options", "message"),
    [
        (spectrum_of, {"lanczos_steps": 9}, "=9 must be from 2 to the number of parameters, 8"),
        (spectrum_of, {"lanczos_steps": 1}, "lanczos_steps=1"),
        (spectrum_of, {"lanczos_steps": 4, "top": 5}, "top=5 must be from 1 to lanczos_steps=4"),
        (spectrum_of, {"lanczos_steps": 4, "top": 2, "num_vectors": 0}, "whole number, 1 or more"),
        (spectrum_of, {"lanczos_steps": 4, "top": 2, "num_trace_vectors": 1}, "number, 2 or more"),
        (spectrum_of, {"loss": lambda w: w["a"], "lanczos_steps": 2, "top": 1}, "one scalar"),
        *((lanczos_of, {"steps": n}, f"steps={n} must be 1 or more") for n in (0, -1)),
        *((density_of, {"width": w}, f"width={w} must be above 0") for w in (0.0, -0.1, np.nan)),
        (
            mean_over,
            {"chunk_loss": lambda w, p: w, "chunks": (jnp.ones(2), jnp.ones(3))},
            "leading axis",
        ),
    ],
)
def test_impossible_numbers_are_refused(act, options, message):
    with pytest.raises(UsageError, match=message):
        act(**options)
