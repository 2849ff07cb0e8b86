"""The line probe against slow twins and known Hessians."""

import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import NamedTuple

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree
from perceptron import PERCEPTRON, perceptron

from bnjax import probes
from bnjax.arithmetic import trees
from bnjax.errors import UsageError
from bnjax.probes import points, rounding, surface

STEP_SIZES = np.array([0.05, 0.1, 0.2, 0.4])
FIELDS = ("losses", "gradient_norms", "gradient_distances", "cosines", "smoothness")
DIRECTION = trees.random_direction(jax.random.key(3), PERCEPTRON, jnp.asarray(0.3))


def twin(loss, params, step_sizes, direction):
    """The same numbers with plain loops and numpy, one gradient at a time."""
    flat, unravel = ravel_pytree(params)
    gradient = jax.jit(jax.grad(lambda x: loss(unravel(x))))
    here, along = np.asarray(gradient(flat)), np.asarray(ravel_pytree(direction)[0])
    rows = []
    for step_size in step_sizes:
        point = flat - step_size * along
        there = np.asarray(gradient(point))
        distance, norm = np.linalg.norm(there - here), np.linalg.norm(there)
        cosine = there @ here / (norm * np.linalg.norm(here))
        rate = distance / (step_size * np.linalg.norm(along))
        rows.append((loss(unravel(point)), norm, distance, cosine, rate))
    return np.array(rows, dtype=np.float64).T


def fields(line):
    return np.stack([getattr(line, name) for name in FIELDS])


def line(loss=perceptron, params=PERCEPTRON, step_sizes=STEP_SIZES, **options):
    return jax.jit(lambda p: probes.line(loss, p, step_sizes, **options))(params)


@pytest.mark.parametrize(
    "options", [{}, {"direction": DIRECTION}, *({"chunk": chunk} for chunk in (2, 3, 4, 7))]
)
def test_line_equals_plain_loops_in_float64(options):
    found = line(**options)
    along = options.get("direction", jax.grad(perceptron)(PERCEPTRON))
    np.testing.assert_allclose(
        fields(found), twin(perceptron, PERCEPTRON, STEP_SIZES, along), rtol=1e-10
    )
    assert found.losses.dtype == jnp.float64
    np.testing.assert_allclose(found.loss, perceptron(PERCEPTRON), rtol=1e-12)
    expected = 0.3 if "direction" in options else found.gradient_norm
    np.testing.assert_allclose(found.direction_norm, expected, rtol=1e-12)
    if not options:  # the limits are those of small steps
        near = line(step_sizes=jnp.array([1e-6]))
        np.testing.assert_allclose(near.smoothness[0], found.smoothness_limit, rtol=1e-3)
        drop = (near.losses[0] - found.loss) / found.gradient_norm**2
        np.testing.assert_allclose(drop, -1e-6 + 0.5e-12 * found.curvature_limit, rtol=1e-6)
        alone = probes.losses_on_line(perceptron, PERCEPTRON, STEP_SIZES, along, chunk=3)
        np.testing.assert_allclose(alone, found.losses, rtol=1e-10)


def test_a_subset_of_a_networks_parameters_is_probed_with_the_others_held(problem):
    _, params, _, loss = problem

    def of_output(output):
        return loss({**params, "output": output})

    found = line(loss, params, parameters=lambda name: name.startswith("output/"))
    gradient = jax.jit(jax.grad(of_output))(params["output"])
    expected = twin(jax.jit(of_output), params["output"], STEP_SIZES, gradient)
    np.testing.assert_allclose(fields(found), expected, rtol=1e-10)


@pytest.mark.parametrize(("dtype", "tolerance"), [(jnp.float32, 1e-5), (jnp.float64, 1e-12)])
def test_smoothness_of_a_quadratic_is_its_curvature_along_the_gradient(dtype, tolerance):
    hessian = np.diag([1.0, 2.0, 5.0])
    params = {"a": jnp.array([1.0, -2.0], dtype), "b": jnp.array([0.5], dtype)}

    def loss(tree):
        point = jnp.concatenate([tree["a"], tree["b"]])
        return 0.5 * point @ jnp.asarray(hessian, dtype) @ point

    found = line(loss, params, jnp.asarray(STEP_SIZES, dtype))
    gradient = hessian @ np.array([1.0, -2.0, 0.5])
    beta = np.linalg.norm(hessian @ gradient) / np.linalg.norm(gradient)
    np.testing.assert_allclose(found.smoothness, beta, rtol=tolerance)
    np.testing.assert_allclose(found.smoothness_limit, beta, rtol=tolerance)
    sharpness = gradient @ hessian @ gradient / (gradient @ gradient)
    np.testing.assert_allclose(found.curvature_limit, sharpness, rtol=tolerance)
    assert found.smoothness.dtype == dtype


