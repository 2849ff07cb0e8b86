"""The flight recorder: exact on quadratics, changes nothing, asks for what it cannot know."""

import subprocess
import sys

import chex
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax import lax

import bnjax
from bnjax import recorder
from bnjax.draw.recorded import legend_names, looks_of
from bnjax.errors import UsageError
from bnjax.fields import declared
from bnjax.frame import checkpoints
from bnjax.probes.sharpness import PASSES
from bnjax.recorder import Optimization, Recording, watch

pytestmark = pytest.mark.usefixtures("standard_promotion")

RATE, DECAY = 0.1, 0.3
CURVATURE = jnp.array([1.0, 3.0, 7.0])


def quadratic(params):
    return 0.5 * jnp.sum(CURVATURE * params**2)


def once(optimizer, params, loss=quadratic, **batch):
    """The rows of one update, as a Dataset of one step."""
    gradient = jax.grad(loss)(params, **batch)
    _, state = jax.jit(optimizer.update)(gradient, optimizer.init(params), params, **batch)
    return state.recorder.to_xarray().isel(step=0)


# Exact values


def test_on_a_quadratic_critical_sharpness_and_curvature_are_those_of_the_direction():
    params = jnp.array([2.0, -1.0, 0.5])
    found = once(watch(optax.sgd(RATE), RATE, 0.0, loss=quadratic), params)
    gradient = CURVATURE * params
    expected = jnp.sum(CURVATURE * gradient**2) / jnp.sum(gradient**2)
    np.testing.assert_allclose(found["critical_sharpness"], expected, rtol=1e-12)
    np.testing.assert_allclose(found["curvature"], expected, rtol=1e-12)
    np.testing.assert_allclose(found["critical_step"], 2 / expected, rtol=1e-12)
    np.testing.assert_allclose(found["loss"], quadratic(params), rtol=1e-15)


def test_the_direction_of_adam_is_its_own():
    """Δ = m̂/(√v̂ + ε), whatever the decay: here after a first step from zero, the sign."""
    params = jnp.array([2.0, -1.0, 0.5])
    optimizer = optax.adamw(RATE, b1=0.9, weight_decay=DECAY)
    found = once(watch(optimizer, RATE, DECAY, b1=0.9, loss=quadratic), params)
    direction = jnp.sign(params)
    expected = jnp.sum(CURVATURE * direction**2) / jnp.sum(CURVATURE * params * direction)
    np.testing.assert_allclose(found["critical_sharpness"], expected, rtol=1e-6)  # ε of Adam


def decayed_in_gradient(rate, momentum):
    return optax.chain(optax.add_decayed_weights(DECAY), optax.sgd(rate, momentum=momentum))


def decayed_apart(rate, b1):
    """AdamW whose preconditioner is 1."""
    average = optax.ema(b1, debias=False)
    return optax.chain(average, optax.add_decayed_weights(DECAY), optax.scale(-rate))


def edges(momentum, averaged, decay=DECAY):
    return Optimization(*map(jnp.asarray, (RATE, decay, momentum)), averaged)


KINDS = {
    "gradient descent": (decayed_in_gradient, 0.0, False),
    "SGD with momentum": (decayed_in_gradient, 0.9, False),
    "AdamW, b₁ 0.9": (decayed_apart, 0.9, True),
    "AdamW, b₁ 0.5": (decayed_apart, 0.5, True),
}


@pytest.mark.parametrize("kind", KINDS)
def test_the_edge_with_momentum_parts_stable_from_unstable_on_a_quadratic(kind):
    build, momentum, averaged = KINDS[kind]
    optimizer = build(RATE, momentum)
    edge = edges(momentum, averaged).momentum_edge

    def growth(curvature):
        """|θ| late over |θ| early."""

        def step(carry, _):
            params, state = carry
            updates, state = optimizer.update(curvature * params, state, params)
            return (params + updates, state), jnp.abs(params)

        params = jnp.ones(1)
        _, sizes = lax.scan(step, (params, optimizer.init(params)), length=8000)
        return float(sizes[-1000:].max() / sizes[2000:3000].max())

    assert growth(0.999 * edge) < 0.5
    assert growth(1.001 * edge) > 2


