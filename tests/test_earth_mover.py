"""The earth mover distance against scipy and theory, and its experiment at toy size."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.optimize
import scipy.spatial
import scipy.stats

from bnjax import train
from bnjax.arithmetic import earth_mover as distances
from bnjax.commands import command_line as frame
from bnjax.errors import UsageError
from bnjax.frame import results
from bnjax.frame.results import Results
from bnjax.probes.earth_mover import Affine, earth_mover, shape_of
from bnjax.studies.earth_mover import claims
from bnjax.studies.earth_mover import study as script
from bnjax.studies.earth_mover.measure import make_earth_mover
from bnjax.train import optimizers

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")
KEY = jax.random.key(0)
SHAPES = [(1, 1), (2, 3), (16, 5), (33, 40), (128, 2)]


def clouds(seed, samples, dims):
    """Two clouds of samples that look nothing alike: skewed, of unequal place and width."""
    generator = np.random.default_rng(seed)
    a = generator.gamma(0.5, 2, (samples, dims)) * generator.lognormal(size=dims)
    b = generator.normal(size=(samples, dims)) * generator.lognormal(size=dims)
    return jnp.asarray(a), jnp.asarray(b + generator.normal(size=dims) * generator.choice([0, 3]))


@pytest.mark.parametrize(("samples", "dims"), SHAPES)
def test_each_unit_agrees_with_scipy(samples, dims):
    a, b = clouds(1, samples, dims)
    expected = [scipy.stats.wasserstein_distance(x, y) for x, y in zip(a.T, b.T, strict=True)]
    np.testing.assert_allclose(distances.per_channel(a, b), expected, rtol=1e-12)


@pytest.mark.parametrize(("samples", "dims"), SHAPES)
def test_the_exact_distance_is_the_best_assignment_of_scipys_distances(samples, dims):
    a, b = clouds(2, samples, dims)
    costs = scipy.spatial.distance.cdist(a, b)
    expected = costs[scipy.optimize.linear_sum_assignment(costs)].mean()
    np.testing.assert_allclose(distances.exact(a, b), expected, rtol=1e-9)
    np.testing.assert_allclose(jax.jit(distances.exact)(a, b), expected, rtol=1e-9)
    np.testing.assert_allclose(distances.paired(a, b), costs.diagonal().mean(), rtol=1e-12)


def test_the_exact_distance_of_a_tiny_step_does_not_cancel():
    a = 100 + jax.random.normal(KEY, (20, 300), jnp.float32)
    step = jnp.float32(1e-3) * jax.random.normal(jax.random.key(1), (20, 300), jnp.float32)
    expected = np.linalg.norm(np.asarray(a + step, np.float64) - np.asarray(a, np.float64), axis=1)
    np.testing.assert_allclose(distances.exact(a, a + step), expected.mean(), rtol=1e-5)


def test_in_one_dimension_all_distances_are_the_same():
    a, b = clouds(3, 50, 1)
    expected = distances.per_channel(a, b)[0]
    np.testing.assert_allclose(distances.exact(a, b), expected, rtol=1e-9)
    slices = distances.sliced(KEY, a, b, directions=5)
    np.testing.assert_allclose(slices.distance, expected, rtol=1e-12)
    np.testing.assert_allclose(slices.error, 0, atol=1e-12)
    np.testing.assert_allclose(distances.slice_factor(1), 1, rtol=1e-12)


@jax.jit
def measured_all(a, b):
    """Everything that stands in an inequality, in one program."""
    slices = distances.sliced(KEY, a, b, directions=400)
    return {
        "units": distances.per_channel(a, b),
        "unit": distances.channel_bounds(a, b),
        "full": distances.bounds(a, b),
        "exact": distances.exact(a, b),
        "paired": distances.paired(a, b),
        "sliced": slices.distance,
        "error": slices.error,
    }


@pytest.mark.parametrize(("samples", "dims"), SHAPES)
def test_every_bound_holds(samples, dims):
    more = 1 + 1e-9
    factor = distances.slice_factor(dims)
    for seed in range(8):
        a, b = (np.asarray(x) for x in clouds(seed, samples, dims))
        found = jax.device_get(measured_all(a, b))
        units, unit, full, exact = (found[name] for name in ("units", "unit", "full", "exact"))
        assert (unit.lower <= units * more + 1e-12).all()
        assert (units <= unit.upper * more).all()
        assert full.lower <= exact * more
        assert exact <= full.upper * more
        assert exact <= found["paired"] * more
        assert found["sliced"] <= exact * more
        np.testing.assert_allclose(full.lower, np.linalg.norm(a.mean(0) - b.mean(0)), rtol=1e-9)
        spread = a.var(axis=0).sum() + b.var(axis=0).sum()
        np.testing.assert_allclose(full.upper, np.sqrt(full.lower**2 + spread), rtol=1e-9)
        # In expectation over directions; the estimate may exceed it by its error.
        chance = 4 * found["error"] + 1e-12
        assert factor * full.lower - chance <= found["sliced"] <= factor * exact * more + chance


def test_both_bounds_are_reached():
    generator = np.random.default_rng(4)
    a = jnp.asarray(generator.normal(size=(30, 6)))
    moved = a + jnp.arange(6.0)[None]
    np.testing.assert_allclose(distances.exact(a, moved), distances.bounds(a, moved).lower)
    # ±1 on one axis against ±1 on another: every coupling has the same cost, √2.
    cross, line = jnp.array([[1.0, 0.0], [-1.0, 0.0]]), jnp.array([[0.0, 1.0], [0.0, -1.0]])
    np.testing.assert_allclose(distances.exact(cross, line), distances.bounds(cross, line).upper)


def test_slices_of_a_shift_are_its_projections():
    a = jax.random.normal(KEY, (40, 12))
    shift = jnp.linspace(-2, 3, 12)
    key, directions = jax.random.key(5), 3000
    slices = distances.sliced(key, a, a + shift[None], directions=directions)
    drawn = np.asarray(jax.random.normal(key, (12, directions)))
    chosen = drawn / np.linalg.norm(drawn, axis=0)
    each = np.abs(np.asarray(shift) @ chosen)
    np.testing.assert_allclose(slices.distance, each.mean(), rtol=1e-9)
    np.testing.assert_allclose(slices.error, scipy.stats.sem(each), rtol=1e-9)
    expected = distances.slice_factor(12) * np.linalg.norm(shift)
    assert abs(slices.distance - expected) < 4 * slices.error


def test_the_distance_of_two_gaussians_of_one_width_approaches_their_shift():
    generator = np.random.default_rng(6)
    a, b = (jnp.asarray(generator.normal(place, 1, (40_000, 1))) for place in (0.0, 0.7))
    np.testing.assert_allclose(distances.per_channel(a, b), [0.7], atol=0.03)


@pytest.mark.parametrize("dims", [2, 3, 10, 1000])
def test_the_slice_factor_is_the_mean_of_a_coordinate_of_the_sphere(dims):
    drawn = np.random.default_rng(7).normal(size=(20_000, dims))
    coordinate = np.abs(drawn[:, 0]) / np.linalg.norm(drawn, axis=1)
    error = scipy.stats.sem(coordinate)
    assert abs(distances.slice_factor(dims) - coordinate.mean()) < 4 * error


def test_distances_do_not_see_the_order_of_samples_and_scale_with_them():
    a, b = clouds(8, 20, 4)
    order = np.random.default_rng(9).permutation(20)
    for measure in (
        lambda a, b: distances.per_channel(a, b),
        lambda a, b: distances.sliced(KEY, a, b, directions=7).distance,
        distances.exact,
        lambda a, b: distances.bounds(a, b).upper,
    ):
        expected = measure(a, b)
        np.testing.assert_allclose(measure(a[order], b), expected, rtol=1e-9)
        np.testing.assert_allclose(measure(b, a), expected, rtol=1e-9)
        np.testing.assert_allclose(measure(-3 * a, -3 * b), 3 * expected, rtol=1e-9)


def test_a_sample_that_is_not_finite_gives_nan():
    a, b = clouds(10, 6, 2)
    assert np.isnan(distances.exact(a.at[2, 1].set(jnp.inf), b))


def normalised(generator, examples, sites, units, scale, bias):
    """Outputs of a BatchNorm with γ and β whose statistics pool examples and sites."""
    drawn = generator.gamma(0.3, 1, (examples, sites, units)) + generator.normal(
        size=(1, sites, units)
    )
    drawn = (drawn - drawn.mean(axis=(0, 1))) / drawn.std(axis=(0, 1))
    return jnp.asarray(drawn * scale + bias).reshape(examples, -1)


@pytest.mark.parametrize("sites", [1, 2, 9])
def test_the_bound_of_batchnorm_holds(sites):
    generator = np.random.default_rng(sites)
    for _ in range(20):
        affine = [generator.normal(size=3) for _ in range(4)]
        a = normalised(generator, 8, sites, 3, *affine[:2])
        b = normalised(generator, 8, sites, 3, *affine[2:])
        bound = distances.normalised_bound(*map(jnp.asarray, affine), sites=sites)
        assert distances.exact(a, b) <= bound
        if sites == 1:
            assert distances.bounds(a, b).upper <= bound


def test_with_several_sites_the_bound_of_one_would_be_false():
    # Every example alike, one unit, two pixels at ±1; the step changes γ's sign.
    a = jnp.array([[1.0, -1.0]] * 4)
    one, zero = jnp.ones(1), jnp.zeros(1)
    exact = distances.exact(a, -a)
    assert exact > np.sqrt(2 * 2)  # √(2D) max|γ|
    np.testing.assert_allclose(exact, distances.normalised_bound(one, zero, -one, zero, sites=2))


def test_moments_are_scipys_and_those_of_a_constant_unit_are_zero():
    samples, _ = clouds(11, 30, 4)
    found = shape_of(samples)
    np.testing.assert_allclose(found[2], scipy.stats.skew(samples), rtol=1e-9)
    kurtosis = scipy.stats.kurtosis(samples, fisher=False)
    np.testing.assert_allclose(found[3], kurtosis, rtol=1e-9)
    constant = shape_of(jnp.ones((5, 2)))
    np.testing.assert_array_equal(constant[2], [0, 0])


def test_a_layer_of_pixels_is_measured_as_said():
    generator = np.random.default_rng(12)
    before = generator.gamma(1, 1, (6, 2, 3, 4))
    after = before * generator.lognormal(0, 0.3, (6, 2, 3, 4)) + 0.5
    affine = Affine(*(jnp.asarray(generator.normal(size=4)) for _ in range(4)))
    found = earth_mover(
        KEY,
        jnp.asarray(before),
        jnp.asarray(after),
        pixels=6,
        percentiles=(0.0, 100.0),
        affine=affine,
    )
    rows = [x.reshape(36, 4) for x in (before, after)]
    units = [scipy.stats.wasserstein_distance(*(x[:, j] for x in rows)) for j in range(4)]
    variance = [x.reshape(6, 24).var(axis=0).sum() for x in (before, after)]
    costs = scipy.spatial.distance.cdist(before.reshape(6, -1), after.reshape(6, -1))
    changes = [
        np.abs(measure(rows[1]) - measure(rows[0])).mean()
        for measure in (
            lambda x: x.mean(axis=0),
            lambda x: x.var(axis=0),
            scipy.stats.skew,
            lambda x: scipy.stats.kurtosis(x, fisher=False),
        )
    ]
    shift = np.linalg.norm((before - after).mean(axis=0))
    expected = {
        "dimension": 24,
        "deviation": np.sqrt(variance[0]),
        "scaled": found.sliced / distances.slice_factor(24),
        "exact": costs[scipy.optimize.linear_sum_assignment(costs)].mean(),
        "paired": np.linalg.norm((before - after).reshape(6, -1), axis=1).mean(),
        "lower": shift,
        "upper": np.sqrt(shift**2 + sum(variance)),
        "norm_bound": distances.normalised_bound(*affine, sites=6),
        "channel": np.mean(units),
        "channel_percentiles": [min(units), max(units)],
        "channel_deviation": rows[0].std(axis=0).mean(),
        "mean_change": changes[0],
        "channel_lower": changes[0],
        "variance_change": changes[1],
        "skewness_change": changes[2],
        "kurtosis_change": changes[3],
    }
    for name, value in expected.items():
        np.testing.assert_allclose(getattr(found, name), value, rtol=1e-7, err_msg=name)


def test_some_pixels_stand_for_all_and_are_the_same_before_and_after():
    before = jax.random.normal(KEY, (32, 16, 16, 2))
    whole = earth_mover(KEY, before, 1.5 * before, pixels=256, exact=False)
    some = earth_mover(KEY, before, 1.5 * before, pixels=64, exact=False)
    assert np.isnan(whole.exact)
    np.testing.assert_allclose(some.channel, whole.channel, rtol=0.05)
    assert some.channel != whole.channel
    np.testing.assert_array_equal(some.kurtosis_change, whole.kurtosis_change)
    still = earth_mover(KEY, before, before, pixels=3)
    assert still.channel == still.exact == still.sliced == 0


@pytest.mark.parametrize("option", ["directions", "pixels"])
def test_impossible_numbers_are_refused(option):
    with pytest.raises(UsageError, match=f"{option}=0 must be 1 or more"):
        earth_mover(KEY, jnp.ones((2, 2)), jnp.ones((2, 2)), **{option: 0})


def test_the_step_that_is_measured_is_the_optimisers_own(problem, batch, standard_promotion):
    model, params, batch_stats, loss = problem
    optimizer = optimizers.by_name("adam", 0.1)
    gradient = jax.grad(loss)(params)
    # An optimiser that has seen another gradient already: its update is not −lr times this one.
    opt_state = optimizer.update(
        jax.tree.map(jnp.ones_like, params), optimizer.init(params), params
    )[1]
    state = train.TrainState(jnp.full((), 3, jnp.int32), params, batch_stats, opt_state)
    computed = train.Gradient(loss(params), jnp.zeros(()), gradient, batch_stats)
    layers = ("conv2", "output")
    normalises = "norm" in params["conv2"]
    measure = make_earth_mover(model, optimizer, layers, KEY, batch_norm=normalises)
    found = measure(state, batch, computed)
    updates, _ = optimizer.update(gradient, opt_state, params)
    moved = optax.apply_updates(params, updates)
    for index, layer in enumerate(layers):
        pair = [
            model.preactivations(point, batch_stats, batch.images)[layer]
            for point in (params, moved)
        ]
        vectors = [x.reshape(16, -1) for x in pair]
        np.testing.assert_allclose(found.exact[index], distances.exact(*vectors), rtol=1e-9)
        assert found.exact[index] > 0
    assert np.isfinite(found.norm_bound).tolist() == [normalises, False]
    with pytest.raises(UsageError, match="conv9: the model has conv1 conv2 output"):
        make_earth_mover(model, optimizer, ("conv9",), KEY)(state, batch, computed)


TOY = [
    *("--steps", "6", "--batch-size", "16", "--probe-every", "2", "--evaluate-every", "4"),
    *("--layers", "conv1", "output", "--norms", "batch", "unitize"),
]


def test_a_run_leaves_results_figure_and_claims(toy, tmp_path):
    assert frame.main(script.EXPERIMENT, [*TOY, "--debug", "--out", str(tmp_path)]) == 0
    (path,) = (tmp_path / "earth_mover").iterdir()
    assert (path / "earth_mover.png").stat().st_size > 10_000
    assert (path / "earth_mover.pdf").stat().st_size > 1_000
    measured = results.read(path)
    assert measured.axes["norm"].tolist() == ["batch", "unitize"]
    assert measured.dims["earth_mover.channel_percentiles"][-2:] == ("shown_layer", "percentile")
    for name, values in measured.arrays.items():
        assert np.isfinite(values).all() or name == "earth_mover.norm_bound", name
    bound = measured.select("earth_mover.norm_bound", norm="batch", seed=0)
    exact = measured.select("earth_mover.exact", norm="batch", seed=0)
    np.testing.assert_array_equal(np.isfinite(bound).all(axis=0), [True, False])
    assert (exact[:, 0] < bound[:, 0]).all()
    for low, high in (("lower", "exact"), ("exact", "paired"), ("exact", "upper")):
        low, high = (measured.arrays[f"earth_mover.{name}"] for name in (low, high))
        assert (low <= high * (1 + 1e-5)).all()
    summary = json.loads((path / "summary.json").read_text())
    assert [claim["identifier"] for claim in summary["claims"]] == [
        *("less-layer-unitize", "less-layer-absolute-unitize", "less-unit-unitize"),
        "bound-batch",
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--layers", "conv1", "conv9"], "--layers conv9: the model has conv1 conv2 output"),
        (["--layers", "conv1", "conv1"], "--layers conv1 conv1: must be one or more different"),
        (["--slices", "1"], "--slices 1: must be from 2 to 100000"),
        (["--pixels", "0"], "--pixels 0: must be 1 or more"),
        (["--batch-size", "4096"], "--batch-size 4096: must be at most 2048 with --exact"),
        (["--norms", "foo"], "foo"),
    ],
)
def test_a_wrong_call_gives_one_line_and_writes_nothing(toy, tmp_path, capsys, arguments, message):
    out = tmp_path / "runs"
    assert frame.main(script.EXPERIMENT, [*TOY, "--out", str(out), *arguments]) == 2
    captured = capsys.readouterr().err
    assert captured.startswith("error: ")
    assert message in captured
    assert captured.count("\n") == 1
    assert not out.exists()


def test_presets_are_valid():
    for config in script.PRESETS.values():
        config.validate()


def made_up(factors, *, seeds=1, slope=0.0, bound=100.0, losses=None):
    """Results whose arms have given shifts, at every step and loss; ×D^slope in `batch`."""
    norms, probes, steps = list(factors), 8, 40
    dims = np.array([10.0, 100.0, 1000.0])
    strength = np.array([factors[norm] for norm in norms]).reshape(-1, 1, 1, 1)
    strength = strength * (1 + 0.01 * np.arange(seeds)).reshape(1, -1, 1, 1)
    strength = np.broadcast_to(strength, (len(norms), seeds, probes, 3)).copy()
    if "batch" in norms:
        strength[norms.index("batch")] *= dims**slope / 100**slope
    ones = np.ones_like(strength)
    fields = {
        "dimension": ones * dims,
        "norm_bound": ones * bound,
        "exact": ones,
        **dict.fromkeys(("scaled", "channel", "skewness_change", "kurtosis_change"), strength),
        **dict.fromkeys(("deviation", "channel_deviation"), ones),
    }
    arrays = {f"earth_mover.{name}": values for name, values in fields.items()}
    arrays = {name: ("norm", "seed", "probe_step", "shown_layer") for name in arrays}, arrays
    decline = np.tile(np.geomspace(1.5, 0.1, steps), (len(norms), seeds, 1))
    for norm, loss in (losses or {}).items():
        decline[norms.index(norm)] = loss
    plain = ("norm", "seed", "step")
    axes = {
        "norm": np.array(norms),
        "seed": np.arange(seeds),
        "step": np.arange(steps),
        "probe_step": np.arange(0, steps, steps // probes),
        "shown_layer": np.array(["conv1", "conv2", "conv3"]),
    }
    return Results(
        {**arrays[1], "train.loss": decline, "train.finite": np.ones_like(decline)},
        {**arrays[0], "train.loss": plain, "train.finite": plain},
        axes,
        {},
        {"chance_loss": np.log(10)},
    )


def verdicts(measured):
    return {claim.identifier: claim.verdict for claim in claims.claims(measured)}


NAMES = ("layer", "layer-absolute", "unit")


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize(
    ("factor", "same", "less"),
    [
        (3.0, "supported", "supported"),
        (1.0, "supported", "inconclusive"),
        (1 / 3, "not supported", "not supported"),
    ],
)
def test_the_ratio_of_shifts_decides(factor, same, less, seeds):
    found = verdicts(made_up({"none": 1.0, "batch": factor, "unitize": 1.0}, seeds=seeds))
    assert [found[f"same-{name}-batch"] for name in NAMES] == [same] * 3
    assert [found[f"less-{name}-unitize"] for name in NAMES] == [less] * 3
    assert found["same-skewness-batch"] == found["same-kurtosis-batch"] == same


@pytest.mark.parametrize(
    ("slope", "verdict"),
    [(0.5, "supported"), (-0.5, "not supported"), (0.0, "inconclusive")],
)
def test_the_slope_against_the_dimension_decides(slope, verdict):
    found = claims.claims(made_up({"none": 1.0, "batch": 1.0}, slope=slope))
    (claim,) = (claim for claim in found if claim.identifier == "dimension-batch")
    assert claim.verdict == verdict
    assert f"slope {slope:.3g}"[:9] in claim.measured or slope == 0


@pytest.mark.parametrize(
    ("bound", "verdict"), [(50.0, "supported"), (1.5, "not supported"), (5.0, "inconclusive")]
)
def test_the_distance_to_the_bound_decides(bound, verdict):
    assert verdicts(made_up({"batch": 1.0}, bound=bound)) == {"bound-batch": verdict}


def test_without_the_exact_distance_the_bound_is_inconclusive():
    measured = made_up({"batch": 1.0})
    measured.arrays["earth_mover.exact"][:] = np.nan
    (claim,) = claims.claims(measured)
    assert claim.verdict == "inconclusive"
    assert claim.reason == "no distance in all dimensions was measured: --exact measures it"


def test_unitization_is_compared_with_none_where_batch_is_missing():
    found = claims.claims(made_up({"none": 3.0, "unitize": 1.0}))
    assert [claim.verdict for claim in found] == ["supported"] * 3
    assert all("against none" in claim.sentence for claim in found)


def test_a_dead_arm_is_inconclusive_and_says_why():
    dead = {"batch": 2.3}
    found = claims.claims(made_up({"none": 1.0, "batch": 3.0, "unitize": 1.0}, losses=dead))
    assert len(found) == 10
    for claim in found:
        assert claim.verdict == "inconclusive"
        assert "batch does not train: its loss ends at 2.300" in claim.reason
