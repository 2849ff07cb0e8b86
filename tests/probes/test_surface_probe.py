"""Loss surfaces: filter normalisation, grids and principal components against slow twins."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from perceptron import PERCEPTRON, perceptron
from sklearn.decomposition import PCA

from bnjax.arithmetic.principal import principal_components
from bnjax.errors import UsageError
from bnjax.probes.surface import (
    coordinates,
    filter_direction,
    filter_normalise,
    values_on_line,
    values_on_plane,
)

KEY = jax.random.key(3)


def test_directions_have_exactly_the_norms_of_the_filters(problem):
    _, params, _, _ = problem
    direction = filter_direction(KEY, params)
    moved = 0
    for kernel, move in zip(jax.tree.leaves(params), jax.tree.leaves(direction), strict=True):
        kernel, move = np.asarray(kernel), np.asarray(move)
        assert kernel.shape == move.shape
        if kernel.ndim < 2:
            np.testing.assert_array_equal(move, np.zeros_like(kernel))
            continue
        moved += 1
        for unit in range(kernel.shape[-1]):
            own, others = np.linalg.norm(move[..., unit]), np.linalg.norm(kernel[..., unit])
            np.testing.assert_allclose(own, others, rtol=1e-14)
    assert moved == 3


def test_a_filter_that_is_zero_is_not_moved():
    params = {"kernel": jnp.ones((2, 2, 3, 4)).at[..., 1].set(0)}
    move = filter_direction(KEY, params)["kernel"]
    assert np.isfinite(move).all()
    assert not np.any(move[..., 1])
    assert (np.abs(move[..., 0]) > 0).all()
    still = jnp.zeros((2, 2, 3, 4))
    np.testing.assert_array_equal(filter_normalise({"kernel": still}, params)["kernel"], still)


def test_directions_are_gaussian_before_they_are_normalised():
    kernel = {"kernel": jnp.ones((100, 100, 1, 1))}
    move = np.asarray(filter_direction(KEY, kernel)["kernel"]).ravel()
    # A long filter of norm 100: its elements are nearly standard normal; of a uniform one the
    # fourth moment would be 1.8.
    assert abs(np.mean(move)) < 0.05
    assert abs(np.mean(move**4) - 3) < 0.3


def test_a_kernel_gets_the_same_draw_whatever_stands_beside_it():
    kernel = jax.random.normal(KEY, (3, 3, 2, 4))
    alone = filter_direction(KEY, {"conv1": {"kernel": kernel}})
    norm = {"scale": jnp.ones(4), "bias": jnp.ones(4)}
    beside = filter_direction(KEY, {"conv1": {"kernel": kernel, "norm": norm}})
    np.testing.assert_array_equal(alone["conv1"]["kernel"], beside["conv1"]["kernel"])


def test_a_plane_is_that_of_a_plain_loop_and_its_centre_the_point_itself():
    plane = tuple(filter_direction(jax.random.fold_in(KEY, axis), PERCEPTRON) for axis in (0, 1))
    rows, columns = coordinates(3, -0.5, 0.5), coordinates(5, -1.0, 1.0)

    def at(row, column):
        return jax.tree.map(lambda p, a, b: p + row * a + column * b, PERCEPTRON, *plane)

    expected = [[perceptron(at(row, column)) for column in columns] for row in rows]
    measured = values_on_plane(perceptron, PERCEPTRON, plane, rows, columns)
    np.testing.assert_allclose(measured, expected, rtol=1e-10)
    assert np.ptp(expected) > 0.1
    line = values_on_line(perceptron, PERCEPTRON, plane[1], columns, chunk=3)
    np.testing.assert_allclose(line, expected[1], rtol=1e-10)
    points = values_on_plane(lambda point: point, PERCEPTRON, plane, rows, columns)
    for whole, own in zip(jax.tree.leaves(points), jax.tree.leaves(PERCEPTRON), strict=True):
        np.testing.assert_array_equal(whole[1, 2], own)
    # Not bit for bit: in a loop XLA may add in another order.
    np.testing.assert_allclose(measured[1, 2], jax.jit(perceptron)(PERCEPTRON), rtol=1e-14)
    mesh = jax.make_mesh((1,), ("probe",))
    for chunk in (1, 2):
        spread = jax.jit(
            lambda p, chunk=chunk: values_on_plane(
                perceptron, p, plane, rows, columns, chunk=chunk, mesh=mesh
            )
        )(PERCEPTRON)
        np.testing.assert_allclose(spread, measured, rtol=1e-10)


@pytest.mark.parametrize(("low", "high"), [(-1.0, 1.0), (-0.3, 4.0), (-5.0, 0.01)])
def test_coordinates_hold_zero_and_both_ends_with_one_spacing(low, high):
    for points in (3, 4, 11):
        axis = coordinates(points, low, high)
        assert len(axis) == points
        assert (axis == 0).sum() == 1
        assert axis[0] <= low
        assert axis[-1] >= high
        assert low == axis[0] or high == axis[-1]  # no wider than it must be
        np.testing.assert_allclose(np.diff(axis), axis[1] - axis[0], rtol=1e-12)
    symmetric = coordinates(11, -1.0, 1.0)
    np.testing.assert_array_equal(symmetric, -symmetric[::-1])
    assert (symmetric[0], symmetric[-1]) == (-1, 1)


@pytest.mark.parametrize("shape", [(6, 40), (9, 4)])
def test_principal_components_are_those_of_scikit_learn(shape):
    generator = np.random.default_rng(0)
    vectors = generator.normal(size=shape) * np.linspace(1, 3, shape[1]) + 0.5
    found = principal_components(jnp.asarray(vectors), 3)
    expected = PCA(3, svd_solver="full").fit(vectors)
    np.testing.assert_allclose(found.shares, expected.explained_variance_ratio_, rtol=1e-10)
    overlap = np.asarray(found.directions) @ expected.components_.T
    np.testing.assert_allclose(np.abs(overlap), np.eye(3), atol=1e-10)
    np.testing.assert_allclose(found.coordinates, vectors @ np.asarray(found.directions).T)
    farthest = np.abs(found.coordinates).argmax(axis=0)
    assert (np.asarray(found.coordinates)[farthest, range(3)] > 0).all()


def test_a_path_in_a_plane_is_found_again():
    generator = np.random.default_rng(1)
    basis = np.linalg.qr(generator.normal(size=(500, 2)))[0].T
    truth = np.stack([np.linspace(5, 1, 8), np.sin(np.arange(8))], axis=1)
    found = principal_components(jnp.asarray(truth @ basis), 3)
    np.testing.assert_allclose(np.sum(found.shares[:2]), 1, rtol=1e-12)
    np.testing.assert_array_equal(found.directions[2], np.zeros(500))  # rounding has no direction
    lengths = np.linalg.norm(np.asarray(found.coordinates), axis=1)
    np.testing.assert_allclose(lengths, np.linalg.norm(truth, axis=1), rtol=1e-10)
    still = principal_components(jnp.ones((4, 9)), 2)
    assert np.isfinite(np.concatenate([np.ravel(leaf) for leaf in still])).all()


@pytest.mark.parametrize(
    ("act", "message"),
    [
        (lambda p: values_on_line(jnp.sum, p, jnp.ones(2), jnp.zeros(1)), "direction has shape"),
        (lambda p: values_on_line(jnp.sum, p, {"a": p}, jnp.zeros(1)), "has another structure"),
        (lambda p: values_on_line(jnp.sum, p, p, jnp.zeros(0)), r"\(0,\); it must"),
        (lambda p: values_on_line(jnp.sum, p, p, jnp.zeros(2), chunk=0), "chunk=0"),
        (lambda p: coordinates(2, -1.0, 1.0), "3 or more, around 0"),
        (lambda p: coordinates(5, 0.0, 1.0), "around 0"),
        (lambda p: principal_components(jnp.ones((3, 4)), 3), "must be from 1 to 2"),
    ],
)
def test_bad_input_is_named(act, message):
    with pytest.raises(UsageError, match=message):
        act(jnp.zeros(3))
