"""The line probe against slow twins and known Hessians."""

import os
import subprocess
import sys
from pathlib import Path

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bnjax import probes
from bnjax.arithmetic import trees
from bnjax.errors import UsageError
from bnjax.probes import points, surface

STEP_SIZES = np.array([0.05, 0.1, 0.2, 0.4])


def flatten(tree):
    return np.concatenate([np.asarray(leaf).ravel() for leaf in jax.tree.leaves(tree)])


def twin(loss, params, step_sizes, direction):
    """The same numbers with plain loops and numpy, one gradient at a time."""
    gradient = flatten(jax.grad(loss)(params))
    length = np.sqrt(np.sum(flatten(direction) ** 2))
    rows = []
    for step_size in step_sizes:
        point = jax.tree.map(lambda p, d, s=step_size: p - s * d, params, direction)
        there = flatten(jax.grad(loss)(point))
        distance = np.sqrt(np.sum((there - gradient) ** 2))
        norms = np.sqrt(there @ there), np.sqrt(gradient @ gradient)
        cosine = there @ gradient / (norms[0] * norms[1])
        rows.append((loss(point), norms[0], distance, cosine, distance / (step_size * length)))
    return np.array(rows, dtype=np.float64).T


def fields(line):
    return np.stack(
        [line.losses, line.gradient_norms, line.gradient_distances, line.cosines, line.smoothness]
    )


def test_line_equals_plain_loops_in_float64(problem):
    _, params, _, loss = problem
    line = jax.jit(lambda p: probes.line(loss, p, STEP_SIZES))(params)
    expected = twin(jax.jit(loss), params, STEP_SIZES, jax.grad(loss)(params))
    assert line.losses.dtype == jnp.float64
    np.testing.assert_allclose(fields(line), expected, rtol=1e-10)
    np.testing.assert_allclose(line.loss, loss(params), rtol=1e-12)


def test_line_along_a_given_direction_equals_plain_loops(problem):
    _, params, _, loss = problem
    direction = trees.random_direction(jax.random.key(3), params, jnp.asarray(0.3))
    line = jax.jit(lambda p, d: probes.line(loss, p, STEP_SIZES, direction=d))(params, direction)
    expected = twin(jax.jit(loss), params, STEP_SIZES, direction)
    np.testing.assert_allclose(fields(line), expected, rtol=1e-10)
    np.testing.assert_allclose(line.direction_norm, 0.3, rtol=1e-12)


def test_limits_are_those_of_small_steps(problem):
    _, params, _, loss = problem
    line = jax.jit(lambda p: probes.line(loss, p, jnp.array([1e-6])))(params)
    np.testing.assert_allclose(line.smoothness[0], line.smoothness_limit, rtol=1e-3)
    drop = (line.losses[0] - line.loss) / line.gradient_norm**2
    np.testing.assert_allclose(drop, -1e-6 + 0.5e-12 * line.curvature_limit, rtol=1e-6)


@pytest.mark.parametrize("dtype", [jnp.float32, jnp.float64])
def test_smoothness_of_a_quadratic_is_its_curvature_along_the_gradient(dtype):
    hessian = np.diag([1.0, 2.0, 5.0])
    params = {"a": jnp.array([1.0, -2.0], dtype), "b": jnp.array([0.5], dtype)}

    def loss(tree):
        point = jnp.concatenate([tree["a"], tree["b"]])
        return 0.5 * point @ jnp.asarray(hessian, dtype) @ point

    line = probes.line(loss, params, jnp.asarray(STEP_SIZES, dtype))
    gradient = hessian @ np.array([1.0, -2.0, 0.5])
    beta = np.linalg.norm(hessian @ gradient) / np.linalg.norm(gradient)
    tolerance = {"float32": 1e-5, "float64": 1e-12}[jnp.dtype(dtype).name]
    np.testing.assert_allclose(line.smoothness, beta, rtol=tolerance)
    np.testing.assert_allclose(line.smoothness_limit, beta, rtol=tolerance)
    sharpness = gradient @ hessian @ gradient / (gradient @ gradient)
    np.testing.assert_allclose(line.curvature_limit, sharpness, rtol=tolerance)
    assert line.smoothness.dtype == dtype


def test_random_direction_has_the_norm_of_the_gradient_and_depends_on_its_key():
    def loss(tree):
        return jnp.sum(tree["w"] ** 4)

    params = {"w": jnp.arange(1.0, 1001.0) / 1000}
    first, again, other = (
        probes.line(loss, params, STEP_SIZES, random_key=jax.random.key(seed)) for seed in (0, 0, 1)
    )
    np.testing.assert_allclose(first.direction_norm, first.gradient_norm, rtol=1e-12)
    chex.assert_trees_all_equal(first, again)
    assert not np.allclose(first.losses, other.losses)