def test_adam_at_b1_of_0_9_has_its_edge_at_38_over_lr():
    found = edges(0.9, averaged=True, decay=0.0)
    np.testing.assert_allclose(found.momentum_edge, 38 / RATE, rtol=1e-14)
    np.testing.assert_allclose(found.edge, 2 / RATE, rtol=1e-14)


@pytest.mark.parametrize("kind", KINDS)
def test_at_the_edge_the_critical_sharpness_is_2_over_lr_minus_decay(kind):
    """There θ → −θ at every step, so that the step ends at equal loss."""
    build, momentum, averaged = KINDS[kind]
    curvature = edges(momentum, averaged).momentum_edge

    def loss(params):
        return 0.5 * jnp.sum(curvature * params**2)

    given = {"b1" if averaged else "momentum": momentum}
    optimizer = watch(
        build(RATE, momentum), RATE, DECAY, loss=loss, every=1, critical_every=1, **given
    )
    params = jnp.ones(1)

    def step(carry, _):
        params, state = carry
        updates, state = optimizer.update(jax.grad(loss)(params), state, params)
        return (params + updates, state), None

    (_, state), _ = lax.scan(step, (params, optimizer.init(params)), length=2000)
    found = state.recorder.to_xarray().isel(step=-1)
    np.testing.assert_allclose(found["critical_sharpness"], 2 / RATE - DECAY, rtol=1e-9)
    np.testing.assert_allclose(found["edge"], 2 / RATE - DECAY, rtol=1e-14)


@pytest.mark.parametrize("kind", ["SGD with momentum", "AdamW"])
def test_a_group_that_noise_drives_rotates_at_its_equilibrium(kind):
    """A scale-invariant group, whose gradient is noise across w and falls as 1/‖w‖."""
    rate, decay, size = 0.05, 0.05, 2000
    if kind == "AdamW":
        optimizer, given = optax.adamw(rate, b1=0.9, b2=0.99, weight_decay=decay), {"b1": 0.9}
    else:
        decays = optax.add_decayed_weights(decay)
        optimizer, given = optax.chain(decays, optax.sgd(rate, 0.9)), {"momentum": 0.9}
    optimizer = watch(optimizer, rate, decay, every=1, rows=500, **given)

    def step(carry, key):
        params, state = carry
        noise = jax.random.normal(key, params.shape)
        along = jnp.sum(noise * params) / jnp.sum(params**2)
        gradient = (noise - along * params) / jnp.linalg.norm(params)
        updates, state = optimizer.update(gradient, state, params)
        return (params + updates, state), None

    params = jax.random.normal(jax.random.key(0), (size,))
    keys = jax.random.split(jax.random.key(1), 3000)
    (_, state), _ = lax.scan(step, (params, optimizer.init(params)), keys)
    ratios = state.recorder.to_xarray()["rotation_ratios"]
    np.testing.assert_allclose(ratios.mean(), 1, atol=0.02)


# The critical step away from quadratics

LINES = {
    "log cosh": lambda x: jnp.log(jnp.cosh(x - 1.0)),
    "fourth power": lambda x: (x - 1) ** 4,
    "softmax": lambda x: jnp.logaddexp(3 * x, -x) - x,
    "exponential": lambda x: jnp.exp(x) - 2 * x,
}


@pytest.mark.parametrize("name", LINES)
@pytest.mark.parametrize("multiple", [0.2, 1.0, 5.0])
def test_elsewhere_the_critical_step_is_found_within_a_seventh(name, multiple):
    """Where it is a multiple of the learning rate between a fifth and five."""
    line, start = LINES[name], jnp.array([-0.3])

    def loss(params):
        return line(params[0])

    slope = jax.grad(loss)(start)[0]
    grid = jnp.geomspace(1e-3, 1e3, 200_001)
    rises = jax.vmap(line)(start[0] - grid * slope) > loss(start)
    expected = float(grid[jnp.argmax(rises)])
    rate = expected / multiple
    found = once(watch(optax.sgd(rate), rate, 0.0, loss=loss), start, loss)
    np.testing.assert_allclose(found["critical_step"], expected, rtol=1 / 7)