def test_random_direction_has_the_norm_of_the_gradient_and_depends_on_its_key():
    first, again, other = (line(random_key=jax.random.key(seed)) for seed in (0, 0, 1))
    np.testing.assert_allclose(first.direction_norm, first.gradient_norm, rtol=1e-12)
    chex.assert_trees_all_equal(first, again)
    assert not np.allclose(first.losses, other.losses)


def test_nan_and_infinity_are_kept():
    found = line(lambda w: jnp.log(w) / (w - 0.5), jnp.asarray(1.0), jnp.array([0.125, 5.0]))
    overflow = line(lambda w: jnp.exp(1e3 * w), jnp.asarray(0.0), jnp.array([-1.0]))
    assert np.isfinite(found.losses[0])
    assert np.isnan(found.losses[1])
    assert np.isposinf(overflow.losses[0])


def test_line_leaves_its_arguments_and_compiles_once():
    before = jax.tree.map(np.array, PERCEPTRON)
    probe = jax.jit(lambda p, s: probes.line(perceptron, p, s))
    for scale in (1.0, 2.0, 3.0):
        probe(PERCEPTRON, scale * STEP_SIZES)
    assert probe._cache_size() == 1
    chex.assert_trees_all_equal(PERCEPTRON, before)


def quartic(dtype):
    """A loss that computes in one type, with a Hessian of its own everywhere."""
    matrix = jnp.asarray(np.random.default_rng(0).normal(size=(64, 64)), jnp.float32)

    def loss(weights):
        outputs = jnp.tanh(matrix.astype(dtype) @ weights.astype(dtype))
        return jnp.mean(outputs.astype(jnp.float32) ** 2)

    return loss


SMALL_STEPS = np.array([1e-8, 1e-6, 1e-3, 1e-2, 0.1, 1.0], np.float32)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("called", [True, False])
def test_a_line_tells_which_differences_are_rounding(dtype, called):
    weights = jnp.asarray(np.random.default_rng(1).normal(size=64) / 8, jnp.float32)
    loss = quartic(dtype)
    if called:
        found = probes.Probe(loss, SMALL_STEPS)(weights)
    else:
        found = jax.jit(lambda w: probes.line(loss, w, SMALL_STEPS))(weights)
    exact = probes.line(quartic("float64"), weights.astype(jnp.float64), SMALL_STEPS * 1.0)
    wrong = np.abs(np.asarray(found.smoothness) / np.asarray(exact.smoothness) - 1)
    resolved = np.asarray(found.resolved)
    assert not resolved.all()
    assert resolved.any()
    assert (wrong[resolved] < 0.06).all()
    assert wrong[0] > 0.5
    np.testing.assert_allclose(found.rounding_noise, probes.rounding_noise(loss, weights), rtol=0.5)
    without = probes.Probe(loss, SMALL_STEPS)(weights, limits=False)
    assert np.isnan(without.rounding_noise)
    assert not without.resolved.any()


def test_the_coarsest_arithmetic_of_a_loss_is_found_wherever_it_is():
    epsilon = {dtype: float(jnp.finfo(dtype).eps) for dtype in ("float32", "float64", "bfloat16")}
    weights = jnp.ones(4, jnp.float32)
    narrow = lambda w: jnp.sum(w.astype(jnp.bfloat16).astype(w.dtype) ** 2)  # noqa: E731
    inside = {
        "plain": narrow,
        "jit": jax.jit(narrow),
        "scan": lambda w: jax.lax.scan(lambda c, x: (c + narrow(x), None), 0.0, w)[0],
        "checkpoint": jax.checkpoint(narrow),
        "branch": lambda w: jax.lax.cond(w[0] > 0, narrow, jnp.sum, w),
    }
    for name, loss in inside.items():
        assert rounding.coarsest_epsilon(loss, weights) == epsilon["bfloat16"], name
    assert rounding.coarsest_epsilon(jnp.sum, weights) == epsilon["float32"]
    assert rounding.coarsest_epsilon(jnp.sum, weights.astype(jnp.float64)) == epsilon["float64"]