def test_a_subset_of_parameters_is_probed_with_the_others_held(problem):
    _, params, _, loss = problem

    def of_output(output):
        return loss({**params, "output": output})

    line = jax.jit(
        lambda p: probes.line(loss, p, STEP_SIZES, parameters=lambda n: n.startswith("output/"))
    )(params)
    expected = twin(
        jax.jit(of_output), params["output"], STEP_SIZES, jax.grad(of_output)(params["output"])
    )
    np.testing.assert_allclose(fields(line), expected, rtol=1e-10)


def test_nan_and_infinity_are_kept():
    line = probes.line(lambda w: jnp.log(w) / (w - 0.5), jnp.asarray(1.0), jnp.array([0.125, 5.0]))
    overflow = probes.line(lambda w: jnp.exp(1e3 * w), jnp.asarray(0.0), jnp.array([-1.0]))
    assert np.isfinite(line.losses[0])
    assert np.isnan(line.losses[1])
    assert np.isposinf(overflow.losses[0])


def test_line_leaves_its_arguments_and_compiles_once(problem):
    _, params, _, loss = problem
    before = jax.tree.map(np.array, params)
    probe = jax.jit(lambda p, s: probes.line(loss, p, s))
    for scale in (1.0, 2.0, 3.0):
        probe(params, scale * STEP_SIZES)
    assert probe._cache_size() == 1
    chex.assert_trees_all_equal(params, before)


def test_line_refuses_what_it_cannot_measure():
    params, step_sizes = {"w": jnp.ones(2)}, jnp.ones(1)

    def loss(tree):
        return jnp.sum(tree["w"])

    with pytest.raises(UsageError, match="must return one scalar"):
        probes.line(lambda tree: tree["w"], params, step_sizes)
    with pytest.raises(UsageError, match=r"step_sizes has shape \(0,\)"):
        probes.line(loss, params, jnp.ones(0))
    with pytest.raises(UsageError, match="direction has the structure"):
        probes.line(loss, params, step_sizes, direction={"v": jnp.ones(2)})
    with pytest.raises(UsageError, match=r"direction has shape \(3,\) at w"):
        probes.line(loss, params, step_sizes, direction={"w": jnp.ones(3)})
    with pytest.raises(UsageError, match="no parameter is selected"):
        probes.line(loss, params, step_sizes, parameters=lambda name: False)
    with pytest.raises(UsageError, match="chunk=0 must be 1 or more"):
        probes.line(loss, params, step_sizes, chunk=0)
    with pytest.raises(UsageError, match="it needs one named 'probe'"):
        probes.line(loss, params, step_sizes, mesh=jax.make_mesh((1,), ("data",)))
    with pytest.raises(UsageError, match="give one of them"):
        probes.line(loss, params, step_sizes, direction=params, random_key=jax.random.key(0))


def test_rounding_noise_is_the_distance_between_two_precisions(problem):
    _, params, _, loss = problem
    assert probes.rounding_noise(loss, params) == 0.0

    def rounded(weights):
        # A CPU has one precision, so this loss rounds by itself where it is told to.
        if jax.config.jax_default_matmul_precision == "bfloat16":
            weights = weights.astype(jnp.bfloat16).astype(weights.dtype)
        return jnp.sum(weights**3)

    weights = jnp.array([1.001, -2.003])
    coarse = weights.astype(jnp.bfloat16).astype(weights.dtype)
    noise = probes.rounding_noise(rounded, weights, precision="bfloat16")
    expected = np.linalg.norm(3 * (np.asarray(coarse) ** 2 - np.asarray(weights) ** 2))
    # bfloat16 keeps 8 bits also on the way back through the cast.
    np.testing.assert_allclose(noise, expected, rtol=0.2)
    assert expected > 0


@pytest.mark.parametrize("chunk", [2, 3, 4, 7])
def test_chunks_give_the_numbers_of_single_points(problem, chunk):
    _, params, _, loss = problem
    whole = jax.jit(lambda p: probes.line(loss, p, STEP_SIZES, limits=False))(params)
    chunked = jax.jit(lambda p: probes.line(loss, p, STEP_SIZES, limits=False, chunk=chunk))(params)
    np.testing.assert_allclose(fields(chunked), fields(whole), rtol=1e-10)
    assert np.isnan(whole.smoothness_limit)


def test_one_point_at_a_time_on_a_cpu_and_what_fits_the_cache_on_an_accelerator(monkeypatch):
    loss = lambda w: jnp.sum(jnp.sin(w) ** 2)  # noqa: E731
    small, middle, large = (jax.ShapeDtypeStruct((n,), jnp.float32) for n in (10**3, 2**20, 10**8))
    monkeypatch.setattr(jax, "default_backend", lambda: "cpu")
    assert points.points_that_fit(loss, small, 8) == 1
    monkeypatch.setattr(jax, "default_backend", lambda: "gpu")
    # Two arrays and a scalar a point: 8 kB, 8 MiB and 800 MB, and 48 MiB to hold them.
    assert points.points_that_fit(loss, small, 8) == 8
    assert points.points_that_fit(loss, middle, 8) == 5
    assert points.points_that_fit(loss, large, 8) == 1