@pytest.mark.parametrize(
    ("loss", "step", "sharpness"),
    [
        (lambda params: -jnp.sum(params), 0.0, np.inf),  # the update below leads upward
        (lambda params: jnp.sum(params), np.inf, 0.0),
        (lambda params: jnp.nan * jnp.sum(params), np.nan, np.nan),
    ],
)
def test_a_loss_that_only_rises_or_only_falls_is_said(loss, step, sharpness):
    params = jnp.ones(2)
    optimizer = watch(optax.sgd(RATE), RATE, 0.0, loss=loss)
    _, state = optimizer.update(jnp.ones(2), optimizer.init(params), params)
    found = state.recorder.to_xarray().isel(step=0)
    np.testing.assert_array_equal(found["critical_step"], step)
    np.testing.assert_array_equal(found["critical_sharpness"], sharpness)


def test_the_critical_step_takes_six_forward_passes_and_no_backward_pass():
    params, counted = jnp.ones(3), []

    @jax.custom_vjp
    def loss(params):
        jax.debug.callback(lambda: counted.append(None))
        return quadratic(params)

    loss.defvjp(
        lambda params: (quadratic(params), params), lambda params, _: pytest.fail("backward")
    )
    optimizer = watch(optax.sgd(RATE), RATE, 0.0, loss=loss)
    _, state = optimizer.update(CURVATURE * params, optimizer.init(params), params)
    jax.block_until_ready(state)
    jax.effects_barrier()
    assert len(counted) == PASSES == 6


# Groups

NETWORK = {
    "hidden": {"kernel": jnp.array([[3.0, 4.0]]), "bias": jnp.array([0.0, 2.0])},
    "output": {"kernel": jnp.array([[1.0], [2.0]])},
}
GRADIENT = jax.tree.map(lambda leaf: 100 * jnp.ones_like(leaf), NETWORK)


def one_row(optimizer, params=NETWORK, gradient=GRADIENT):
    _, state = jax.jit(optimizer.update)(gradient, optimizer.init(params), params)
    return state.recorder.to_xarray().isel(step=0)


def test_the_gradient_is_that_before_clipping_and_the_update_that_after():
    clipped = optax.chain(optax.clip_by_global_norm(1.0), optax.sgd(RATE))
    found = one_row(watch(clipped, RATE, 0.0, groups={"all": "*"}))
    np.testing.assert_allclose(found["gradient_norms"], 100 * np.sqrt(6))
    np.testing.assert_allclose(found["update_norms"], RATE)
    np.testing.assert_allclose(found["update_ratios"], RATE / np.sqrt(25 + 4 + 5))


@pytest.mark.parametrize(
    ("groups", "expected"),
    [
        (None, {"hidden/bias": 2.0, "hidden/kernel": 5.0, "output/kernel": np.sqrt(5)}),
        (["hidden/*", "*/kernel"], {"hidden/*": np.sqrt(29), "*/kernel": np.sqrt(30)}),
        (
            {"first": ["hidden/kernel"], "rest": lambda n: n[0] == "o"},
            {"first": 5.0, "rest": np.sqrt(5)},
        ),
    ],
)
def test_groups_are_leaves_or_patterns(groups, expected):
    found = one_row(watch(optax.sgd(RATE), RATE, 0.0, groups=groups))
    assert found["group"].values.tolist() == list(expected)
    np.testing.assert_allclose(found["weight_norms"], list(expected.values()))


def test_rotation_is_the_angle_of_the_whole_group_and_has_no_equilibrium_without_decay():
    groups = {"kernels": "*/kernel", "all": "*"}
    optimizer = optax.adamw(RATE, weight_decay=DECAY, mask={
        "hidden": {"kernel": True, "bias": False}, "output": {"kernel": True}
    })  # fmt: skip
    watched = watch(optimizer, RATE, DECAY, b1=0.9, groups=groups, decays="*/kernel")
    found = one_row(watched)
    updates, _ = optimizer.update(GRADIENT, optimizer.init(NETWORK), NETWORK)
    after = optax.apply_updates(NETWORK, updates)

    def vector(tree):
        return np.concatenate([np.ravel(tree[layer]["kernel"]) for layer in ("hidden", "output")])

    a, b = vector(NETWORK), vector(after)
    angle = np.arccos(a @ b / np.linalg.norm(a) / np.linalg.norm(b))
    np.testing.assert_allclose(found["rotations"].sel(group="kernels"), angle, rtol=1e-10)
    equilibrium = np.sqrt(2 * RATE * DECAY * 0.1 / 1.9)
    np.testing.assert_allclose(
        found["rotation_ratios"].sel(group="kernels"), angle / equilibrium, rtol=1e-10
    )
    assert np.isnan(found["rotation_ratios"].sel(group="all"))


