"""What the landscape, the shift and the spectrum measure along training."""

import dataclasses
import itertools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from toy_runs import figure

import bnjax
from bnjax import probes, train
from bnjax.arithmetic import trees
from bnjax.arithmetic.layers import describe
from bnjax.data import Batch
from bnjax.frame import results
from bnjax.frame.arm import build_model
from bnjax.studies import landscape, spectrum
from bnjax.studies.landscape import measure as line
from bnjax.studies.shift.measure import make_shift
from bnjax.train import Gradient, TrainState, optimizers

KEY = jax.random.key(7)


STATE = TrainState(jnp.int32(0), {"w": jnp.ones(2)}, {}, ())
BATCH = Batch(jnp.zeros((1, 1, 1, 1)), jnp.zeros(1, jnp.int32))
COMPUTED = Gradient(jnp.array(1.0), jnp.array(1.0), {"w": jnp.ones(2)}, {})
BOTH = ("gradient", "random")


def square(state, batch):
    return lambda params: jnp.sum(params["w"] ** 2)


def test_arms_that_differ_in_rate_share_one_compiled_line():
    def program(rate):
        probe = probes.Probe(lambda w: jnp.sum(w**2), rate * np.array([0.5, 1.0]))
        given = {"direction": None, "random_key": None, "centre": None}
        compiled = probe._compiled_line
        return compiled.lower(jnp.ones(2), (), probe.step_sizes, True, True, **given).as_text()

    assert program(0.1) == program(0.4)


def test_the_shapes_of_a_line_are_those_that_it_has():
    measure = line.make_line(square, np.array([0.5, 1.0, 2.0]), KEY, directions=BOTH)
    shapes = line.line_shapes(2, 3)(STATE, BATCH, COMPUTED)
    for found in (measure(STATE, BATCH, COMPUTED), jax.eval_shape(measure, STATE, BATCH, COMPUTED)):
        assert [leaf.shape for leaf in found] == [leaf.shape for leaf in shapes]


def test_limits_are_measured_at_some_steps_only():
    options = {"directions": BOTH, "limits_every": 4}
    called = line.make_line(square, np.array([0.5, 1.0]), KEY, **options)
    for step, measure in itertools.product((2, 4), (called, jax.jit(called))):
        found = measure(STATE._replace(step=jnp.int32(step)), BATCH, COMPUTED)
        assert np.isfinite(found.smoothness_limit).all() == (step == 4)
        assert np.isnan(found.curvature_limit).any() == (step != 4)
        assert np.isfinite(found.smoothness).all()
    never = line.make_line(square, np.array([0.5, 1.0]), KEY, limits_every=0)
    for measure in (never, jax.jit(never)):
        found = measure(STATE, BATCH, COMPUTED)
        assert np.isnan(found.smoothness_limit).all()
        assert np.isnan(found.rounding_noise).all()
        assert np.isfinite(found.smoothness).all()


def test_rounding_is_measured_at_some_steps_even_where_limits_are_not():
    measure = line.make_line(square, np.array([0.5]), KEY, limits_every=0, rounding_every=3)
    for step in (2, 3):
        found = measure(STATE._replace(step=jnp.int32(step)), BATCH, COMPUTED)
        assert np.isfinite(found.rounding_noise).all() == (step == 3)
        assert np.isnan(found.smoothness_limit).all()


def test_the_directions_of_a_step_depend_on_it_and_the_key_alone():
    def lines(step, key):
        measure = line.make_line(square, np.array([0.5]), key, directions=BOTH)
        found = measure(STATE._replace(step=jnp.int32(step)), BATCH, COMPUTED)
        return found.losses[:, 0].tolist()

    assert lines(1, KEY) == lines(1, KEY)
    assert lines(1, KEY)[0] == lines(2, KEY)[0]
    assert lines(1, KEY)[1] != lines(2, KEY)[1]
    assert lines(1, KEY)[1] != lines(1, jax.random.key(8))[1]


def test_the_papers_step_sizes_are_the_papers():
    paper = landscape.STUDY.preset("paper")
    sizes = line.step_sizes(SimpleNamespace(**{**vars(paper), "lr": 0.1}))
    np.testing.assert_allclose(sizes, [0.05, 0.1, 0.2, 0.4], rtol=1e-6)


def test_the_centre_of_the_line_is_the_loss_of_training(toy, tmp_path):
    call = ["--steps", "4", "--batch-size", "16", "--probe-every", "2", "--norms", "batch"]
    study = dataclasses.replace(landscape.STUDY, parts={"CLAIMS": (), "FIGURES": (figure,)})
    more = ["--directions", "gradient", "random", "--out", str(tmp_path)]
    run = results.read(bnjax.start(study, *call, *more))
    trained = run["train_loss"].sel(step=run["probe_step"].values).values
    for direction in ("gradient", "random"):
        centre = run["line_loss"].sel(direction=direction).values
        np.testing.assert_allclose(centre, trained, rtol=1e-5)


