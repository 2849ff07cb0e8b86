"""The sigmoid network: binary data, inputs of its sigmoids, images alone, claims, figure."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import synthetic
from conftest import cast
from sklearn.datasets import load_digits
from synthetic import N, S, U, column, decided, drawable
from test_data import prepared

from bnjax import data, models, train
from bnjax.data import Batch, sources
from bnjax.errors import UsageError
from bnjax.frame.options import check
from bnjax.losses import cross_entropy
from bnjax.studies.sigmoid_mnist import STUDY, claims, figure, measure
from bnjax.train.step import compute_gradient

SIGMOIDS = 5


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

    def shaken(leaf):
        return leaf + 0.3 * jnp.arange(leaf.size, dtype=leaf.dtype).reshape(leaf.shape) % 1

    state = train.TrainState(jnp.int32(0), **jax.tree.map(shaken, variables), opt_state=())
    batch = Batch(images, jnp.arange(30, dtype=jnp.int32) % 10)
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
def test_percentiles_are_those_of_each_sigmoid_by_hand(trained, statistics):
    model, state, batch, gradient = trained
    percentiles = measure.make_percentiles(
        model, "dense2", batch.images, percentiles=(15.0, 50.0, 85.0), statistics=statistics
    )
    found = percentiles(state, batch, gradient).percentiles
    inputs, _ = forward(state.params, state.batch_stats, batch.images, statistics)
    expected = np.percentile(inputs, (15, 50, 85), axis=0, method="inverted_cdf").T
    np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_percentiles_of_a_layer_that_is_not_there_are_refused(trained):
    model, state, batch, gradient = trained
    percentiles = measure.make_percentiles(model, "dense9", batch.images)
    with pytest.raises(UsageError, match="layers dense9: the model has dense1"):
        percentiles(state, batch, gradient)


def test_images_alone_are_compared_with_the_same_images_together(trained):
    model, state, batch, gradient = trained
    found = measure.make_single_images(model, batch.images, batch.labels)(state, batch, gradient)
    variables, labels = (state.params, state.batch_stats), np.asarray(batch.labels)
    for place, statistics in enumerate(measure.STATISTICS):
        _, together = forward(*variables, batch.images, statistics)
        singles = (forward(*variables, image[None], statistics)[1] for image in batch.images)
        alone = np.concatenate([*singles])
        expected = measure.SingleImages(
            difference=np.abs(alone - together).max(),
            largest=np.abs(together).max(),
            agreement=(alone.argmax(-1) == together.argmax(-1)).mean(),
            accuracy=(alone.argmax(-1) == labels).mean(),
            accuracy_together=(together.argmax(-1) == labels).mean(),
        )
        column = [float(field[place]) for field in found]
        np.testing.assert_allclose(column, expected, rtol=1e-9, atol=1e-12)
    assert found.difference[0] < 1e-12
    assert found.agreement[0] == 1
    if state.batch_stats:
        # With its own statistics every image is the same to the network.
        assert np.ptp(alone, axis=0).max() < 1e-12
        assert found.difference[1] > 0.01


def a_run(far=(2, 1), *, reached=(30, 10), alone=1.0, difference=0.0, own=0.1, seeds=1):
    """The sigmoids of `none` and `batch` wander `far[arm]` spreads in all, at one speed."""
    course = np.linspace(0, 1, synthetic.PROBES).reshape(-1, 1, 1)
    half = 1.0 + np.arange(SIGMOIDS).reshape(-1, 1)  # of the spread
    scale = (1 + 0.01 * np.arange(seeds)).reshape(-1, 1, 1, 1)
    moved = half * (np.array([2.0, 3.0, 4.0]) + 2 * column(far, 4) * course)
    steps = np.arange(0, synthetic.STEPS + 1, 10)
    accuracy = np.where(steps >= column(reached, 2), 0.95, 0.2)
    single = {
        "difference": [difference, 5.0],
        "largest": 10.0,
        "agreement": [alone, 0.1],
        "accuracy": [0.9, own],
        "accuracy_together": 0.9,
    }
    probe = ("norm", "seed", "probe_step")
    return synthetic.run(
        {
            "inputs_percentiles": ((*probe, "channel", "percentile"), moved * scale),
            "test_accuracy": (("norm", "seed", "test_step"), accuracy),
            **{f"single_{name}": ((*probe, "statistics"), x) for name, x in single.items()},
        },
        seeds=seeds,
        options=STUDY.preset("quick").__dict__,
        test_step=steps,
        channel=range(SIGMOIDS),
        percentile=[15.0, 50.0, 85.0],
        statistics=["running", "batch"],
    )


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize(
    ("numbers", "identifier", "verdict"),
    [
        ({"far": (3, 1)}, "fig1bc-run-batch", S),
        ({"far": (1, 1)}, "fig1bc-run-batch", U),
        ({"far": (1, 3)}, "fig1bc-run-batch", N),
        ({"far": (3, 1)}, "fig1bc-probe-batch", S),
        ({"far": (1, 1)}, "fig1bc-probe-batch", U),
        ({"far": (1, 3)}, "fig1bc-probe-batch", N),
        ({"reached": (30, 10)}, "faster-batch-none", S),
        ({"reached": (10, 30)}, "faster-batch-none", N),
        ({"reached": (99, 10)}, "faster-batch-none", S),
        ({"reached": (99, 99)}, "faster-batch-none", U),
        ({"reached": (99, 10)}, "accuracy-batch-none", S),
        ({"difference": 9e-4}, "single-batch", S),
        ({"difference": 1.1e-3}, "single-none", N),  # of a largest logit of 10
        ({"alone": 0.99}, "single-batch", N),
        ({"own": 0.44}, "single-own-batch", S),
        ({"own": 0.45}, "single-own-batch", N),
    ],
)
def test_the_sigmoid_network_decides(numbers, identifier, verdict, seeds):
    found = decided(a_run(**numbers, seeds=seeds), claims.CLAIMS)
    assert found[identifier].verdict == verdict
    assert {*found} == {
        *("faster-batch-none", "accuracy-batch-none", "fig1bc-run-batch", "fig1bc-probe-batch"),
        *("single-none", "single-batch", "single-own-batch"),
    }


def test_a_network_on_its_plateau_bears_no_claim():
    found = decided(synthetic.dead(a_run(), "none"), claims.CLAIMS)
    decisive = {name for name, own in found.items() if own.verdict != U}
    assert decisive == {"single-batch", "single-own-batch"}


def test_sigmoids_wander_by_their_own_spreads():
    made = a_run((3.0, 0.5))
    np.testing.assert_allclose(claims.wander(made).sel(norm="none"), 3.0)
    np.testing.assert_allclose(
        claims.drift(made).sel(norm="batch")[0], [0.5 / (synthetic.PROBES - 1)] * 7 + [np.nan]
    )
    values = made["inputs_percentiles"]
    made.data["inputs_percentiles"].loc[{"probe_step": 35}] = np.nan  # it diverged
    np.testing.assert_allclose(claims.wander(made).sel(norm="none"), 3.0 * 6 / 7)
    values[0, 0, :, 3] = np.arange(8.0)[:, None]  # one number at each probe: it has no spread
    assert np.isnan(claims.wander(made)[0, 0, 3])
    assert np.isfinite(claims.wander(made).median("channel")).all()


def test_the_figure_shows_the_sigmoid_in_the_middle():
    made = drawable(a_run())
    factors = np.array([5.0, 1.0, 2.0, 4.0, 3.0])
    values = made["inputs_percentiles"]
    start = values.isel(probe_step=0)
    wandering = start + (values - start) * factors.reshape(-1, 1)
    made.data["inputs_percentiles"] = wandering.transpose(*values.dims)
    drawing = figure.sigmoid(made, {})
    first, none, batch = drawing.panels
    np.testing.assert_allclose(first.table[0].columns["y"], [20, 20, 20, 95, 95])
    assert none.label == batch.label == "input to sigmoid 4 of the last hidden layer"
    lines = {series.name: series.columns["y"] for series in batch.table if series.kind == "line"}
    np.testing.assert_allclose(lines["percentile 85"], made["inputs_percentiles"][1, 0, :, 4, 2])
    assert (none.title, batch.title) == ("b no normalisation", "c BatchNorm")
    assert "accuracies below 70 % lie outside" in drawing.caption


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "lenet"}, "--model lenet: must be mlp"),
        ({"initial_deviation": 0.0}, "--initial-deviation 0.0: must be above 0 and finite"),
        ({"inputs": 1}, "--inputs 1: must be from 2 to 10000"),
        ({"singles": 0}, "--singles 0: must be from 2 to 10000"),
        ({"target_accuracy": 95.0}, "--target-accuracy 95.0: must be above 0 and at most 1"),
    ],
)
def test_a_wrong_option_is_refused(changes, message):
    with pytest.raises(UsageError, match=message):
        check(dataclasses.replace(STUDY.preset("quick"), **changes))


def test_the_paper_is_the_papers():
    paper = STUDY.preset("paper")
    assert (paper.steps, paper.batch_size, paper.dataset) == (50_000, 60, "binary_mnist")
    model = measure.build_model(paper, "batch", 10)
    params = model.init(jax.random.key(0), jnp.zeros((2, 28, 28, 1)))["params"]
    shapes = [params[name]["kernel"].shape for name in ("dense1", "dense2", "dense3", "output")]
    assert shapes == [(784, 100), (100, 100), (100, 100), (100, 10)]
    np.testing.assert_allclose(params["dense1"]["kernel"].std(), 0.1, rtol=0.02)
