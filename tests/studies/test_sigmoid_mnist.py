"""The sigmoid network: binary data, what its units get, images alone, claims, and the whole."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import cast
from sklearn.datasets import load_digits
from test_data import prepared

from bnjax import data, models, train
from bnjax.commands import command_line as frame
from bnjax.data import Batch, sources
from bnjax.errors import UsageError
from bnjax.frame import results
from bnjax.frame.results import Results
from bnjax.losses import cross_entropy
from bnjax.studies.sigmoid_mnist import claims
from bnjax.studies.sigmoid_mnist import (
    measure_single_images as single_images,
)
from bnjax.studies.sigmoid_mnist import (
    measure_unit_percentiles as unit_percentiles,
)
from bnjax.studies.sigmoid_mnist import study as sigmoid_mnist
from bnjax.train.step import compute_gradient

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")
TOY = [
    *("--width", "0.1", "--steps", "6", "--batch-size", "16", "--probe-every", "2"),
    *("--evaluate-every", "4", "--inputs", "40", "--singles", "5"),
]
PROBES, UNITS, STEPS = 8, 5, 40


def test_binary_digits_are_zero_or_one_and_split_like_the_digits():
    binary, grey = data.load("binary_digits"), data.load("digits")
    assert binary.train.pixels.shape == (1437, 8, 8, 1)
    assert binary.test.pixels.shape == (360, 8, 8, 1)
    np.testing.assert_array_equal(binary.test.labels, grey.test.labels)
    levels = load_digits().images[sources.small_digits()[3]]
    inputs = data.make_pipeline(binary, 60).standardise(binary.test.pixels)
    np.testing.assert_array_equal(inputs[..., 0], (levels >= 8).astype(float))


@pytest.mark.filterwarnings("ignore")
def test_binary_mnist_is_mnist_without_its_margin_and_its_greys(monkeypatch):
    whole = sources.read_split
    few = lambda builder, split, size: whole(builder, f"{split}[:300]", size)  # noqa: E731
    monkeypatch.setattr(sources, "read_split", few)
    binary, grey = prepared("mnist", "binary_mnist"), prepared("mnist")
    assert binary.train.pixels.shape == (300, 28, 28, 1)
    assert binary.mean == (0.0,)
    assert binary.std == (1.0,)
    np.testing.assert_array_equal(binary.test.labels, grey.test.labels)
    middle = np.asarray(grey.test.pixels)[:, 2:30, 2:30]
    np.testing.assert_array_equal(binary.test.pixels, np.where(middle < 128, 0, 255))
    assert "binary" in binary.note


@pytest.fixture(scope="module", params=["none", "batch"])
def trained(request):
    """A perceptron in float64 with statistics that are not those of its images."""
    model = models.mlp(norm=models.norms.by_name(request.param), width=0.07, depth=3)
    images = jax.random.uniform(jax.random.key(3), (30, 4, 4, 1), jnp.float64)
    variables = cast(model.init(jax.random.key(0), images))
    shaken = jax.tree.map(
        lambda leaf: leaf + 0.3 * jnp.arange(leaf.size, dtype=leaf.dtype).reshape(leaf.shape) % 1,
        variables,
    )
    state = train.TrainState(jnp.int32(0), **shaken, opt_state=())
    labels = jnp.arange(30, dtype=jnp.int32) % 10
    batch = Batch(images, labels)
    return model, state, batch, compute_gradient(model, cross_entropy, state, batch)


def forward(params, batch_stats, images, statistics):
    """The perceptron by hand: what its second layer gets, and the logits."""
    params, batch_stats, x = jax.tree.map(np.asarray, (params, batch_stats, images))
    x = x.reshape(len(x), -1)
    for layer in ("dense1", "dense2"):
        x = x @ params[layer]["kernel"] + params[layer]["bias"]
        if "norm" in params[layer]:
            mean, var = x.mean(axis=0), x.var(axis=0)
            if statistics == "running":
                mean, var = (batch_stats[layer]["norm"][name] for name in ("mean", "var"))
            x = (x - mean) / np.sqrt(var + 1e-5)
            x = x * params[layer]["norm"]["scale"] + params[layer]["norm"]["bias"]
        inputs, x = x, 1 / (1 + np.exp(-x))
    return inputs, x @ params["output"]["kernel"] + params["output"]["bias"]


@pytest.mark.parametrize("statistics", ["batch", "running"])
def test_percentiles_are_those_of_each_unit_by_hand(trained, statistics):
    model, state, batch, gradient = trained
    measure = unit_percentiles.make_unit_percentiles(
        model, "dense2", batch.images, percentiles=(15.0, 50.0, 85.0), statistics=statistics
    )
    found = measure(state, batch, gradient).percentiles
    inputs, _ = forward(state.params, state.batch_stats, batch.images, statistics)
    expected = np.percentile(inputs, (15, 50, 85), axis=0, method="inverted_cdf").T
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_percentiles_of_a_layer_that_is_not_there_are_refused(trained):
    model, state, batch, gradient = trained
    measure = unit_percentiles.make_unit_percentiles(model, "dense9", batch.images)
    with pytest.raises(UsageError, match="layers dense9: the model has dense1"):
        measure(state, batch, gradient)


def test_images_alone_are_compared_with_the_same_images_together(trained):
    model, state, batch, gradient = trained
    found = single_images.make_single_images(model, batch.images, batch.labels)(
        state, batch, gradient
    )
    labels = np.asarray(batch.labels)
    for column, statistics in enumerate(single_images.STATISTICS):
        _, together = forward(state.params, state.batch_stats, batch.images, statistics)
        alone = np.concatenate(
            [
                forward(state.params, state.batch_stats, batch.images[i : i + 1], statistics)[1]
                for i in range(30)
            ]
        )
        difference = np.abs(alone - together).max()
        np.testing.assert_allclose(found.difference[column], difference, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(found.largest[column], np.abs(together).max(), rtol=1e-12)
        np.testing.assert_allclose(
            [found.agreement[column], found.accuracy[column], found.accuracy_together[column]],
            [
                (alone.argmax(-1) == together.argmax(-1)).mean(),
                (alone.argmax(-1) == labels).mean(),
                (together.argmax(-1) == labels).mean(),
            ],
        )
    assert found.difference[0] < 1e-12
    assert found.agreement[0] == 1
    if state.batch_stats:
        # With its own statistics every image is the same to the network.
        assert np.ptp(alone, axis=0).max() < 1e-12
        assert found.difference[1] > 0.01


def made_up(far, *, reached=(30, 10), alone=1.0, difference=0.0, losses=None, seeds=1):
    """Results of `none` and `batch` whose units wander `far[arm]` spreads in all."""
    norms = ["none", "batch"]
    decline = np.geomspace(1.5, 0.1, STEPS)
    test_steps = np.arange(0, STEPS + 1, 10)
    course = np.linspace(0, 1, PROBES).reshape(1, PROBES, 1, 1)
    spread = np.array([-1.0, 0.0, 1.0]) * (1 + np.arange(UNITS)).reshape(-1, 1)  # units differ
    strength = np.array(far).reshape(2, 1, 1, 1)
    size = np.ptp(spread, axis=-1).reshape(1, 1, UNITS, 1)
    seed = (1 + 0.01 * np.arange(seeds)).reshape(1, seeds, 1, 1, 1)
    arrays = {
        "inputs.percentiles": (spread + strength * size * course)[:, None] * seed,
        "train.loss": np.array(
            [np.tile((losses or {}).get(norm, decline), (seeds, 1)) for norm in norms]
        ),
        "train.finite": np.ones((2, seeds, STEPS)),
        "test.accuracy": np.array(
            [np.tile(np.where(test_steps >= step, 0.95, 0.2), (seeds, 1)) for step in reached]
        ),
        **{
            f"single.{name}": np.broadcast_to(np.array(values), (2, seeds, PROBES, 2))
            for name, values in {
                "difference": [difference, 5.0],
                "largest": [10.0, 10.0],
                "agreement": [alone, 0.1],
                "accuracy": [0.9, 0.1],
                "accuracy_together": [0.9, 0.9],
            }.items()
        },
    }
    probe = ("norm", "seed", "probe_step")
    dims = {name: (*probe, "statistics") for name in arrays}
    dims |= {"inputs.percentiles": (*probe, "unit", "percentile")}
    dims |= {name: ("norm", "seed", "step") for name in ("train.loss", "train.finite")}
    dims |= {"test.accuracy": ("norm", "seed", "test_step")}
    axes = {
        "norm": np.array(norms),
        "seed": np.arange(seeds),
        "step": np.arange(STEPS),
        "test_step": test_steps,
        "probe_step": np.arange(0, STEPS, STEPS // PROBES),
        "unit": np.arange(UNITS),
        "percentile": np.array([15.0, 50.0, 85.0]),
        "statistics": np.array(["running", "batch"]),
    }
    config = {"target_accuracy": 0.9, "evaluate_every": 10, "model": "mlp", "singles": 7}
    return Results(arrays, dims, axes, config, {"chance_loss": np.log(10)})


def verdicts(measured):
    return {claim.identifier: claim.verdict for claim in claims.claims(measured)}


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize(
    ("far", "verdict"),
    [
        ((3.0, 1.0), "supported"),
        ((1.0, 1.0), "inconclusive"),
        ((1.0, 3.0), "not supported"),
    ],
)
def test_the_distance_that_percentiles_travel_decides(far, verdict, seeds):
    found = verdicts(made_up(far, seeds=seeds))
    assert found["fig1bc-run-batch"] == verdict
    assert found["fig1bc-probe-batch"] == verdict


def test_units_wander_by_their_own_spreads():
    measured = made_up((3.0, 0.5))
    np.testing.assert_allclose(claims.wander(measured, "none", 0), 3.0)
    np.testing.assert_allclose(claims.drift(measured, "batch", 0)[:-1], 0.5 / (PROBES - 1))
    values = measured.arrays["inputs.percentiles"]
    factors = np.array([5.0, 1.0, 2.0, 4.0, 3.0]).reshape(1, 1, 1, UNITS, 1)
    moved = {
        **measured.arrays,
        "inputs.percentiles": values[:, :, :1] + factors * (values - values[:, :, :1]),
    }
    assert claims.typical_unit(measured._replace(arrays=moved), "none", 0) == 4


@pytest.mark.parametrize(
    ("reached", "verdict", "shown"),
    [
        ((30, 10), "supported", "3 (one seed): none 30, batch 10"),
        ((10, 30), "not supported", "0.333 (one seed): none 10, batch 30"),
        ((99, 10), "supported", "at least 4 (one seed): none never, batch 10"),
        ((99, 99), "inconclusive", "no ratio: none never, batch never"),
    ],
)
def test_steps_are_counted_to_the_target_on_the_test_set(reached, verdict, shown):
    found = {c.identifier: c for c in claims.claims(made_up((2.0, 1.0), reached=reached))}
    assert found["faster-batch-none"].verdict == verdict
    assert found["faster-batch-none"].measured == shown
    assert found["faster-batch-none"].source == "Ioffe & Szegedy 2015, Fig. 1a"


@pytest.mark.parametrize(
    ("alone", "difference", "verdict"),
    [(1.0, 1e-6, "supported"), (0.99, 1e-6, "not supported"), (1.0, 0.1, "not supported")],
)
def test_an_image_alone_must_get_its_class_and_its_logits(alone, difference, verdict):
    found = verdicts(made_up((2.0, 1.0), alone=alone, difference=difference))
    assert found["single-batch"] == found["single-none"] == verdict
    assert found["single-own-batch"] == "supported"
    assert "single-own-none" not in found


def test_a_network_on_its_plateau_bears_no_claim():
    measured = made_up((2.0, 1.0), losses={"none": np.full(STEPS, 2.3)})
    for claim in claims.claims(measured):
        expected = "supported" if claim.identifier.startswith("single") else "inconclusive"
        expected = "inconclusive" if claim.identifier == "single-none" else expected
        assert claim.verdict == expected, claim.identifier


def test_a_run_leaves_results_figure_and_claims(monkeypatch, noise_dataset, tmp_path):
    monkeypatch.setattr("bnjax.data.load", lambda *_, **__: noise_dataset)
    arguments = [*TOY, "--debug", "--out", str(tmp_path)]
    assert frame.main(sigmoid_mnist.EXPERIMENT, arguments) == 0
    (path,) = (tmp_path / "sigmoid_mnist").iterdir()
    assert {"sigmoid.png", "sigmoid.pdf"} <= {child.name for child in path.iterdir()}
    measured = results.read(path)
    assert measured.arrays["inputs.percentiles"].shape == (2, 1, 3, 10, 3)
    for name, values in measured.arrays.items():
        assert np.isfinite(values).all(), name
    np.testing.assert_array_equal(
        measured.select("single.agreement", statistics="running"), np.ones((2, 1, 3))
    )
    summary = json.loads((path / "summary.json").read_text())
    assert [claim["identifier"] for claim in summary["claims"]] == [
        "faster-batch-none",
        "accuracy-batch-none",
        "fig1bc-run-batch",
        "fig1bc-probe-batch",
        "single-none",
        "single-batch",
        "single-own-batch",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--model", "lenet"], "--model lenet: must be mlp"),
        (["--initial-deviation", "0"], "--initial-deviation 0.0: must be above 0 and finite"),
        (["--inputs", "1"], "--inputs 1: must be from 2 to 10000"),
        (["--singles", "0"], "--singles 0: must be from 2 to 10000"),
        (["--target-accuracy", "95"], "--target-accuracy 95.0: must be above 0 and at most 1"),
        (["--data-dir", "/"], "--data-dir has no use with --dataset binary_digits"),
        (["--statistics", "frozen"], "'frozen'"),
        (["--batch-size", "1"], "--batch-size 1: the norm batch takes statistics"),
        (["--depth", "1"], "depth 1 of a perceptron must be 2 or more"),
    ],
)
def test_a_wrong_call_gives_one_line_and_writes_nothing(tmp_path, capsys, arguments, message):
    out = tmp_path / "runs"
    assert frame.main(sigmoid_mnist.EXPERIMENT, [*TOY, *arguments, "--out", str(out)]) == 2
    captured = capsys.readouterr().err
    assert captured.startswith("error: ")
    assert message in captured
    assert captured.count("\n") == 1
    assert not out.exists()


def test_presets_are_valid_and_the_paper_is_the_papers(tmp_path):
    for config in sigmoid_mnist.PRESETS.values():
        config.validate()
    paper = sigmoid_mnist.PRESETS["paper"]
    assert (paper.steps, paper.batch_size, paper.dataset) == (50_000, 60, "binary_mnist")
    model = paper.build_model("batch", 10)
    params = model.init(jax.random.key(0), jnp.zeros((2, 28, 28, 1)))["params"]
    shapes = [params[name]["kernel"].shape for name in ("dense1", "dense2", "dense3", "output")]
    assert shapes == [(784, 100), (100, 100), (100, 100), (100, 10)]
    np.testing.assert_allclose(params["dense1"]["kernel"].std(), 0.1, rtol=0.02)