def test_small_angles_and_extreme_norms_survive_float32():
    params = {"w": jnp.array([1.0, 1.0], jnp.float32)}
    gradient = {"w": jnp.array([1.0, -1.0], jnp.float32)}
    found = one_row(watch(optax.sgd(1e-5), 1e-5, 0.0), params, gradient)
    np.testing.assert_allclose(found["rotations"], 1e-5, rtol=0.02)  # of weights as they are stored
    for size in (1e-30, 1e30):
        scaled = {"w": jnp.array([3 * size, 4 * size], jnp.float32)}
        found = one_row(watch(optax.sgd(1e-9), 1e-9, 0.0), params, scaled)
        np.testing.assert_allclose(found["gradient_norms"], 5 * size, rtol=1e-6)


def test_weights_of_16_bits_that_an_update_does_not_reach_do_not_rotate():
    params = {"w": jnp.array([1.0, 1.0], jnp.bfloat16)}
    gradient = {"w": jnp.array([1.0, -1.0], jnp.bfloat16)}
    found = one_row(watch(optax.sgd(1e-5), 1e-5, 0.0), params, gradient)
    assert found["rotations"] == 0  # the second weight stays, too: 1 + 1e-5 is 1
    np.testing.assert_allclose(found["update_norms"], 1e-5 * np.sqrt(2), rtol=0.01)


def test_whole_numbers_are_no_group_and_nan_is_kept():
    params = {"w": jnp.array([1.0, 2.0]), "count": jnp.array(3)}
    gradient = {"w": jnp.array([jnp.nan, 1.0]), "count": jnp.array(0)}
    optimizer = optax.stateless(lambda updates, _: jax.tree.map(lambda g: -g, updates))
    found = one_row(watch(optimizer, 1.0, 0.0, loss=lambda p: jnp.sum(p["w"])), params, gradient)
    assert found["group"].values.tolist() == ["w"]
    assert np.isnan(found["gradient_norms"])
    np.testing.assert_allclose(found["weight_norms"], np.sqrt(5))


def test_saturation_is_the_share_of_inputs_beyond_2():
    params = jnp.ones(2)
    optimizer = watch(optax.sgd(RATE), RATE, 0.0, activations=("first", "second"))
    inputs = {"first": jnp.array([[0.0, 2.5], [-3.0, 1.9]]), "second": jnp.zeros(3), "other": 1}
    _, state = optimizer.update(params, optimizer.init(params), params, activations=inputs)
    found = state.recorder.to_xarray()["saturation"].isel(step=0)
    assert found.to_series().to_dict() == {"first": 0.5, "second": 0.0}


# Nothing changes

INPUTS = jax.random.normal(jax.random.key(0), (32, 8), jnp.float32)
LABELS = jnp.argmax(INPUTS[:, :3], axis=1)
FIRST, SECOND = jax.random.normal(jax.random.key(1), (2, 8, 16), jnp.float32) / 2
PERCEPTRON = {
    "hidden": {"kernel": FIRST, "bias": jnp.zeros(16, jnp.float32)},
    "output": {"kernel": SECOND.T[:, :3], "bias": jnp.zeros(3, jnp.float32)},
}


def cross_entropy(params, images, labels):
    hidden = jnp.tanh(images @ params["hidden"]["kernel"] + params["hidden"]["bias"][None])
    logits = hidden @ params["output"]["kernel"] + params["output"]["bias"][None]
    return optax.losses.softmax_cross_entropy_with_integer_labels(logits, labels).mean()


def scheduled(lr):
    return optax.chain(optax.clip_by_global_norm(0.3), optax.adamw(lr, weight_decay=0.01))


