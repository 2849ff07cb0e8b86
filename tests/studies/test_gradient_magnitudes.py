"""Gradient magnitudes by kind of parameter: a numpy twin, real cancellation, claims, figure."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import synthetic
from conftest import cast, tiny_model
from synthetic import decided

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
    named = zip(trees.leaf_names(gradient), jax.tree.leaves(gradient), strict=True)
    largest = {name: float(jnp.max(jnp.abs(leaf))) for name, leaf in named}
    biases = {name for name, kind in kind_of.items() if kind in ("bias", "cancelled_bias")}
    assert biases == {"conv1/bias", "conv2/bias", "output/bias"}
    for name in biases:
        assert (largest[name] < 1e-12) == (kind_of[name] == "cancelled_bias"), name
    found = [name for name in biases if kind_of[name] == "cancelled_bias"]
    assert len(found) == (2 if norm in CANCELLING else 0)
    others = {name for name, kind in kind_of.items() if kind == "other"}
    shares = {"conv1/norm/share", "conv2/norm/share"}
    assert others == (shares if norm == "unitize" else set())


def test_the_noise_behind_batchnorm_hides_neither_its_parameters_nor_its_statistics(batch):
    variables = tiny_model("noisy_batch").init(jax.random.key(0), batch.images)
    found = kinds(**variables, cancels=declared("noisy_batch"))
    assert found["conv1/norm/inner/scale"] == "scale"
    assert found["conv1/norm/inner/bias"] == "shift"
    assert found["conv1/bias"] == "cancelled_bias"


def test_layers_of_their_own_normaliser_are_asked_one_by_one(batch):
    mixed = norms.with_exceptions(norms.batch_norm(), {"conv1": norms.layer_norm()})
    glorot = models.layers.initializer("glorot_uniform")
    model = models.Model(models.VGG((1, 1), (4, 6), 10, (), mixed, glorot))
    variables = model.init(jax.random.key(0), batch.images)
    found = kinds(**variables, cancels=lambda layer: mixed.for_layer(layer).cancels_bias)
    assert found["conv1/bias"] == "bias"
    assert found["conv2/bias"] == "cancelled_bias"


def test_magnitudes_are_those_of_numpy():
    generator = np.random.default_rng(0)
    shapes = {"a": (3, 4), "b": (5,), "c": (2, 2, 2), "d": (7,)}
    gradient = {name: generator.normal(size=shape) for name, shape in shapes.items()}
    kind_of = {"a": "kernel", "b": "bias", "c": "kernel", "d": "shift"}
    found = magnitudes(jax.tree.map(jnp.asarray, gradient), kind_of)
    for index, kind in enumerate(KINDS):
        own = [gradient[name].ravel() for name in gradient if kind_of[name] == kind]
        if not own:
            assert np.isnan(found.mean[index])
            assert np.isnan(found.norm[index])
            continue
        values = np.concatenate(own)
        np.testing.assert_allclose(found.mean[index], np.abs(values).mean(), rtol=1e-12)
        np.testing.assert_allclose(found.norm[index], np.linalg.norm(values), rtol=1e-12)


def test_a_parameter_without_a_kind_is_refused():
    with pytest.raises(UsageError, match="no kind is given for b: give one of"):
        magnitudes({"a": jnp.ones(1), "b": jnp.ones(1)}, {"a": "kernel"})


def a_run(none=None, batch=None, seeds=1):
    """Two networks whose kinds of parameter have given mean gradients at every step."""
    arms = (none or {"kernel": 2.0}, batch or {"kernel": 1.0})
    values = np.array([[arm.get(kind, np.nan) for kind in KINDS] for arm in arms])
    return synthetic.run(
        {
            "magnitudes_mean": (
                ("norm", "seed", "probe_step", "kind"),
                values[:, None, None] * (1 + 0.01 * np.arange(seeds)).reshape(1, -1, 1, 1),
            )
        },
        seeds=seeds,
        kind=KINDS,
        # What captions say.
        options={"batch_size": 16, "steps": 40, "depth": None, "width": 1.0, "dropout": 0.0}
        | {"objective": "cross_entropy"},
    )


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize(
    ("arms", "identifier", "verdict"),
    [
        ({"batch": {"kernel": 1, "scale": 3}}, "scale-batch", "supported"),
        ({"batch": {"kernel": 3, "scale": 1}}, "scale-batch", "not supported"),
        ({"batch": {"kernel": 1, "scale": 1}}, "scale-batch", "inconclusive"),
        ({"batch": {"kernel": 1, "shift": 3}}, "shift-batch", "supported"),
        ({"batch": {"shift": 1, "cancelled_bias": 1e-8}}, "cancelled-batch", "supported"),
        ({"batch": {"shift": 1, "cancelled_bias": 0.01}}, "cancelled-batch", "not supported"),
        ({"none": {"kernel": 3}}, "kernel-batch", "supported"),
        ({"none": {"kernel": 1 / 3}}, "kernel-batch", "not supported"),
    ],
)
def test_mean_gradients_decide(arms, identifier, verdict, seeds):
    assert decided(a_run(**arms, seeds=seeds), claims.CLAIMS)[identifier].verdict == verdict


def test_only_a_cancelled_bias_is_judged_in_a_dead_network():
    batch = {"kernel": 1, "scale": 3, "shift": 3, "cancelled_bias": 1e-8}
    found = decided(synthetic.dead(a_run(batch=batch), "batch"), claims.CLAIMS)
    verdicts = {name: verdict.verdict for name, verdict in found.items()}
    assert verdicts.pop("cancelled-batch") == "supported"
    assert verdicts == dict.fromkeys(("scale-batch", "shift-batch", "kernel-batch"), "inconclusive")
    assert found["scale-batch"].reason.startswith("BatchNorm does not train")


def test_the_figure_has_the_kinds_that_each_network_has():
    made = a_run({"kernel": 2, "bias": 4}, {"kernel": 1, "scale": 3}, seeds=3)
    made.facts["dataset"] = "made up"
    drawing = figure.gradient_magnitudes(made, {})
    none, batch, training = drawing.panels
    assert [series.name for series in none.table] == ["kernels", "biases that none cancels"]
    assert [series.name for series in batch.table] == ["kernels", "scales γ"]
    np.testing.assert_allclose(batch.table[1].columns["y"], 3 * 1.01)  # the median seed
    assert none.axes.get_ylim() == batch.axes.get_ylim()
    assert training.table[0].name == "no normalisation"
