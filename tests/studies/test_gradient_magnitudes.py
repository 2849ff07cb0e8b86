"""Gradient magnitudes by kind of parameter: a numpy twin, real cancellation, claims, figure."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import synthetic
from conftest import cast, tiny_model
from synthetic import N, S, U, decided, drawable

from bnjax import losses, models
from bnjax.arithmetic import trees
from bnjax.errors import UsageError
from bnjax.models import norms
from bnjax.probes.magnitudes import KINDS, kinds, magnitudes
from bnjax.studies.gradient_magnitudes import claims, figure

# Normalisers that a constant in front of them does not reach. An ℓp norm's size sees it, and a
# LayerNorm's constant differs from channel to channel.
CANCELLING = ("batch", "unitize", "instance")
OTHERS = ("none", "layer", "group", "rms", "l1", "l2", "linf", "weight_standard", "weight_norm")


def declared(name):
    """What a normaliser says of every layer."""
    return lambda layer: norms.by_name(name).for_layer(layer).cancels_bias


@pytest.mark.parametrize("norm", CANCELLING + OTHERS)
def test_a_bias_counts_as_cancelled_where_its_gradient_is_rounding(norm, batch):
    model = tiny_model(norm)
    variables = cast(model.init(jax.random.key(0), batch.images))
    params, batch_stats = variables["params"], variables["batch_stats"]
    gradient = jax.jit(jax.grad(losses.on_batch(model, batch_stats, batch)))(params)
    kind_of = kinds(params, batch_stats, cancels=declared(norm))
    largest = {name: float(abs(x).max()) for name, x in trees.named_leaves(gradient).items()}
    biases = {name for name, kind in kind_of.items() if kind in ("bias", "cancelled_bias")}
    assert biases == {"conv1/bias", "conv2/bias", "output/bias"}
    for name in biases:
        assert (largest[name] < 1e-12) == (kind_of[name] == "cancelled_bias"), name
    found = [name for name in biases if kind_of[name] == "cancelled_bias"]
    assert len(found) == (2 if norm in CANCELLING else 0)
    others = {name for name, kind in kind_of.items() if kind == "other"}
    shares = {"conv1/norm/share", "conv2/norm/share"}
    assert others == (shares if norm == "unitize" else set())


NOISY = {"conv1/norm/inner/scale": "scale", "conv1/norm/inner/bias": "shift"}


@pytest.mark.parametrize(
    ("norm", "expected"),
    [
        (norms.by_name("noisy_batch"), NOISY | {"conv1/bias": "cancelled_bias"}),
        # Layers of their own normaliser are asked one by one.
        (
            norms.with_exceptions(norms.batch_norm(), {"conv1": norms.layer_norm()}),
            {"conv1/bias": "bias", "conv2/bias": "cancelled_bias"},
        ),
    ],
)
def test_parameters_have_their_kinds_behind_noise_and_in_mixed_networks(norm, expected, batch):
    glorot = models.layers.initializer("glorot_uniform")
    model = models.Model(models.VGG((1, 1), (4, 6), 10, (), norm, glorot))
    variables = model.init(jax.random.key(0), batch.images)
    found = kinds(**variables, cancels=lambda layer: norm.for_layer(layer).cancels_bias)
    assert expected.items() <= found.items()


def test_magnitudes_are_those_of_numpy():
    generator = np.random.default_rng(0)
    shapes = {"a": (3, 4), "b": (5,), "c": (2, 2, 2), "d": (7,)}
    gradient = {name: generator.normal(size=shape) for name, shape in shapes.items()}
    kind_of = {"a": "kernel", "b": "bias", "c": "kernel", "d": "shift"}
    found = magnitudes(jax.tree.map(jnp.asarray, gradient), kind_of)
    for index, kind in enumerate(KINDS):
        own = [values.ravel() for name, values in gradient.items() if kind_of[name] == kind]
        values = np.concatenate(own) if own else np.array([np.nan])
        np.testing.assert_allclose(found.mean[index], np.abs(values).mean(), rtol=1e-12)
        np.testing.assert_allclose(found.norm[index], np.linalg.norm(values), rtol=1e-12)


def test_a_parameter_without_a_kind_is_refused():
    with pytest.raises(UsageError, match="no kind is given for b: give one of"):
        magnitudes({"a": jnp.ones(1), "b": jnp.ones(1)}, {"a": "kernel"})


def a_run(none=None, batch=None, seeds=1):
    """Two networks whose kinds of parameter have given mean gradients at every step."""
    arms = (none or {"kernel": 2.0}, batch or {"kernel": 1.0})
    values = np.array([[arm.get(kind, np.nan) for kind in KINDS] for arm in arms])
    values = values[:, None, None] * (1 + 0.01 * np.arange(seeds)).reshape(1, -1, 1, 1)
    means = {"magnitudes_mean": (("norm", "seed", "probe_step", "kind"), values)}
    return drawable(synthetic.run(means, seeds=seeds, kind=KINDS))


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize(
    ("arms", "identifier", "verdict"),
    [
        ({"batch": {"kernel": 1, "scale": 3}}, "scale-batch", S),
        ({"batch": {"kernel": 3, "scale": 1}}, "scale-batch", N),
        ({"batch": {"kernel": 1, "scale": 1}}, "scale-batch", U),
        ({"batch": {"kernel": 1, "shift": 3}}, "shift-batch", S),
        ({"batch": {"shift": 1, "cancelled_bias": 1e-8}}, "cancelled-batch", S),
        ({"batch": {"shift": 1, "cancelled_bias": 0.01}}, "cancelled-batch", N),
        ({"none": {"kernel": 3}}, "kernel-batch", S),
        ({"none": {"kernel": 1 / 3}}, "kernel-batch", N),
    ],
)
def test_mean_gradients_decide(arms, identifier, verdict, seeds):
    assert decided(a_run(**arms, seeds=seeds), claims.CLAIMS)[identifier].verdict == verdict


def test_only_a_cancelled_bias_is_judged_in_a_dead_network():
    batch = {"kernel": 1, "scale": 3, "shift": 3, "cancelled_bias": 1e-8}
    found = decided(synthetic.dead(a_run(batch=batch), "batch"), claims.CLAIMS)
    verdicts = {name: verdict.verdict for name, verdict in found.items()}
    assert verdicts.pop("cancelled-batch") == "supported"
    assert verdicts == dict.fromkeys(("scale-batch", "shift-batch", "kernel-batch"), U)
    assert found["scale-batch"].reason.startswith("BatchNorm does not train")


def test_the_figure_has_the_kinds_that_each_network_has():
    made = a_run({"kernel": 2, "bias": 4}, {"kernel": 1, "scale": 3}, seeds=3)
    drawing = figure.gradient_magnitudes(made, {})
    none, batch, training = drawing.panels
    assert [series.name for series in none.table] == ["kernels", "biases that none cancels"]
    assert [series.name for series in batch.table] == ["kernels", "scales γ"]
    np.testing.assert_allclose(batch.table[1].columns["y"], 3 * 1.01)  # the median seed
    assert none.axes.get_ylim() == batch.axes.get_ylim()
    assert training.table[0].name == "no normalisation"