SCHEDULE = optax.cosine_decay_schedule(0.05, 25)
OPTIMIZERS = {
    "sgd": (optax.sgd(0.3), (0.3, 0.0)),
    "momentum": (decayed_in_gradient(0.1, 0.9), (0.1, DECAY), {"momentum": 0.9}),
    "nesterov": (optax.sgd(0.1, 0.9, nesterov=True), (0.1, 0.0), {"momentum": float("nan")}),
    "clipped adamw": (scheduled(SCHEDULE), (SCHEDULE, 0.01), {"b1": 0.9}),
    "injected": (optax.inject_hyperparams(optax.adamw)(SCHEDULE), ()),
    "lion": (optax.lion(0.01), (0.01, 1e-3), {"b1": 0.9}),
    "noisy": (optax.chain(optax.add_noise(0.1, 0.5, 3), optax.rmsprop(0.01)), (0.01, 0.0)),
}


def train(optimizer, way, steps=25):
    """Trained parameters and the optimiser's last state."""
    batch = {"images": INPUTS, "labels": LABELS}

    def step(carry, _=None):
        params, state = carry
        gradient = jax.grad(cross_entropy)(params, **batch)
        updates, state = optimizer.update(gradient, state, params, **batch)
        return (optax.apply_updates(params, updates), state), None

    carry = PERCEPTRON, optimizer.init(PERCEPTRON)
    if way == "scan":
        return jax.jit(lambda carry: lax.scan(step, carry, length=steps)[0])(carry)
    compiled = jax.jit(step) if way == "jit" else step
    for _ in range(steps):
        carry, _ = compiled(carry)
    return carry


WAYS = [(name, "scan") for name in OPTIMIZERS]
WAYS += [("momentum", "jit"), ("clipped adamw", "jit"), ("injected", "eager")]


@pytest.mark.parametrize(("name", "way"), WAYS)
def test_the_trained_parameters_are_those_without_it_bit_for_bit(name, way):
    optimizer, given, *more = OPTIMIZERS[name]
    options = {**(more[0] if more else {}), "every": 2, "critical_every": 4}
    steps = 25 if way != "eager" else 5
    plain, state = train(optax.with_extra_args_support(optimizer), way, steps)
    watched = watch(optimizer, *given, loss=cross_entropy, **options)
    params, watched_state = train(watched, way, steps)
    chex.assert_trees_all_equal((plain, state), (params, watched_state.inner))
    found = watched_state.recorder.to_xarray()
    assert found["step"].values.tolist() == [*range(0, steps, 2)]
    measured = found["critical_sharpness"].notnull()  # inf where momentum leads upward
    assert measured.values.tolist() == [step % 4 == 0 for step in range(0, steps, 2)]


def test_a_step_with_donated_state_copies_no_weights_for_the_recorder():
    def step(params, state):
        gradient = jax.grad(cross_entropy)(params, INPUTS, LABELS)
        updates, state = optimizer.update(gradient, state, params, images=INPUTS, labels=LABELS)
        return optax.apply_updates(params, updates), state

    optimizer = watch(optax.adamw(0.01), 0.01, 1e-4, b1=0.9, loss=cross_entropy)
    lowered = jax.jit(step, donate_argnums=(0, 1)).lower(PERCEPTRON, optimizer.init(PERCEPTRON))
    _, program = lowered.compile().as_text().split("ENTRY")
    assert program.count(" conditional(") == 1
    assert program.count(" copy(") <= 2  # of 12 weights and moments


def test_rows_are_those_of_a_loop_that_measures_by_hand():
    optimizer = watch(optax.sgd(0.3), 0.3, 0.0, loss=cross_entropy, every=5, critical_every=10)
    _, state = train(optimizer, "scan", 21)
    found = state.recorder.to_xarray()
    params, gradients, sizes, losses = PERCEPTRON, [], [], []
    for _ in range(21):
        loss, gradient = jax.value_and_grad(cross_entropy)(params, INPUTS, LABELS)
        gradients.append(float(jnp.linalg.norm(gradient["hidden"]["kernel"])))
        sizes.append(float(jnp.linalg.norm(params["hidden"]["kernel"])))
        losses.append(float(loss))
        params = jax.tree.map(lambda p, g: p - 0.3 * g, params, gradient)
    own = found.sel(group="hidden/kernel")
    np.testing.assert_allclose(own["gradient_norms"], gradients[::5], rtol=1e-4)
    np.testing.assert_allclose(own["weight_norms"], sizes[::5], rtol=1e-5)
    np.testing.assert_allclose(found["loss"].dropna("step"), losses[::10], rtol=1e-4)