@pytest.mark.parametrize(
    ("backend", "precision", "epsilon"),
    [("gpu", "default", 2**-10), ("gpu", "highest", 2**-23), ("tpu", "default", 2**-7)],
)
def test_products_of_an_accelerator_round_as_it_is_told(monkeypatch, backend, precision, epsilon):
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    matrix = jnp.ones((2, 2), jnp.float32)
    found = rounding.coarsest_epsilon(lambda w: (w @ w).sum(), matrix, precision=precision)
    assert found == epsilon


def test_parameters_move_by_one_unit_in_the_last_place_up_or_down():
    weights = jnp.asarray(np.random.default_rng(2).normal(size=1000), jnp.float32)
    moved = rounding.round_otherwise(weights, 2.0**-23)
    units = np.asarray((moved - weights) / np.spacing(np.abs(np.asarray(weights))))
    assert set(np.abs(units)) <= {0.0, 0.5, 1.0}
    assert (units > 0).sum() == pytest.approx(500, abs=60)
    assert (units < 0).sum() == pytest.approx(500, abs=60)


def test_one_point_at_a_time_on_a_cpu_and_what_fits_the_cache_on_an_accelerator(monkeypatch):
    # Two arrays and a scalar a point: 8 kB, 8 MiB and 800 MB, and 48 MiB to hold them.
    for backend, expected in (("cpu", [1, 1, 1]), ("gpu", [8, 5, 1])):
        monkeypatch.setattr(jax, "default_backend", lambda backend=backend: backend)
        sizes = (jax.ShapeDtypeStruct((n,), jnp.float32) for n in (10**3, 2**20, 10**8))
        loss = lambda w: jnp.sum(jnp.sin(w) ** 2)  # noqa: E731
        assert [points.points_that_fit(loss, size, 8) for size in sizes] == expected


def test_chunks_are_chosen_unless_given(monkeypatch):
    asked = []
    monkeypatch.setattr(
        surface, "map_points", lambda f, x, *, chunk, **_: asked.append(chunk) or jnp.asarray(x)
    )
    monkeypatch.setattr(surface, "points_that_fit", lambda *_: 3)
    for options in ({}, {"chunk": 2}):
        probes.losses_on_line(perceptron, PERCEPTRON, STEP_SIZES, DIRECTION, **options)
    assert asked == [3, 2]


def test_a_known_centre_is_used_instead_of_a_new_gradient():
    loss, gradient = jax.value_and_grad(perceptron)(PERCEPTRON)
    options = {"limits": False, "rounding": False}
    known = line(centre=(loss, gradient), **options)
    chex.assert_trees_all_close(known, line(**options), rtol=1e-10)
    assert np.isnan(known.smoothness_limit)
    doubled = (loss, jax.tree.map(lambda g: 2 * g, gradient))
    moved = line(step_sizes=STEP_SIZES / 2, centre=doubled, limits=False)
    np.testing.assert_allclose(moved.losses, known.losses, rtol=1e-10)
    np.testing.assert_allclose(moved.gradient_norm, 2 * known.gradient_norm, rtol=1e-12)


@pytest.mark.full
def test_eight_devices_give_the_numbers_of_one():
    """In a process of its own: the number of devices is fixed when JAX starts."""
    program = """
from test_line import *
assert jax.device_count() == 8
mesh, step_sizes = jax.make_mesh((8,), ("probe",)), jnp.geomspace(0.01, 0.4, 11)
for chunk in (1, 2):
    one, eight = (line(step_sizes=step_sizes, chunk=chunk, mesh=m) for m in (None, mesh))
    assert 0 <= eight.rounding_noise < 1e-12  # another program rounds otherwise
    eight = eight._replace(rounding_noise=one.rounding_noise)
    chex.assert_trees_all_close(one, eight, rtol=1e-9)
"""
    environment = os.environ | {
        "XLA_FLAGS": "--xla_force_host_platform_device_count=8",
        "JAX_ENABLE_X64": "1",
    }
    place = Path(__file__).parent
    subprocess.run([sys.executable, "-c", program], cwd=place, env=environment, check=True)