def test_chunks_are_chosen_unless_given(problem, monkeypatch):
    _, params, _, loss = problem
    asked = []
    monkeypatch.setattr(
        surface, "map_points", lambda f, x, *, chunk, **_: asked.append(chunk) or jnp.asarray(x)
    )
    monkeypatch.setattr(surface, "points_that_fit", lambda *_: 3)
    for options in ({}, {"chunk": 2}):
        direction = jax.tree.map(jnp.ones_like, params)
        probes.losses_on_line(loss, params, STEP_SIZES, direction, **options)
    assert asked == [3, 2]


def test_a_known_centre_is_used_instead_of_a_new_gradient(problem):
    _, params, _, loss = problem
    centre = jax.value_and_grad(loss)(params)
    known = probes.line(loss, params, STEP_SIZES, centre=centre, limits=False)
    chex.assert_trees_all_close(
        known, probes.line(loss, params, STEP_SIZES, limits=False), rtol=1e-10
    )
    doubled = (centre[0], jax.tree.map(lambda g: 2 * g, centre[1]))
    moved = probes.line(loss, params, STEP_SIZES / 2, centre=doubled, limits=False)
    np.testing.assert_allclose(moved.losses, known.losses, rtol=1e-10)
    np.testing.assert_allclose(moved.gradient_norm, 2 * known.gradient_norm, rtol=1e-12)


def test_losses_alone_are_those_of_the_line(problem):
    _, params, _, loss = problem
    line = probes.line(loss, params, STEP_SIZES, limits=False)
    losses = probes.losses_on_line(loss, params, STEP_SIZES, jax.grad(loss)(params), chunk=3)
    np.testing.assert_allclose(losses, line.losses, rtol=1e-10)


@pytest.mark.full
def test_eight_devices_give_the_numbers_of_one():
    """In a process of its own: the number of devices is fixed when JAX starts."""
    program = """
import jax, jax.numpy as jnp, numpy as np
from conftest import tiny_model
from bnjax import losses, probes
from bnjax.data import Batch
images = jax.random.normal(jax.random.key(1), (16, 8, 8, 3))
batch = Batch(images, jnp.arange(16, dtype=jnp.int32) % 10)
model = tiny_model("batch")
variables = model.init(jax.random.key(0), images)
loss = losses.on_batch(model, variables["batch_stats"], batch)
params = variables["params"]
mesh = jax.make_mesh((8,), ("probe",))
step_sizes = jnp.geomspace(0.01, 0.4, 11)
for chunk in (1, 2):
    one, eight = (
        jax.jit(lambda p: probes.line(loss, p, step_sizes, chunk=chunk, mesh=m))(params)
        for m in (None, mesh)
    )
    for name, a, b in zip(one._fields, one, eight):
        np.testing.assert_allclose(a, b, rtol=1e-9, equal_nan=True, err_msg=name)
print("agree on", jax.device_count(), "devices")
"""
    environment = os.environ | {"XLA_FLAGS": "--xla_force_host_platform_device_count=8"}
    tests = Path(__file__).parent
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        cwd=tests,
        env=environment,
        check=False,
    )
    assert done.stdout == "agree on 8 devices\n", done.stderr


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"w": jnp.ones(2, jnp.bfloat16)}, "bfloat16 at w; it must be float32 or float64"),
        ({"w": jnp.ones(2), "count": jnp.zeros(2, jnp.int32)}, "int32 at count; it must be"),
        (jnp.ones(2, jnp.float16), "float16 at its only leaf"),
        ({}, "params has no arrays"),
    ],
)
@pytest.mark.parametrize(
    "probe",
    [
        lambda loss, params: probes.line(loss, params, jnp.ones(1)),
        lambda loss, params: probes.losses_on_line(loss, params, jnp.ones(1), params),
        lambda loss, params: probes.spectrum(loss, params, jax.random.key(0)),
        probes.rounding_noise,
    ],
)
def test_parameters_of_other_dtypes_are_refused_by_name(probe, params, message):
    def loss(tree):
        return sum(jnp.sum(leaf.astype(jnp.float32)) for leaf in jax.tree.leaves(tree))

    with pytest.raises(UsageError, match=message):
        probe(loss, params)


def test_a_loss_that_returns_more_is_told_how_to_return_less():
    with pytest.raises(UsageError, match=r"returns a tuple; .* lambda params: loss"):
        probes.line(lambda w: (jnp.sum(w), {}), jnp.ones(2), jnp.ones(1))
