"""A loss that is another function at each call is refused by every probe."""

import functools
import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from bnjax import probes
from bnjax.errors import UsageError

W = {"a": jnp.array([1.0, 2.0, 3.0]), "b": jnp.array(0.5)}
STEP_SIZES = jnp.array([0.1, 0.2])


def base(w):
    return w["b"] * jnp.sum(jnp.square(w["a"]))


def scaled():
    """A number of Python's in an equation."""
    random = np.random.default_rng(0)
    return lambda w: base(w) * float(random.normal())


def masked():
    """An array beside the parameters."""
    random = np.random.default_rng(0)
    return lambda w: base(w) + jnp.sum(w["a"] * jnp.asarray(random.normal(size=3)))


def keyed():
    """A key of JAX that is split outside."""
    key = [jax.random.key(0)]

    def loss(w):
        with jax.ensure_compile_time_eval():
            key[0], own = jax.random.split(key[0])
        return base(w) + jnp.sum(w["a"] * jax.random.normal(own, (3,)))

    return loss


def inside_a_loop():
    """A number inside a scan."""
    random = np.random.default_rng(0)

    def loss(w):
        scale = float(random.normal())
        return jax.lax.scan(lambda total, x: (total + scale * x * w["b"], None), 0.0, w["a"])[0]

    return loss


def rolled():
    """A number that is no part of an array: by how much to roll."""
    shifts = itertools.cycle([1, 2])
    return lambda w: base(w) + jnp.sum(w["a"] * jnp.roll(w["a"], next(shifts)))


def cropped():
    """A slice."""
    starts = itertools.cycle([0, 1])

    def loss(w):
        start = next(starts)
        return w["b"] * jnp.sum(w["a"][start : start + 2])

    return loss


def branching():
    """Now one program, now another."""
    turn = itertools.cycle([base, lambda w: base(w) + w["b"]])
    return lambda w: next(turn)(w)


def after_a_step(w):
    return jax.tree.map(lambda leaf: 0.9 * leaf, w)


PROBES = {
    "line": lambda loss: probes.line(loss, W, STEP_SIZES),
    "compiled": lambda loss: jax.jit(lambda w: probes.line(loss, w, STEP_SIZES))(W),
    "Probe": lambda loss: probes.Probe(lambda w, _: loss(w), STEP_SIZES)(W, jnp.zeros(())),
    "shift": lambda loss: probes.shift(loss, W, after_a_step(W)),
    "spectrum": lambda loss: probes.spectrum(loss, W, jax.random.key(0), lanczos_steps=2, top=1),
    "plane": lambda loss: probes.values_on_plane(loss, W, (W, W), STEP_SIZES, STEP_SIZES),
    "rounding": lambda loss: probes.rounding_noise(loss, W),
}


@pytest.mark.parametrize("probe", list(PROBES))
@pytest.mark.parametrize("make", [scaled, masked])
def test_every_probe_refuses_a_loss_that_draws_by_itself(make, probe):
    with pytest.raises(UsageError, match="the loss is another function at each call"):
        PROBES[probe](make())


@pytest.mark.parametrize("make", [keyed, inside_a_loop, rolled, cropped, branching])
def test_a_draw_is_found_wherever_it_stands(make):
    with pytest.raises(UsageError, match="the loss is another function at each call"):
        PROBES["shift"](make())


def fixed_key():
    return lambda w: base(w) + jnp.sum(w["a"] * jax.random.normal(jax.random.key(0), (3,)))


def same_array():
    return lambda w: base(w) + jnp.sum(w["a"] * np.array([np.nan, 1.0, 2.0]))


def kept():
    """A first trace computes what later ones read; an earlier call has asked for the shape."""
    table = functools.cache(lambda: np.arange(3.0))
    calls = []

    def loss(w):
        calls.append(1)
        return base(w) + (0 if len(calls) > 2 else 1) * jnp.sum(w["a"] * table())

    return loss


@pytest.mark.parametrize("make", [fixed_key, same_array, kept])
def test_a_loss_that_stays_itself_is_taken(make):
    found = PROBES["line"](make())
    assert found.losses.shape == STEP_SIZES.shape


def test_no_shift_where_nothing_moves():
    found = probes.shift(fixed_key(), W, W)
    np.testing.assert_array_equal(found.distances, 0)