def total(tree):
    return sum(jnp.sum(leaf.astype(jnp.float32)) for leaf in jax.tree.leaves(tree))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": lambda tree: tree["w"]}, "must return one scalar"),
        ({"loss": lambda tree: (total(tree), {})}, r"returns a tuple; .* lambda params: loss"),
        ({"step_sizes": jnp.ones(0)}, r"step_sizes has shape \(0,\)"),
        ({"direction": {"v": jnp.ones(2)}}, "direction has another structure"),
        ({"direction": {"w": jnp.ones(3)}}, r"direction has shape \(3,\) at w"),
        ({"parameters": lambda name: False}, "no parameter is selected"),
        ({"chunk": 0}, "chunk=0 must be a whole number, 1 or more"),
        ({"mesh": jax.make_mesh((1,), ("data",))}, "it needs one named 'probe'"),
        ({"direction": {"w": jnp.ones(2)}, "random_key": jax.random.key(0)}, "give one of them"),
    ],
)
def test_line_refuses_what_it_cannot_measure(options, message):
    given = {"loss": total, "params": {"w": jnp.ones(2)}, "step_sizes": jnp.ones(1)} | options
    with pytest.raises(UsageError, match=message):
        probes.line(**given)


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
        lambda params: probes.line(total, params, jnp.ones(1)),
        lambda params: probes.losses_on_line(total, params, jnp.ones(1), params),
        lambda params: probes.spectrum(total, params, jax.random.key(0)),
        lambda params: probes.rounding_noise(total, params),
    ],
)
def test_parameters_of_other_dtypes_are_refused_by_name(probe, params, message):
    with pytest.raises(UsageError, match=message):
        probe(params)


@pytest.mark.parametrize("mapped", [None, True])
@pytest.mark.parametrize("where", ["gradient", "random", "given", "last layer"])
def test_a_probe_equals_the_line_of_its_batch(mapped, where):
    def loss(params, x):
        return jnp.sum(jnp.tanh(x @ params["w"]) ** 2) + jnp.sum(params["b"] ** 4)

    params = {"w": jnp.linspace(0.1, 1.0, 6).reshape(3, 2), "b": jnp.array([0.5, -1.0])}
    batch = jnp.linspace(-1.0, 2.0, 12).reshape(4, 3)
    options = {"parameters": lambda name: name == "b"} if where == "last layer" else {}
    given = {
        "random": {"random_key": jax.random.key(3)},
        "given": {"direction": jax.tree.map(jnp.ones_like, params)},
    }.get(where, {})
    probe = probes.Probe(loss, STEP_SIZES, mapped=mapped, **options)
    centre = probe.gradient(params, batch)
    expected = probes.line(lambda p: loss(p, batch), params, STEP_SIZES, **options, **given)
    for found in (probe(params, batch, **given), probe(params, batch, centre=centre, **given)):
        chex.assert_trees_all_close(found, expected, rtol=1e-12)
    without = probe(params, batch, limits=False, **given)
    assert np.isnan(without[-4:]).all()
    chex.assert_trees_all_close(without[:-4], expected[:-4], rtol=1e-12)


def test_a_probe_compiles_one_gradient_for_all_points_steps_and_batches():
    traced = []

    def loss(params, x):
        traced.append(None)
        return jnp.sum(x * params**2)

    probe = probes.Probe(loss, STEP_SIZES)
    first = probe.gradient(jnp.ones(2), jnp.ones(2))
    count = len(traced)
    for step in range(3):
        probe((1.0 + step) * jnp.ones(2), jnp.ones(2), limits=False)
    assert len(traced) == count
    assert probe.gradient._cache_size() == 1
    assert float(first[0]) == 2.0
    shared = []

    def gradient(params, x):
        shared.append(None)
        return first

    probes.Probe(loss, STEP_SIZES, gradient=gradient)(jnp.ones(2), jnp.ones(2), centre=first)
    assert len(shared) == len(STEP_SIZES) + 1  # and one for the rounding noise


def test_a_probe_under_jit_is_one_program():
    probe = probes.Probe(lambda w, x: jnp.sum(x * w**2), STEP_SIZES)
    inside = jax.jit(probe)(jnp.ones(2), jnp.ones(2))
    chex.assert_trees_all_close(inside, probe(jnp.ones(2), jnp.ones(2)), rtol=1e-12)