def test_the_ring_keeps_the_last_rows_in_the_memory_of_the_first():
    optimizer = watch(optax.sgd(0.3), 0.3, 0.0, every=3, critical_every=3, rows=4)
    shapes = jax.tree.map(jnp.shape, optimizer.init(PERCEPTRON))
    _, state = train(optimizer, "scan", 20)
    assert jax.tree.map(jnp.shape, state) == shapes
    assert state.recorder.to_xarray()["step"].values.tolist() == [9, 12, 15, 18]


def test_a_checkpoint_holds_the_recorder_and_goes_on_with_it(tmp_path):
    optimizer = watch(optax.adam(0.01), 0.01, 0.0, b1=0.9, every=2, loss=cross_entropy)
    whole = train(optimizer, "jit", 8)
    half = train(optimizer, "jit", 5)
    place = checkpoints.Checkpoints(tmp_path, "run")
    checkpoints.save(place, 5, half)
    _, (params, state) = checkpoints.restore(place, jax.tree.map(jnp.zeros_like, half))
    batch = {"images": INPUTS, "labels": LABELS}
    step = jax.jit(
        lambda p, s: optimizer.update(jax.grad(cross_entropy)(p, **batch), s, p, **batch)
    )
    for _ in range(3):
        updates, state = step(params, state)
        params = optax.apply_updates(params, updates)
    np.testing.assert_array_equal(
        state.recorder.rows.weight_norms, whole[1].recorder.rows.weight_norms
    )
    assert state.recorder.to_xarray()["step"].values.tolist() == [0, 2, 4, 6]


@pytest.mark.parametrize("kind", [jax.sharding.AxisType.Auto, jax.sharding.AxisType.Explicit])
def test_it_records_weights_divided_over_a_mesh(kind):
    mesh = jax.make_mesh((1,), ("data",), axis_types=(kind,))
    divided = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec("data"))
    with jax.set_mesh(mesh):
        params = jax.device_put(jnp.array([2.0, -1.0, 0.5]), divided)
        optimizer = watch(optax.adam(RATE), RATE, 0.0, b1=0.9, loss=quadratic)
        found = once(optimizer, params)
    np.testing.assert_allclose(found["weight_norms"], np.sqrt(5.25))
    assert np.isfinite(found["critical_sharpness"])


