"""The earth mover distance against scipy and theory; the study's claims and figure."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.optimize
import scipy.spatial
import scipy.stats
import synthetic
from synthetic import CAPTION, N, S, U, column, decided

from bnjax import train
from bnjax.arithmetic import earth_mover as distances
from bnjax.errors import UsageError
from bnjax.frame.arm import Arm
from bnjax.probes.earth_mover import Affine, earth_mover, shape_of
from bnjax.studies.earth_mover import claims, figure
from bnjax.studies.earth_mover.measure import probes

KEY = jax.random.key(0)
MEASURED = {"slices": 4, "pixels": 16, "exact": True, "probe_every": 1, "optimizer": "adam"}
MEASURED |= {"lr": 0.1, "weight_decay": 0.0, "lr_drops": (), "decays": None, "steps": 9}
SHAPES = [(1, 1), (2, 3), (16, 5), (33, 40), (128, 2)]


def clouds(seed, samples, dims):
    """Two clouds of samples that look nothing alike: skewed, of unequal place and width."""
    generator = np.random.default_rng(seed)
    a = generator.gamma(0.5, 2, (samples, dims)) * generator.lognormal(size=dims)
    b = generator.normal(size=(samples, dims)) * generator.lognormal(size=dims)
    return jnp.asarray(a), jnp.asarray(b + generator.normal(size=dims) * generator.choice([0, 3]))


@pytest.mark.parametrize(("samples", "dims"), SHAPES)
def test_distances_agree_with_scipys(samples, dims):
    a, b = clouds(1, samples, dims)
    each = [scipy.stats.wasserstein_distance(x, y) for x, y in zip(a.T, b.T, strict=True)]
    np.testing.assert_allclose(distances.per_channel(a, b), each, rtol=1e-12)
    costs = scipy.spatial.distance.cdist(a, b)
    best = costs[scipy.optimize.linear_sum_assignment(costs)].mean()
    np.testing.assert_allclose(distances.exact(a, b), best, rtol=1e-9)
    np.testing.assert_allclose(jax.jit(distances.exact)(a, b), best, rtol=1e-9)
    np.testing.assert_allclose(distances.paired(a, b), costs.diagonal().mean(), rtol=1e-12)
    assert np.isnan(distances.exact(a.at[0, 0].set(jnp.inf), b))


def test_the_exact_distance_of_a_tiny_step_does_not_cancel():
    a = 100 + jax.random.normal(KEY, (20, 300), jnp.float32)
    step = jnp.float32(1e-3) * jax.random.normal(jax.random.key(1), (20, 300), jnp.float32)
    expected = np.linalg.norm(np.asarray(a + step, np.float64) - np.asarray(a, np.float64), axis=1)
    np.testing.assert_allclose(distances.exact(a, a + step), expected.mean(), rtol=1e-5)


@jax.jit
def measured_all(a, b):
    """Everything that stands in an inequality, in one program."""
    slices = distances.sliced(KEY, a, b, directions=400)
    measures = ("per_channel", "channel_bounds", "bounds", "exact", "paired")
    return *(getattr(distances, name)(a, b) for name in measures), slices


@pytest.mark.parametrize(("samples", "dims"), SHAPES)
def test_every_bound_holds(samples, dims):
    factor = distances.slice_factor(dims)
    for seed in range(8):
        a, b = (np.asarray(x) for x in clouds(seed, samples, dims))
        each, channel, full, exact, paired, slices = jax.device_get(measured_all(a, b))
        shift, spread = np.linalg.norm(a.mean(0) - b.mean(0)), a.var(axis=0) + b.var(axis=0)
        np.testing.assert_allclose(full.lower, shift, rtol=1e-9)
        np.testing.assert_allclose(full.upper, np.sqrt(shift**2 + spread.sum()), rtol=1e-9)
        # In expectation over directions; the estimate may exceed it by its error.
        chance = 4 * slices.error
        for low, high in (
            (channel.lower, each),
            (each, channel.upper),
            (full.lower, exact),
            (exact, full.upper),
            (exact, paired),
            (slices.distance, exact),
            (factor * full.lower, slices.distance + chance),
            (slices.distance, factor * exact + chance),
        ):
            assert (low <= high * (1 + 1e-9) + 1e-12).all()


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


@pytest.mark.parametrize("dims", [1, 2, 3, 10, 1000])
def test_the_slice_factor_is_the_mean_of_a_coordinate_of_the_sphere(dims):
    drawn = np.random.default_rng(7).normal(size=(20_000, dims))
    coordinate = np.abs(drawn[:, 0]) / np.linalg.norm(drawn, axis=1)
    error = scipy.stats.sem(coordinate)
    assert abs(distances.slice_factor(dims) - coordinate.mean()) <= 4 * error + 1e-12


def normalised(generator, examples, sites, channels, scale, bias):
    """Outputs of a BatchNorm with γ and β whose statistics pool examples and sites."""
    drawn = generator.gamma(0.3, 1, (examples, sites, channels)) + generator.normal(
        size=(1, sites, channels)
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
    # Every example alike, one channel, two pixels at ±1; the step changes γ's sign.
    a = jnp.array([[1.0, -1.0]] * 4)
    one, zero = jnp.ones(1), jnp.zeros(1)
    exact = distances.exact(a, -a)
    assert exact > np.sqrt(2 * 2)  # √(2D) max|γ|
    np.testing.assert_allclose(exact, distances.normalised_bound(one, zero, -one, zero, sites=2))


def test_moments_of_a_constant_channel_are_zero():
    _, skewness, kurtosis = shape_of(jnp.ones((5, 2)))
    assert skewness.tolist() == kurtosis.tolist() == [0, 0]


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
    vectors = [x.reshape(6, 24) for x in (before, after)]
    slices = distances.sliced(jax.random.split(KEY)[0], *map(jnp.asarray, vectors), directions=64)
    channels = [scipy.stats.wasserstein_distance(*(x[:, j] for x in rows)) for j in range(4)]
    costs = scipy.spatial.distance.cdist(*vectors)
    mean, variance, skewness, kurtosis = (
        np.abs(moment(rows[1], axis=0) - moment(rows[0], axis=0))
        for moment in (np.mean, np.var, scipy.stats.skew, scipy.stats.kurtosis)
    )
    shift = np.linalg.norm(vectors[0].mean(axis=0) - vectors[1].mean(axis=0))
    expected = {
        "dimension": 24,
        "deviation": np.sqrt(vectors[0].var(axis=0).sum()),
        "sliced": slices.distance,
        "sliced_error": slices.error,
        "scaled": slices.distance / distances.slice_factor(24),
        "exact": costs[scipy.optimize.linear_sum_assignment(costs)].mean(),
        "paired": costs.diagonal().mean(),
        "lower": shift,
        "upper": np.sqrt(shift**2 + sum(x.var(axis=0).sum() for x in vectors)),
        "norm_bound": distances.normalised_bound(*affine, sites=6),
        "channel": np.mean(channels),
        "channel_percentiles": [min(channels), max(channels)],
        "channel_deviation": rows[0].std(axis=0).mean(),
        "mean_change": mean.mean(),
        "channel_lower": mean.mean(),
        "channel_upper": np.sqrt(mean**2 + rows[0].var(axis=0) + rows[1].var(axis=0)).mean(),
        "variance_change": variance.mean(),
        "skewness_change": skewness.mean(),
        "kurtosis_change": kurtosis.mean(),
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
    with pytest.raises(UsageError, match=f"{option}=0 must be a whole number, 1 or more"):
        earth_mover(KEY, jnp.ones((2, 2)), jnp.ones((2, 2)), **{option: 0})


def test_the_step_that_is_measured_is_the_optimisers_own(
    problem, batch, noise_dataset, standard_promotion
):
    model, params, batch_stats, loss = problem
    normalises = "norm" in params["conv2"]
    given = {**MEASURED, "layers": ("conv2", "output")}
    arm = Arm({"norm": "batch" if normalises else "none"}, 0, SimpleNamespace(**given), model,
              noise_dataset, None)  # fmt: skip
    gradient, optimizer = jax.grad(loss)(params), arm.optimizer
    # An optimiser that has seen another gradient already: its update is not −lr times this one.
    earlier = jax.tree.map(jnp.ones_like, params)
    opt_state = optimizer.update(earlier, optimizer.init(params), params)[1]
    state = train.TrainState(jnp.full((), 3, jnp.int32), params, batch_stats, opt_state)
    computed = train.Gradient(loss(params), jnp.zeros(()), gradient, batch_stats)
    found = probes(arm)["earth_mover"].measure(state, batch, computed)
    updates, _ = optimizer.update(gradient, opt_state, params)
    moved = optax.apply_updates(params, updates)
    outputs = [model.preactivations(point, batch_stats, batch.images) for point in (params, moved)]
    for index, layer in enumerate(given["layers"]):
        pair = [own[layer] for own in outputs]
        vectors = [x.reshape(16, -1) for x in pair]
        np.testing.assert_allclose(found.exact[index], distances.exact(*vectors), rtol=1e-9)
        assert found.exact[index] > 0
        # Each step and each layer has directions of its own.
        key = jax.random.fold_in(jax.random.fold_in(arm.key("probe"), 3), index)
        sliced = earth_mover(key, *pair, directions=4, exact=False).sliced
        np.testing.assert_allclose(found.sliced[index], sliced, rtol=1e-6)
    norms = [(point["conv2"]["norm"]["scale"], point["conv2"]["norm"]["bias"])
             for point in (params, moved) if normalises]  # fmt: skip
    if normalises:
        sites = outputs[0]["conv2"][0, ..., 0].size
        bound = distances.normalised_bound(*norms[0], *norms[1], sites=sites)
        np.testing.assert_allclose(found.norm_bound[0], bound, rtol=1e-9)
    assert np.isfinite(found.norm_bound).tolist() == [normalises, False]


INNER = ("norm", "seed", "probe_step", "shown_layer")
NO, BN = "no normalisation", "BatchNorm"
DIMENSIONS = np.array([10.0, 100.0, 1000.0])


def shifted(factors, *, seeds=1, slope=0.0, bound=100.0, exact=1.0, dims=DIMENSIONS, options=None,
            **changed):  # fmt: skip
    """Arms of given shifts, at every step and loss; of `batch` times D^slope in a layer of D."""
    strength = column([*factors.values()], 3) * column(1 + 0.01 * np.arange(seeds), 2)
    growth = (DIMENSIONS / 100) ** slope
    strength = strength * np.where(column([norm == "batch" for norm in factors], 3), growth, 1)
    fields = {
        **dict.fromkeys(("scaled", "channel", "skewness_change", "kurtosis_change"), strength),
        **{"deviation": 0.5, "channel_deviation": 0.25, "lower": 0.1, "upper": 9.0},
        **{"dimension": dims, "norm_bound": bound, "exact": exact},
        **changed,
    }
    variables = {f"earth_mover_{name}": (INNER, values) for name, values in fields.items()}
    quantiles = ((*INNER, "percentile"), [0.25, 0.5, 1.0])
    return synthetic.run(
        {**variables, "earth_mover_channel_percentiles": quantiles},
        norms=tuple(factors),
        seeds=seeds,
        shown_layer=["conv1", "conv2", "conv3"],
        percentile=[15.0, 50.0, 85.0],
        options=options,
    )


def verdicts(made):
    return {name: own.verdict for name, own in decided(made, claims.CLAIMS).items()}


def test_shifts_are_measured_in_deviations_and_moments_as_they_are():
    made = shifted({"none": 3.0}, channel=2.0, skewness_change=5.0, kurtosis_change=7.0)
    found = {
        name: float(quantity.of(made).median())
        for name, quantity in {**claims.SHIFTS, **claims.MOMENTS}.items()
    }
    expected = {"layer": 6.0, "layer-absolute": 3.0, "unit": 8.0, "skewness": 5.0, "kurtosis": 7.0}
    assert found == expected


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize(("factor", "same", "less"), [(3.0, S, S), (1.0, S, U), (1 / 3, N, N)])
def test_the_ratio_of_shifts_decides(factor, same, less, seeds):
    found = verdicts(shifted({"none": 1.0, "batch": factor, "unitize": 1.0}, seeds=seeds))
    assert {name: found[name] for name in found if name[:4] in ("same", "less")} == {
        **{f"same-{name}-batch": same for name in (*claims.SHIFTS, *claims.MOMENTS)},
        **{f"less-{name}-unitize": less for name in claims.SHIFTS},
    }


def test_other_normalisers_are_compared_with_none_but_not_by_moments():
    made = shifted({"none": 1.0, "layer": 2.0}, seeds=2)
    made.data["earth_mover_scaled"].loc[{"norm": "layer", "seed": 1}] *= 4
    found = decided(made, claims.CLAIMS)
    assert list(found) == [f"same-{name}-layer" for name in claims.SHIFTS]
    # The geometric mean of 2 and 8.
    assert found["same-layer-layer"].measured.endswith("conv1 4, conv2 4, conv3 4")


@pytest.mark.parametrize(
    ("changes", "verdict", "words"),
    [
        ({"slope": 0.5}, S, "The slope is 0.5 (one seed)"),
        ({"slope": 0.5, "seeds": 2}, S, "The slope is 0.5 [0.5, 0.5] (2 seeds)"),
        ({"slope": -0.5}, N, "The slope is -0.5"),
        ({"slope": 0.05}, U, "The slope is 0.05"),
        ({"slope": 0.5, "dims": 64.0}, U, "All shown layers have the dimension 64"),
    ],
)
def test_the_slope_against_the_dimension_decides(changes, verdict, words):
    made = shifted({"none": 1.0, "batch": 1.0}, **changes)
    found = decided(made, claims.CLAIMS)["dimension-batch"]
    assert found.verdict == verdict
    assert found.measured.startswith(words)


@pytest.mark.parametrize(
    ("changes", "verdict", "reason"),
    [
        ({"bound": 50.0}, S, ""),
        ({"bound": 50.0, "seeds": 2}, S, ""),
        ({"bound": 1.5}, N, "within a factor of 2"),
        ({"bound": 5.0}, U, "between 2 and 10"),
        ({"bound": 10.5}, U, "between 2 and 10"),  # one seed: a factor of 1.1 either way
        ({"bound": column([1000.0, *[5.0] * 7], 1)}, U, "between 2 and 10"),  # median over steps
        ({"bound": [50.0, 50.0, 1.5]}, N, "within a factor of 2"),
        ({"bound": [50.0, 50.0, np.nan]}, U, "no BatchNorm bounds conv3"),
        ({"exact": np.nan}, U, "no distance in all dimensions was measured: --exact measures it"),
    ],
)
def test_the_distance_to_the_bound_decides(changes, verdict, reason):
    (found,) = decided(shifted({"batch": 1.0}, **changes), claims.CLAIMS).values()
    assert (found.identifier, found.verdict) == ("bound-batch", verdict)
    assert "nan" not in found.measured
    assert found.reason.startswith(reason)


def test_unitization_is_compared_with_none_where_batch_is_missing():
    found = decided(shifted({"none": 3.0, "unitize": 1.0}), claims.CLAIMS)
    assert [own.verdict for own in found.values()] == [S] * 3
    assert all("against no normalisation" in own.sentence for own in found.values())


@pytest.mark.parametrize(("dead", "reason"), [("batch", BN), ("none", NO)])
def test_a_dead_arm_is_inconclusive_says_why_and_has_no_ratio(dead, reason):
    made = synthetic.dead(shifted({"none": 1.0, "batch": 3.0, "unitize": 1.0}), dead)
    found = decided(made, claims.CLAIMS)
    assert len(found) == 10
    assert "Ratio" not in found["same-layer-batch"].measured
    assert ("conv1 3," in found["less-layer-unitize"].measured) == (dead == "none")
    for name, own in found.items():
        if dead == "batch" or not name.startswith(("less", "bound")):
            assert own.verdict == U
            assert f"{reason} does not train".lower() in own.reason.lower()


@pytest.mark.parametrize("exact", [True, False])
def test_the_figure_has_distances_over_deviations_and_bounds(exact):
    factors = {"none": 1.0, "batch": 3.0}
    shown = {**CAPTION, "exact": exact, "slices": 4}
    made = shifted(factors, exact=7.0, kurtosis_change=4.0, options=shown)
    made.facts["dataset"] = "made up"
    drawing = figure.earth_mover(made, {})
    values = {
        (row[0][0], row[1]): [float(cell) for cell in row[4:7] if cell]
        for row in drawing.table()
        if "conv2, D = 100" in row[0]
    }
    assert values == {
        **{("a", f"{arm}, {side} bound by moments"): [number] for arm in (NO, BN)
           for side, number in (("lower", 0.1), ("upper", 9.0))},
        **{("a", f"{arm}, bound by γ and β"): [100.0] for arm in (NO, BN)},
        **{("c", f"{arm}, 15th to 85th percentile"): [1.0, 4.0] for arm in (NO, BN)},
        **{("c", arm): [2.0] for arm in (NO, BN)},
        **{("a", arm): [7.0 if exact else shift] for arm, shift in ((NO, 1.0), (BN, 3.0))},
        **{("b", arm): [shift / 0.5] for arm, shift in ((NO, 1.0), (BN, 3.0))},
        **{("d", arm): [shift] for arm, shift in ((NO, 1.0), (BN, 3.0))},
        **{("d", f"{arm}, kurtosis"): [4.0] for arm in (NO, BN)},
    }  # fmt: skip