def test_what_a_probe_refuses():
    probe = probes.Probe(lambda w: jnp.sum(w**2), STEP_SIZES)
    with pytest.raises(UsageError, match="step_sizes has shape"):
        probes.Probe(jnp.sum, jnp.ones(0))
    with pytest.raises(UsageError, match="one scalar"):
        probes.Probe(lambda w: w, STEP_SIZES)(jnp.ones(2))
    with pytest.raises(UsageError, match="direction has shape"):
        probe(jnp.ones(2), direction=jnp.ones(3))
    with pytest.raises(UsageError, match="both given"):
        probe(jnp.ones(2), direction=jnp.ones(2), random_key=jax.random.key(0))


def used_once(batch, step_sizes=STEP_SIZES):
    probes.Probe(lambda w: jnp.sum(batch * w**2), step_sizes)(jnp.ones(2), limits=False)


def used_twice(batch):
    probe = probes.Probe(lambda w: jnp.sum(batch * w**2), STEP_SIZES)
    for _ in range(2):
        probe(jnp.ones(2), limits=False)


@pytest.mark.parametrize("mapped", [None, True])
def test_a_probe_that_is_made_anew_at_each_step_says_so_once(mapped):
    def step(batch):
        loss = lambda w: jnp.sum(batch * w**2)  # noqa: E731
        probes.Probe(loss, STEP_SIZES, mapped=mapped)(jnp.ones(2), limits=False)

    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        for number in range(5):
            step(number * jnp.ones(2))
    (one,) = said
    assert "make one Probe of loss(params, *batch) before the loop" in str(one.message)


@pytest.mark.parametrize("mapped", [None, True])
def test_a_batch_whose_metadata_change_is_said(mapped):
    class Batch(NamedTuple):
        x: jax.Array
        others: dict

    probe = probes.Probe(lambda w, b: jnp.sum(b.x * w**2), STEP_SIZES, mapped=mapped)

    def step(number):
        probe(jnp.ones(2), Batch(jnp.ones(2), {f"batch {number}": jnp.ones(2)}), limits=False)

    step(0)
    step(1)  # a second one may be of another last batch
    with pytest.warns(UserWarning, match="a third time for arrays of equal shapes"):
        step(2)


EAGER = {
    "line": lambda loss, w: probes.line(loss, w, STEP_SIZES),
    "losses_on_line": lambda loss, w: probes.losses_on_line(loss, w, STEP_SIZES, w),
    "shift": lambda loss, w: probes.shift(lambda p: loss(p["dense"]), {"dense": w}, {"dense": w}),
    "spectrum": lambda loss, w: probes.spectrum(
        loss, w, jax.random.key(0), lanczos_steps=2, top=2, num_trace_vectors=2
    ),
    "diagonal": lambda loss, w: probes.diagonal(loss, w, jax.random.key(0)),
    "values_on_plane": lambda loss, w: probes.values_on_plane(
        loss, w, (w, w), STEP_SIZES, STEP_SIZES
    ),
}


@pytest.mark.parametrize("name", EAGER)
def test_a_probe_that_compiles_at_each_step_of_a_loop_says_so_once(name):
    def step(number):
        return EAGER[name](lambda w: jnp.sum(jnp.sin(number * w)), jnp.ones(2))

    step(1)
    step(2)
    with pytest.warns(UserWarning, match=f"{name} is called a third time .* one jax.jit"):
        step(3)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        step(4)
        jax.jit(lambda w: EAGER[name](lambda w: jnp.sum(w**3), w))(jnp.ones(2))
        for size in range(3, 6):  # other shapes are other programs
            EAGER[name](lambda w: jnp.sum(w**2), jnp.ones(size))


def test_probes_that_serve_several_steps_or_differ_are_not_counted():
    for number in range(4):
        used_twice(number * jnp.ones(2))  # warnings are errors
    for number in range(2):
        used_once(number * jnp.ones(2))
    for number in range(2, 6):
        used_once(jnp.ones(2), number * STEP_SIZES)
    probe = probes.Probe(lambda w, x: jnp.sum(x * w**2), STEP_SIZES)
    for size in range(1, 5):
        probe(jnp.ones(size), jnp.ones(size), limits=False)