def test_it_works_inside_a_shard_map():
    mesh = jax.make_mesh((1,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    spec = jax.sharding.PartitionSpec
    optimizer = watch(optax.sgd(RATE), RATE, 0.0, loss=mean_over_data)

    def step(params, state, images):
        gradient = lax.pmean(jax.grad(local)(params, images), "data")
        return optimizer.update(gradient, state, params, images=images)

    params, images = jnp.ones(2), jnp.ones((4, 2))
    mapped = jax.shard_map(
        step, mesh=mesh, in_specs=(spec(), spec(), spec("data")), out_specs=(spec(), spec())
    )
    _, state = jax.jit(mapped)(params, optimizer.init(params), images)
    np.testing.assert_allclose(state.recorder.to_xarray()["loss"], [2.0])


def local(params, images):
    return 0.5 * jnp.mean((images @ params) ** 2)


def mean_over_data(params, images):
    return lax.pmean(local(params, images), "data")


# Hyperparameters

RATES = [0.4, 0.2, 0.1]


def staircase(step):
    return jnp.asarray(RATES)[step]


def rates(optimizer, params=None):
    params = jnp.ones(2) if params is None else params
    state = optimizer.init(params)
    for _ in RATES:
        _, state = jax.jit(optimizer.update)(params, state, params)
    return state.recorder.to_xarray()


@pytest.mark.parametrize(
    "make",
    [
        lambda: (optax.sgd(staircase), staircase, 0.0),
        lambda: (optax.inject_hyperparams(lambda lr: optax.sgd(lr))(lr=staircase), None, 0.0),
        lambda: (
            optax.chain(optax.clip(1.0), optax.inject_hyperparams(optax.sgd)(staircase)),
            None,
            0.0,
        ),
    ],
)
def test_a_schedule_is_followed(make):
    found = rates(watch(*make(), every=1, critical_every=1))
    np.testing.assert_allclose(found["learning_rate"], RATES)
    np.testing.assert_allclose(found["edge"], 2 / np.array(RATES))


def test_what_inject_hyperparams_holds_need_not_be_given():
    optimizer = watch(optax.inject_hyperparams(optax.adamw)(RATE, b1=0.5, weight_decay=DECAY))
    found = rates(optimizer).isel(step=0)
    np.testing.assert_allclose(found["momentum_edge"], 3 * (2 / RATE - DECAY))
    own = optax.inject_hyperparams(lambda lr, momentum: optax.sgd(lr, momentum))
    found = rates(watch(own(lr=RATE, momentum=0.5), weight_decay=0.0)).isel(step=0)
    np.testing.assert_allclose(found["momentum_edge"], 3 / RATE)


def test_a_rate_of_zero_has_no_critical_step():
    found = once(watch(optax.sgd(0.0), 0.0, 0.0, loss=quadratic), jnp.ones(3))
    assert np.isnan(found["critical_step"])
    assert np.isnan(found["curvature"])


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: watch(optax.sgd(0.1), weight_decay=0.0), "learning_rate cannot be known"),
        (lambda: watch(optax.sgd(0.1), 0.1), "weight_decay cannot be known.*0 if there is none"),
        (lambda: watch(optax.sgd(0.1, 0.9), 0.1, 0.0), "momentum cannot be known.*has a trace"),
        (lambda: watch(optax.adam(0.1), 0.1, 0.0), "b1 cannot be known.*averages gradients"),
        (lambda: watch(optax.adam(0.1), 0.1, 0.0, momentum=0.9, b1=0.9), "both given"),
        (lambda: watch(optax.sgd(0.1), 0.1, 0.0, every=0), "every 0: must be a whole number"),
        (lambda: watch(optax.sgd(0.1), 0.1, 0.0, rows=0), "rows 0: must be a whole number"),
        (
            lambda: watch(optax.sgd(0.1), 0.1, 0.0, every=3, critical_every=4),
            "a multiple of every=3",
        ),
        (lambda: watch(optax.sgd(0.1), -0.1, 0.0), "learning_rate -0.1: must be 0 or more"),
        (lambda: watch(optax.sgd(0.1), 0.1, 0.0, groups=["conv/*"]), "fits no name"),
        (lambda: watch(optax.sgd(0.1), 0.1, 0.0, groups={}), "groups has no leaf"),
        (lambda: watch(optax.sgd(0.1), 0.1, 0.0, decays="conv/*"), "fits no name"),
        (
            lambda: watch(optax.sgd(0.1), 0.1, 0.0, loss=lambda params, *batch: 0.0),
            r"takes \*batch",
        ),
        (
            lambda: watch(
                optax.chain(*(optax.inject_hyperparams(optax.sgd)(0.1) for _ in range(2))),
                weight_decay=0.0,
            ),
            "learning_rate cannot be known",
        ),
    ],
)
def test_what_cannot_be_known_is_asked_for_in_one_line(make, message):
    with pytest.raises(UsageError, match=message) as error:
        make().init(NETWORK)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda o, s: o.update(GRADIENT, s), "needs the weights"),
        (lambda o, s: o.update(GRADIENT, s, NETWORK, images=1), "the loss takes labels"),
        (lambda o, s: o.update(GRADIENT, s, NETWORK, images=1, labels=1), "have first"),
    ],
)
def test_a_call_that_lacks_something_says_what(call, message):
    optimizer = watch(optax.sgd(0.1), 0.1, 0.0, loss=cross_entropy, activations=["first"])
    with pytest.raises(UsageError, match=message):
        call(optimizer, optimizer.init(NETWORK))


def test_params_without_a_float_and_a_recorder_without_a_row_are_refused():
    with pytest.raises(UsageError, match="nothing to watch"):
        watch(optax.sgd(0.1), 0.1, 0.0).init({"count": jnp.array(1)})
    state = watch(optax.sgd(0.1), 0.1, 0.0).init(NETWORK)
    assert state.recorder.line() == ""
    with pytest.raises(UsageError, match="nothing was recorded yet"):
        state.recorder.to_xarray()


# What a person sees


def test_a_loop_prints_the_newest_row_in_a_line():
    optimizer = watch(optax.sgd(0.3), 0.3, 0.0, loss=cross_entropy, every=2, critical_every=4)
    _, state = train(optimizer, "jit", 7)
    line = state.recorder.line()
    found = state.recorder.to_xarray()
    norm = float(np.sqrt((found["gradient_norms"].isel(step=-1) ** 2).sum()))
    sharpness = float((found["critical_sharpness"] / found["edge"]).sel(step=4))
    assert line.startswith(f"step 6  lr 0.3  ‖g‖ {norm:.3g}  ")
    assert line.endswith(f"critical sharpness/edge {sharpness:.3g}")
    assert "equilibrium" not in line  # without decay there is none


