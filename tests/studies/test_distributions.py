"""Distributions of activations: the measuring, the claims, the figures, the options."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import synthetic
from conftest import cast, tiny_model
from synthetic import PROBES, N, S, U, decided, drawable, rows_of

from bnjax import train
from bnjax.commands.command_line import parse
from bnjax.errors import UsageError
from bnjax.frame import options
from bnjax.losses import cross_entropy
from bnjax.models import layer_names
from bnjax.probes.activations import distribution
from bnjax.studies.distributions import STUDY, claims, figure
from bnjax.studies.distributions.measure import check_options, make_distributions
from bnjax.train.step import compute_gradient

EDGES = np.linspace(-2.0, 2.0, 9)


def test_a_distribution_is_numpys():
    generator = np.random.default_rng(0)
    # Channels of different mean and deviation.
    scale, shift = np.array([0.5, 1.0, 3.0]), np.array([0.0, 1.0, -1.0])
    before, after = (scale * generator.normal(size=(5, 4, 4, 3)) + shift for _ in range(2))
    here, there, edges = map(jnp.asarray, (before, after, EDGES))
    measured = distribution(here, there, edges=edges, channel=2)
    rows, moved = before.reshape(-1, 3), after.reshape(-1, 3)
    inside = np.clip(before.ravel(), -1.999, 1.999)
    every, own = (
        np.percentile(values, [15, 50, 85], method="inverted_cdf") for values in (rows, rows[:, 2])
    )
    expected = {
        "histogram": np.histogram(inside, EDGES)[0] / inside.size,
        "percentiles": every,
        "channel_percentiles": own,
        "mean": rows.mean(axis=0).mean(),
        "deviation": rows.std(axis=0).mean(),
        "mean_change": abs(moved.mean(axis=0) - rows.mean(axis=0)).mean(),
        "variance_change": abs(moved.var(axis=0) - rows.var(axis=0)).mean(),
    }
    assert {*expected} == {*measured._fields}
    for name, values in expected.items():
        np.testing.assert_allclose(getattr(measured, name), values, err_msg=name)


@pytest.mark.parametrize(
    ("values", "edges", "histogram"),
    [
        ([-100.0, -0.5, 0.5, 0.6, 1e30], [-1.0, 0.0, 1.0, 2.0], [0.4, 0.4, 0.2]),
        ([-100.0, -0.5, 0.5, 0.6, 1e30], [0.0, 1.0], [1.0]),
        ([0.5, np.nan, 0.5, 0.5], [0.0, 1.0, 2.0], [np.nan] * 2),
    ],
)
def test_what_lies_outside_is_in_the_outer_bins_and_what_is_no_number_in_none(
    values, edges, histogram
):
    measured = distribution(jnp.array(values)[:, None], edges=jnp.array(edges))
    np.testing.assert_array_equal(measured.histogram, histogram)
    assert np.isnan(measured.mean_change)


def test_a_channel_or_edges_that_do_not_exist_are_refused():
    values = jnp.zeros((2, 3))
    with pytest.raises(UsageError, match=r"channel=3 does not exist: choose from 0 to 2"):
        distribution(values, edges=jnp.array([0.0, 1.0]), channel=3)
    with pytest.raises(UsageError, match="at least two"):
        distribution(values, edges=jnp.array([0.0]))


def convolve(images, kernel, bias):
    """3×3 convolution with zeros outside, the obvious way."""
    padded = np.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)))
    out = np.zeros((*images.shape[:3], kernel.shape[-1]))
    height, width = images.shape[1:3]
    for row in range(3):
        for column in range(3):
            window = padded[:, row : row + height, column : column + width]
            out += np.einsum("bhwc,cf->bhwf", window, kernel[row, column])
    return out + bias


def forward(params, images, normalised):
    """The tiny network written by hand: what each layer hands to its non-linearity."""
    found, x, params = {}, np.asarray(images), jax.tree.map(np.asarray, params)
    for name in ("conv1", "conv2"):
        layer = params[name]
        x = convolve(x, layer["kernel"], layer["bias"])
        if normalised:
            axes = (0, 1, 2)
            x = (x - x.mean(axes)) / np.sqrt(x.var(axes) + 1e-5)
            x = x * layer["norm"]["scale"] + layer["norm"]["bias"]
        found[name] = x
        x = np.maximum(x, 0)
        batch, height, width, channels = x.shape
        x = x.reshape(batch, height // 2, 2, width // 2, 2, channels).max((2, 4))
    x = x.reshape(len(x), -1)
    found["output"] = x @ params["output"]["kernel"] + params["output"]["bias"]
    return found


def test_preactivations_are_those_of_a_forward_pass_by_hand(problem, batch):
    model, params, batch_stats, _ = problem
    # γ and β away from 1 and 0, so that the normaliser's own parameters count.
    params = jax.tree.map(lambda leaf: leaf + 0.3, params)
    measured = jax.jit(model.preactivations)(params, batch_stats, batch.images)
    expected = forward(params, batch.images, normalised=bool(batch_stats))
    assert list(layer_names(model, (8, 8, 3))) == list(expected)
    assert measured.keys() == expected.keys()
    for name, values in expected.items():
        np.testing.assert_allclose(measured[name], values, rtol=1e-9, atol=1e-9, err_msg=name)


def start(model, params, batch_stats, optimizer, batch):
    """A state, and the gradient of its step."""
    step = jnp.zeros((), jnp.int32)
    state = train.TrainState(step, params, batch_stats, optimizer.init(params))
    return state, jax.jit(functools.partial(compute_gradient, model, cross_entropy))(state, batch)


def test_a_steps_change_is_that_of_the_update_and_zero_without_one(problem, batch):
    model, params, batch_stats, _ = problem
    optimizer = optax.sgd(0.1)
    state, computed = start(model, params, batch_stats, optimizer, batch)
    measure = make_distributions(model, optimizer, ("conv2", "conv1"), EDGES)
    measured = measure(state, batch, computed)
    moved = jax.tree.map(lambda leaf, slope: leaf - 0.1 * slope, params, computed.gradient)
    here, there = (forward(point, batch.images, bool(batch_stats)) for point in (params, moved))
    axes = (0, 1, 2)
    for row, layer in enumerate(("conv2", "conv1")):
        mean = np.abs(there[layer].mean(axes) - here[layer].mean(axes)).mean()
        variance = np.abs(there[layer].var(axes) - here[layer].var(axes)).mean()
        np.testing.assert_allclose(measured.mean_change[row], mean, rtol=1e-6)
        np.testing.assert_allclose(measured.variance_change[row], variance, rtol=1e-6)

    standing = computed._replace(gradient=jax.tree.map(jnp.zeros_like, computed.gradient))
    still = measure(state, batch, standing)
    assert still.mean_change.tolist() == still.variance_change.tolist() == [0, 0]
    np.testing.assert_array_equal(still.histogram, measured.histogram)


@pytest.mark.parametrize("redraw", [False, True])
def test_noise_moves_the_activations_only_where_it_is_redrawn(batch, redraw):
    model, optimizer = tiny_model("noise"), optax.sgd(0.1)
    params = cast(model.init(jax.random.key(0), batch.images))["params"]
    noisy = batch._replace(key=jax.random.key(1))
    state, computed = start(model, params, {}, optimizer, noisy)
    standing = computed._replace(gradient=jax.tree.map(jnp.zeros_like, computed.gradient))
    measure = make_distributions(model, optimizer, ("conv1",), EDGES, redraw=redraw)
    change = float(measure(state, noisy, standing).mean_change[0])
    assert 0.1 < change < 1 if redraw else change == 0


def test_a_layer_that_does_not_exist_is_refused(batch):
    model, optimizer = tiny_model("none"), optax.sgd(0.1)
    variables = cast(model.init(jax.random.key(0), batch.images))
    state, computed = start(model, variables["params"], {}, optimizer, batch)
    measure = make_distributions(model, optimizer, ("conv1", "conv9"), EDGES)
    with pytest.raises(UsageError, match="layers conv9: the model has conv1 conv2 output"):
        jax.eval_shape(measure, state, batch, computed)


INNER = ("norm", "seed", "probe_step", "shown_layer")


def moved(factors, *, seeds=1, layers=("conv1",), **more):
    """Arms whose distributions move up by a factor of their deviation 2 from probe to probe.

    A factor is a number, or one for each layer. A step changes the channels' means by as much, and
    their variances by as much of the squared deviation.
    """
    strength = np.array([np.broadcast_to(own, len(layers)) for own in factors.values()], float)
    strength = strength[:, None, None, :] * (1 + 0.01 * np.arange(seeds))[:, None, None]
    place = 2 * strength * np.arange(PROBES)[:, None]
    quantiles = place[..., None] + np.linspace(-1, 1, 19)
    return synthetic.run(
        {
            "distributions_percentiles": ((*INNER, "percentile"), quantiles),
            "distributions_channel_percentiles": ((*INNER, "percentile"), 2 * quantiles),
            "distributions_deviation": (INNER, 2.0),
            "distributions_mean_change": (INNER, 2 * strength),
            "distributions_variance_change": (INNER, 4 * strength),
            **more.pop("variables", {}),
        },
        norms=tuple(factors),
        seeds=seeds,
        shown_layer=layers,
        percentile=range(5, 100, 5),
        **more,
    )


def test_stability_is_measured_in_the_layers_deviations():
    run = moved({"none": 0.3}, layers=("conv1", "conv2"))
    for name, factor in {"drift": 0.3, "unit": 0.6, "mean": 0.3, "variance": 0.3}.items():
        values = claims.MEASURES[name].of(run)
        assert values.dims == INNER
        known = values.isel(probe_step=slice(-1 if name in ("drift", "unit") else None))
        np.testing.assert_allclose(known, factor)
        assert values.isnull().sum() == values.size - known.size


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize(
    ("factor", "stable", "marginal"), [(3.0, S, N), (1.5, S, S), (1.0, U, S), (1 / 3, N, N)]
)
def test_the_ratio_of_stability_decides(factor, stable, marginal, seeds):
    found = decided(moved({"none": factor, "batch": 1.0}, seeds=seeds), claims.CLAIMS)
    expected = {f"stable-{name}-batch": stable for name in claims.MEASURES}
    assert {name: own.verdict for name, own in found.items()} == {
        **expected, "fig1c-batch": marginal
    }  # fmt: skip


def test_an_lp_norm_is_claimed_to_be_less_stable():
    found = decided(moved({"none": 1.0, "l1": 3.0, "linf": 0.2}), claims.CLAIMS)
    assert len(found) == 8
    assert (found["fig6-drift-l1"].verdict, found["fig6-drift-linf"].verdict) == (S, N)


def test_every_layer_has_to_agree_and_every_measure_to_be_marginal():
    made = moved({"none": (3.0, 0.3), "batch": 1.0}, layers=("conv1", "conv2"))
    found = decided(made, claims.CLAIMS)
    assert found["stable-drift-batch"].verdict == U
    assert "above 1 conv1 at equal step" in found["stable-drift-batch"].reason
    made = moved({"none": 1.0, "batch": 1.0}, layers=("conv1", "conv2"))
    made.data["distributions_variance_change"].loc[{"norm": "none", "shown_layer": "conv2"}] *= 3
    marginal = decided(made, claims.CLAIMS)["fig1c-batch"]
    assert marginal.verdict == N
    assert marginal.reason == (
        "outside: variance in conv2 at equal step, variance in conv2 at equal loss"
    )
    assert marginal.measured.startswith("No normalisation / BatchNorm from 0.909 to 3.3")


def drawn(norms=("none", "batch"), **more):
    """A run that can be drawn; the inner two of four bins hold ¼ and ½, at the last probe 0."""
    shares = np.tile([0.25, 0.25, 0.5, 0.0], (PROBES, 1, 1))
    shares[-1] = [0.5, 0, 0, 0.5]
    variables = {"distributions_histogram": ((*INNER, "bin"), shares), **more}
    factors = {norm: 0.3 + place for place, norm in enumerate(norms)}
    coords = {"bin": [-3.0, -1.0, 1.0, 3.0], "test_step": [0, 40], "options": {"channel": 1}}
    return drawable(moved(factors, variables=variables, **coords))


def test_the_histogram_is_drawn_by_each_steps_peak_without_empty_cells():
    drawing = figure.distributions(drawn(), {})
    rows = rows_of(drawing)
    panel = "BatchNorm | conv1 activation"
    ((_, cells),) = (item for item in rows.items() if item[0][::2] == (panel, "grid"))
    steps = [5 * probe for probe in range(PROBES - 1)]
    known = [(x, y, value) for x, y, _, _, value in cells if not np.isnan(value)]
    assert known == [(x, y, value) for y, value in ((-1, 0.5), (1, 1)) for x in steps]
    assert cells[7][:2] == (35, -1)  # all beyond the edges: 0/0
    lines = {name: dict(found)[35] for (_, name, kind), found in rows.items() if kind == "line"}
    middle = 2 * 1.3 * 7  # 0.3 + 1 of a deviation of 2, seven times
    assert lines["percentile 50 of all channels"] == pytest.approx(middle)
    assert lines["percentile 15 of all channels"] == pytest.approx(middle - 7 / 9)
    assert lines["percentile 50 of channel 1"] == pytest.approx(2 * middle)
    (name, _), (other, _) = drawing.panels[0].entries()
    assert (name, other) == (
        "percentiles 15, 50, 85 of all channels", "percentiles 15, 50, 85 of channel 1"
    )  # fmt: skip


def test_stability_is_drawn_as_the_claims_measure_it():
    run = drawn()
    rows = rows_of(figure.stability(run, {}))
    found = {(panel.partition(" |")[0], name): own for (panel, name, _), own in rows.items()}
    for name, measure in claims.MEASURES.items():
        values = measure.of(run).sel(norm="batch", seed=0, shown_layer="conv1").values
        title = figure.TITLES[name].replace("\n", " ")
        np.testing.assert_array_equal([y for _, y in found[title, "BatchNorm"]], values)
    training = {name for panel, name in found if panel.startswith("training")}
    assert training == {"no normalisation", "BatchNorm", "chance"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"layers": ("conv1", "conv1")}, "--layers conv1 conv1: must be one or more different"),
        ({"channel": -1}, "--channel -1: must be 0 or more"),
        ({"range": (1.0, 0.0)}, "--range 1 0: must be two finite numbers, rising"),
        ({"range": (0.0, np.inf)}, "--range 0 inf: must be two finite numbers"),
        ({"bins": 2}, "--bins 2: must be from 3 to 10000"),
    ],
)
def test_impossible_options_are_refused(changes, message):
    with pytest.raises(UsageError, match=message):
        options.check(STUDY.options(**changes))


def test_a_layer_is_one_of_the_network_and_a_channel_has_its_old_name_too():
    with pytest.raises(UsageError, match="--layers conv9: the model has conv1"):
        check_options(STUDY.options(layers=("conv1", "conv9")))
    assert parse(STUDY, ["--unit", "3"]).channel == parse(STUDY, ["--channel", "3"]).channel == 3