@pytest.mark.parametrize("probed", ["highest", "bfloat16"])
def test_training_in_bfloat16_is_probed_as_stated(toy, tmp_path, probed):
    call = ["--steps", "4", "--batch-size", "16", "--probe-every", "2", "--norms", "batch"]
    study = dataclasses.replace(landscape.STUDY, parts={"CLAIMS": (), "FIGURES": (figure,)})
    more = ["--precision", "bfloat16", "--probe-precision", probed, "--out", str(tmp_path)]
    run = results.read(bnjax.start(study, *call, *more))
    trained = run["train_loss"].sel(step=run["probe_step"].values).values.ravel()
    centre = run["line_loss"].values.ravel()
    assert run["line_loss"].dtype == np.float32
    apart = np.abs(centre / trained - 1)
    assert (apart < 0.02).all()
    assert (apart > 1e-5).all() == (probed == "highest")
    noise = (run["line_rounding_noise"] / run["line_gradient_norm"]).values.ravel()
    assert (np.nanmax(noise) > 1e-3) == (probed == "bfloat16")
    if probed == "bfloat16":
        np.testing.assert_array_equal(centre, trained)


@pytest.mark.parametrize("name", ["momentum", "adam"])
def test_the_layers_below_take_the_optimisers_actual_update(
    problem, batch, name, standard_promotion
):
    _, params, batch_stats, loss = problem
    optimizer = optimizers.by_name(name, 0.1)
    gradient = jax.grad(loss)(params)
    # An optimiser that has seen another gradient already: its update is not −lr times this one.
    earlier = jax.tree.map(jnp.ones_like, params)
    opt_state = optimizer.update(earlier, optimizer.init(params), params)[1]
    state = train.TrainState(jnp.zeros((), jnp.int32), params, batch_stats, opt_state)
    computed = train.Gradient(loss(params), jnp.zeros(()), gradient, batch_stats)
    measured = make_shift(lambda state, batch: loss, optimizer)(state, batch, computed)
    updates, _ = optimizer.update(gradient, opt_state, params)
    expected = probes.shift(loss, params, optax.apply_updates(params, updates))
    np.testing.assert_allclose(measured.distances, expected.distances, rtol=1e-9, atol=1e-12)
    assert (np.asarray(measured.distances)[1:] > 0).all()


def test_the_spectrum_depends_on_the_statistics_where_there_are_some(toy, tmp_path):
    study = dataclasses.replace(spectrum.STUDY, parts={"CLAIMS": (), "FIGURES": (figure,)})
    call = "--steps 3 --batch-size 16 --probe-every 2 --images 32 --chunk 16 --lanczos-steps 6"
    more = ["--vectors", "2", "--trace-vectors", "3", "--top", "3", "--out", str(tmp_path)]
    run = results.read(bnjax.start(study, *call.split(), *more))
    np.testing.assert_allclose(run["spectrum_weights"].sum("node"), 1, rtol=1e-5)
    largest = run["spectrum_largest"].sel(rank=1)
    differs = abs(largest.sel(statistics="batch") - largest.sel(statistics="running")) > 1e-3
    assert not differs.sel(norm="none").any()
    assert differs.sel(norm="batch").all()


def test_a_penalty_on_kernels_is_trained_and_probed_and_stays_out_of_the_recorded_loss(tmp_path):
    call = ["--preset", "toy", "--norms", "none", "--seeds", "1", "--probe-every", "1"]
    with jax.numpy_dtype_promotion("standard"):
        plain, penalised = (
            results.read(bnjax.start("landscape", *call, *more, "--out", str(tmp_path)))
            for more in ([], ["--kernel-penalty", "0.01"])
        )
    first = {"probe_step": 0, "step": 0, "direction": 0, "norm": 0, "seed": 0}
    losses = [run.data.isel(first) for run in (plain, penalised)]
    assert losses[0]["train_loss"] == losses[1]["train_loss"]
    assert losses[0]["line_loss"] == losses[0]["train_loss"]
    squares = float(losses[1]["line_loss"] - losses[1]["train_loss"]) / 0.01
    # Glorot: 2 · size / (fan in + fan out) of kernels 3072 × 10, 10 × 10 and 10 × 10, in the mean.
    assert squares == pytest.approx(2 * 3072 * 10 / 3082 + 3 * 10, rel=0.1)
    assert (plain["train_loss"] != penalised["train_loss"]).any()


def test_the_published_preset_begins_with_the_published_penalty():
    options = landscape.STUDY.preset("published")
    model = build_model(options, "none", 10)
    params = model.shapes((32, 32, 3))["params"]
    known = describe(params)
    kernels = [
        leaf.shape
        for name, leaf in trees.named_leaves(params).items()
        if known[name].kind == "kernel"
    ]
    # Glorot: the variance of each element is 2 / (fan in + fan out).
    squares = sum(
        np.prod(shape) * 2 / (np.prod(shape[:-2]) * (shape[-2] + shape[-1])) for shape in kernels
    )
    assert options.kernel_penalty * squares == pytest.approx(2.035, abs=0.001)
    assert (options.lr, options.batch_size, options.steps) == ((0.1,), 128, 15_000)
    np.testing.assert_allclose(line.relative_steps(options), [0.5, 1, 2, 4])