def test_the_line_leaves_weights_of_zero_out_of_its_medians():
    params = {"bias": jnp.zeros(3), "kernel": jnp.full(3, 2.0), "shift": jnp.zeros(2)}
    optimizer = watch(optax.sgd(RATE), RATE, 0.0)
    _, state = optimizer.update(jax.tree.map(jnp.ones_like, params), optimizer.init(params), params)
    assert np.isinf(state.recorder.to_xarray()["update_ratios"].sel(group="bias"))
    assert "update/weight 0.05" in state.recorder.line()


def test_without_a_loss_there_is_the_cheap_part_alone_and_a_figure_of_it():
    _, state = train(watch(optax.sgd(0.3), 0.3, 0.0, every=2), "jit", 7)
    found = state.recorder.to_xarray()
    assert found["critical_sharpness"].isnull().all()
    assert np.isfinite(found["gradient_norms"]).all()
    assert found["gradient_norms"].attrs["long_name"] == "Gradient norm ‖g‖, before clipping"
    drawing = state.recorder.plot()
    assert [panel.title for panel in drawing.panels][:2] == ["a Loss", "b Gradient norm"]
    assert any(row[1] == "hidden/kernel" for row in drawing.table())


def test_a_figure_shows_the_edges_and_saturation():
    optimizer = watch(
        optax.adamw(SCHEDULE), SCHEDULE, 1e-4, b1=0.9, loss=quadratic, every=1, critical_every=2,
        activations=["first"],
    )  # fmt: skip
    params = jnp.ones(3)
    state = optimizer.init(params)
    for _ in range(6):
        gradient = jax.grad(quadratic)(params)
        updates, state = optimizer.update(gradient, state, params, activations={"first": params})
        params = params + updates
    drawing = bnjax.plot(state.recorder.to_xarray())
    assert {"2/lr − wd", "edge with momentum", "first"} <= {row[1] for row in drawing.table()}
    named = ["2/η_c", "ΔᵀHΔ/Δᵀg", "2/lr − wd", "edge with momentum"]
    assert [name for name, _ in drawing.panels[5].entries()] == named


@pytest.mark.parametrize(
    ("groups", "named"),
    [
        ([f"net/conv{i}/{leaf}" for i in range(8) for leaf in ("bias", "kernel")], 16),
        ([f"net/conv{i}/{leaf}" for i in range(9) for leaf in ("bias", "kernel")], 2),
        ([f"block/{leaf}" for leaf in "abcdefghijklmnop"], 16),
        ([f"block{i}/dense{j}/kernel" for i in range(9) for j in range(3)], 3),
        ([f"block{i}/{j}/{leaf}" for i in range(9) for j in range(30) for leaf in "ab"], 2),
        ([f"block{name}/kernel/value" for name in map(chr, range(65, 91))], 1),
    ],
)
def test_a_figure_names_every_group_or_its_kind_by_a_look_of_its_own(groups, named):
    shapes = {(): (2,), ("group",): (2, len(groups))}
    rows = Recording(*(np.ones(shapes[one.axes]) for one in declared(Recording).values()))
    made = recorder.Recorder(2, np.arange(2), recorder.encoded(groups), rows, {})
    panel = made.plot().panels[1]
    entries = [name for name, _ in panel.entries()]
    assert len(entries) == named
    assert sum(int(name.partition(" × ")[2] or 1) for name in entries) == len(groups)
    assert {series.name for series in panel.table} == set(groups)
    looks = looks_of(list(dict.fromkeys(legend_names(groups))))
    assert len({str(look) for look in looks.values()}) == len(looks) == named


def test_the_recorder_needs_neither_flax_nor_what_draws():
    code = (
        "import sys, bnjax; bnjax.watch; "
        "assert not {'flax', 'matplotlib', 'xarray'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_every_field_of_a_row_is_declared_with_its_axes():
    assert {one.axes for one in declared(Recording).values()} == {(), ("group",)}
