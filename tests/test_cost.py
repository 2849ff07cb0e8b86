"""What probes cost, without a clock: gradients, operations, memory; programs: `full/test_seeds`."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from bnjax import losses, models, probes
from bnjax.data import Batch
from bnjax.models.vgg import vgg


@functools.cache
def network():
    """A VGG of four convolutions with BatchNorm, its variables and a batch."""
    norm = models.norms.batch_norm()
    model = vgg(5, norm=norm, width=0.125)
    images = jax.random.normal(jax.random.key(1), (8, 16, 16, 3))
    variables = model.init(jax.random.key(0), images)
    return model, variables, Batch(images, jnp.arange(8) % 10)


def loss(params, batch):
    model, variables, _ = network()
    return losses.on_batch(model, variables["batch_stats"], batch, "batch")(params)


def compiled(function, *arguments):
    return jax.jit(function).lower(*arguments).compile()


@functools.cache
def gradient_cost():
    """Operations and bytes of one gradient."""
    _, variables, batch = network()
    program = probes.Probe(loss, jnp.ones(1)).gradient.lower(variables["params"], batch).compile()
    return program.cost_analysis()["flops"], program.memory_analysis().temp_size_in_bytes


def test_a_probe_evaluates_a_gradient_for_each_point_and_none_for_a_known_centre():
    _, variables, batch = network()
    counted = []

    def gradient(params, batch):
        counted.append(None)
        return jnp.float32(1.0), params

    probe = probes.Probe(loss, jnp.array([0.1, 0.2, 0.4]), gradient=gradient)
    probe(variables["params"], batch, limits=False)
    assert len(counted) == 4
    centre = jnp.float32(1.0), variables["params"]
    probe(variables["params"], batch, centre=centre, limits=False)
    assert len(counted) == 7


def test_limits_cost_less_than_three_gradients():
    _, variables, batch = network()
    params = variables["params"]
    probe = probes.Probe(loss, jnp.ones(1))
    limits = probe._limits_at.lower(params, params, batch).compile()
    assert limits.cost_analysis()["flops"] < 3 * gradient_cost()[0]


def test_a_line_takes_the_memory_of_one_point_however_many_there_are():
    _, variables, batch = network()

    def temporary(points):
        sizes = jnp.linspace(0.1, 1.0, points)
        program = compiled(
            lambda params: probes.line(lambda p: loss(p, batch), params, sizes, limits=False),
            variables["params"],
        )
        return program.memory_analysis().temp_size_in_bytes

    few, many = temporary(4), temporary(64)
    assert abs(many - few) < 0.1 * few
    assert few < 3 * gradient_cost()[1]


def test_the_shift_of_all_layers_shares_its_passes():
    _, variables, batch = network()
    params = variables["params"]
    after = jax.tree.map(lambda leaf: leaf * 1.01, params)
    program = compiled(lambda a, b: probes.shift(lambda p: loss(p, batch), a, b), params, after)
    naive = 2 * len(params) * gradient_cost()[0]  # G and G′ of each layer
    assert program.cost_analysis()["flops"] < 0.6 * naive


def test_a_line_of_losses_has_no_backward_pass():
    _, variables, batch = network()
    params = variables["params"]
    one = compiled(lambda p: loss(p, batch), params).cost_analysis()["flops"]
    direction = jax.tree.map(np.ones_like, params)
    line = compiled(
        lambda p: probes.losses_on_line(lambda q: loss(q, batch), p, jnp.ones(1), direction),
        params,
    ).cost_analysis()["flops"]
    assert line < 1.5 * one
