"""Gradient magnitudes by kind of parameter: a numpy twin, real cancellation, toy size, claims."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import cast, tiny_model

from bnjax import losses, models
from bnjax.arithmetic import trees
from bnjax.commands import command_line as frame
from bnjax.errors import UsageError
from bnjax.frame import results
from bnjax.frame.results import Results
from bnjax.models import norms
from bnjax.probes.magnitudes import KINDS, kinds, magnitudes
from bnjax.studies.gradient_magnitudes import claims
from bnjax.studies.gradient_magnitudes import study as script

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")
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
    glorot = models.initializers.by_name("glorot_uniform")
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


TOY = ["--steps", "6", "--batch-size", "16", "--evaluate-every", "4"]


def test_a_run_leaves_results_figure_and_claims(toy, tmp_path):
    assert frame.main(script.EXPERIMENT, [*TOY, "--debug", "--out", str(tmp_path)]) == 0
    (path,) = (tmp_path / "gradient_magnitudes").iterdir()
    assert (path / "gradient_magnitudes.png").stat().st_size > 10_000
    measured = results.read(path)
    assert measured.axes["kind"].tolist() == list(KINDS)
    means = measured.arrays["magnitudes.mean"]
    assert means.shape == (2, 1, 3, 6)
    has = np.isfinite(means).all(axis=(1, 2))
    np.testing.assert_array_equal(has[0], [True, True, False, False, False, False])
    np.testing.assert_array_equal(has[1], [True, True, True, True, True, False])
    # Training's own gradient: its norm is that of all kinds together.
    whole = measured.arrays["train.gradient_norm"][:, :, ::2]
    parts = np.sqrt(np.nansum(np.square(measured.arrays["magnitudes.norm"]), axis=-1))
    np.testing.assert_allclose(parts, whole, rtol=1e-5)
    summary = json.loads((path / "summary.json").read_text())
    verdicts = {claim["identifier"]: claim["verdict"] for claim in summary["claims"]}
    assert list(verdicts) == ["scale-batch", "shift-batch", "cancelled-batch", "kernel-batch"]
    assert verdicts["cancelled-batch"] == "supported"


def test_a_wrong_call_gives_one_line_and_writes_nothing(toy, tmp_path, capsys):
    out = tmp_path / "runs"
    assert frame.main(script.EXPERIMENT, ["--probe-every", "0", "--out", str(out)]) == 2
    assert capsys.readouterr().err == "error: --probe-every 0: must be from 1 to 100000000\n"
    assert not out.exists()


def test_presets_are_valid():
    for config in script.PRESETS.values():
        config.validate()


def made_up(values, *, seeds=1, loss=None):
    """Results of arms whose kinds have given magnitudes at every step."""
    norms, steps = list(values), 20
    rows = [[values[norm].get(kind, np.nan) for kind in KINDS] for norm in norms]
    means = np.array(rows).reshape(len(norms), 1, 1, len(KINDS))
    means = means * (1 + 0.01 * np.arange(seeds)).reshape(1, -1, 1, 1)
    decline = np.geomspace(1.5, 0.1, steps) if loss is None else np.full(steps, loss)
    losses_ = np.tile(decline, (len(norms), seeds, 1))
    arrays = {
        "magnitudes.mean": np.broadcast_to(means, (len(norms), seeds, steps, len(KINDS))),
        "train.loss": losses_,
        "train.finite": np.ones_like(losses_),
    }
    dims = {
        "magnitudes.mean": ("norm", "seed", "probe_step", "kind"),
        **dict.fromkeys(("train.loss", "train.finite"), ("norm", "seed", "step")),
    }
    axes = {
        "norm": np.array(norms),
        "seed": np.arange(seeds),
        "step": np.arange(steps),
        "probe_step": np.arange(steps),
        "kind": np.array(KINDS),
    }
    return Results(arrays, dims, axes, {}, {"chance_loss": np.log(10)})


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize(
    ("ratio", "verdict"), [(3.0, "supported"), (1 / 3, "not supported"), (1.0, "inconclusive")]
)
def test_the_ratio_of_kinds_decides(ratio, verdict, seeds):
    batch = {"kernel": 1.0, "scale": ratio, "shift": 1 / ratio, "cancelled_bias": 1e-8}
    found = claims.claims(made_up({"none": {"kernel": 2.0}, "batch": batch}, seeds=seeds))
    verdicts = {claim.identifier: claim.verdict for claim in found}
    opposite = {"supported": "not supported", "not supported": "supported"}
    assert verdicts["scale-batch"] == verdict
    assert verdicts["shift-batch"] == opposite.get(verdict, verdict)
    assert verdicts["cancelled-batch"] == "supported"
    assert verdicts["kernel-batch"] == "supported"


def test_a_bias_with_a_gradient_is_not_cancelled():
    batch = {"kernel": 1.0, "scale": 1.0, "shift": 1.0, "cancelled_bias": 0.01}
    found = claims.claims(made_up({"batch": batch}))
    (claim,) = (claim for claim in found if claim.identifier == "cancelled-batch")
    assert claim.verdict == "not supported"
    assert claim.measured == "0.01 of that of β"


def test_a_dead_arm_is_inconclusive_and_says_why():
    batch = {"kernel": 1.0, "scale": 3.0}
    found = claims.claims(made_up({"none": {"kernel": 2.0}, "batch": batch}, loss=2.3))
    assert {claim.identifier for claim in found} == {"scale-batch", "kernel-batch"}
    for claim in found:
        assert claim.verdict == "inconclusive"
        assert "batch does not train: its loss ends at 2.300" in claim.reason
