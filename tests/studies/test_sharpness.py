"""Sharpness along training: measured against plain formulas, claims on known numbers, figure."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import synthetic
from synthetic import PROBES, N, S, U, column, decided, drawable, refusal

from bnjax import data, losses, models, probes, train
from bnjax.arithmetic import trees
from bnjax.models import norms
from bnjax.studies.sharpness import STUDY, claims, figure, measure
from bnjax.train import optimizers
from bnjax.train.step import make_loss

KEY = jax.random.key(3)


@pytest.fixture(scope="module", params=["none", "batch"])
def trained(request):
    """A tiny network, its state at step 2, its data and loss."""
    generator = np.random.default_rng(2)
    pixels = generator.integers(0, 256, (80, 4, 4, 1)).astype(np.uint8)
    labels = np.arange(80) % 10
    dataset = data.dataset.from_arrays(
        "noise", 10, (pixels[:64], labels[:64]), (pixels[64:], labels[64:])
    )
    norm, size = norms.by_name(request.param), {"depth": 3, "width": 0.06}
    glorot = {"initializer": "glorot_uniform", "activation": "relu"}
    model, pipeline = models.mlp(norm=norm, **size, **glorot), data.make_pipeline(dataset, 8)
    optimizer = optimizers.by_name("sgd", 0.05)
    images = pipeline.standardise(dataset.train.pixels[:8])
    with jax.numpy_dtype_promotion("standard"):
        state = train.init_state(model, optimizer, jax.random.key(0), images)
    state = state._replace(step=jnp.int32(2))
    return model, pipeline, dataset, state, make_loss(model, pipeline)


def test_batch_sharpness_is_that_of_batches_drawn_by_step_and_key(trained):
    _, pipeline, dataset, state, loss = trained
    call = measure.make_sharpness(loss, pipeline, count=3, precision="highest")
    found = call(dataset.train, KEY, state, None, None)
    own = jax.random.fold_in(KEY, 2)
    batches = measure.draw_batches(dataset.train, pipeline, own, 3)
    alone = jax.jit(lambda batch: probes.step_sharpness(loss(state, batch), state.params))
    for place in range(3):
        one = jax.tree.map(lambda leaf, place=place: leaf[place], batches)
        assert len({*map(bytes, np.asarray(one.images))}) == 8  # no image twice
        np.testing.assert_allclose(found.steps[place], alone(one), rtol=2e-4)
    np.testing.assert_allclose(found.mean, np.mean(found.steps), rtol=1e-6)
    other = call(dataset.train, KEY, state._replace(step=jnp.int32(3)), None, None)
    assert not np.allclose(found.steps, other.steps)


def test_the_spherical_sharpness_is_that_of_kernels_and_biases_before_a_norm(trained):
    model, pipeline, dataset, state, loss = trained
    arm = make_arm(model, dataset)
    layers = measure.layers_of(arm)
    assert [name for name, _ in layers] == ["dense1", "dense2"]
    assert all({*own} == {f"{name}/kernel", f"{name}/bias"} for name, own in layers)
    names = tuple(name for _, own in layers for name in own)
    options = {"count": 2, "lanczos_steps": 40, "precision": "highest"}
    call = measure.make_spherical(loss, pipeline, names, **options)
    found = call(dataset.train, KEY, state, None, None)
    batches = measure.draw_batches(dataset.train, pipeline, jax.random.fold_in(KEY, 2), 2)
    part, rest = trees.partition(state.params, names)
    flat, back = trees.ravel(part)

    def mean(flat):
        params = trees.combine(back(flat), rest)
        each = jax.lax.map(lambda batch: loss(state, batch)(params), batches)
        return each.mean()

    largest = np.linalg.eigvalsh(jax.jit(jax.hessian(mean))(flat))[-1]
    square = float(flat @ flat)
    np.testing.assert_allclose(found.sharpness, square * largest, rtol=1e-3)
    np.testing.assert_allclose(found.effective_rate, 0.05 / square, rtol=1e-5)
    assert (found.invariance < claims.INVARIANT) == bool(state.batch_stats)


def make_arm(model, dataset):
    from bnjax.frame.arm import Arm

    name = "batch" if "BatchNorm" in repr(model.module.norm.build) else "none"
    return Arm({"norm": name}, 0, None, model, dataset, None)


def test_the_loss_under_each_kind_of_statistics_is_the_mean_over_batches_of_the_test_set(trained):
    model, pipeline, dataset, state, _ = trained
    call = measure.make_gap(model, pipeline, losses.squared_error)
    images = dataset.train.pixels[:32]
    found = call(dataset.test, images, state, None, None)
    if not state.batch_stats:
        assert np.isnan(found.losses).all()
        assert np.isnan(found.accuracies).all()
        return
    tested = pipeline.standardise(dataset.test.pixels)
    known = pipeline.standardise(images).reshape(4, 8, 4, 4, 1)
    each = [
        losses.statistics_gap(
            model,
            state.params,
            state.batch_stats,
            data.Batch(tested[rows], dataset.test.labels[rows]),
            known,
            objective=losses.squared_error,
        )
        for rows in (slice(0, 8), slice(8, 16))
    ]
    expected = np.mean([one.losses for one in each], axis=0)
    np.testing.assert_allclose(found.losses, expected, rtol=1e-5)


@pytest.mark.parametrize("norm", ["batch", "layer", "group", "rms", "weight_norm", "none"])
def test_the_layers_of_the_perceptron_are_scale_invariant_with_each_normaliser(norm):
    """κ of kernel and bias together, biases that are not 0; a normaliser of kernels: of kernels."""
    options = dataclasses.replace(STUDY.preset("quick"), width=0.2)
    model = measure.build_model(options, norm, 10)
    assert model.module.activation == "relu"
    images = jax.random.normal(KEY, (16, 8, 8, 1))
    variables = model.init(jax.random.key(0), images)
    params = trees_with_biases(variables["params"])
    batch = data.Batch(images, jnp.arange(16, dtype=jnp.int32) % 10)
    loss = losses.on_batch(model, variables["batch_stats"], batch, objective=losses.squared_error)
    kinds = ("kernel",) if norms.by_name(norm).reparametrise else ("kernel", "bias")
    names = [f"dense{i}/{kind}" for i in (1, 2, 3) for kind in kinds]
    part, rest = trees.partition(params, names)
    slope = jax.jit(jax.grad(lambda part: loss(trees.combine(part, rest))))(part)
    kappa = abs(float(trees.cosine(part, slope)))
    assert kappa > 0.05 if norm == "none" else kappa < 1e-3


def trees_with_biases(params):
    leaves, structure = jax.tree.flatten(params)
    keys = jax.random.split(jax.random.key(9), len(leaves))
    moved = [
        x + 0.1 * jax.random.normal(k, x.shape, x.dtype) for k, x in zip(keys, leaves, strict=True)
    ]
    return jax.tree.unflatten(structure, moved)


def a_run(batch=(1.0, 1.0), critical=1.0, spherical=1.0, kappa=1e-4, rotation=1.0, gap=0.2,
          course=1.0, seeds=3, **options):  # fmt: skip
    """`none` and `batch` with given sharpness in units of their edges."""
    probe = ("norm", "seed", "probe_step")
    line = (*probe, "direction", "step_size")
    course = np.broadcast_to(course, (2, PROBES)).reshape(2, 1, PROBES)
    kinds = np.array([0.5, 0.9, 0.5, 0.5 + gap])
    values = np.where(column([0, 1], 3), kinds, np.nan)
    values = values * np.where(np.arange(4) == 1, np.linspace(1, 1.1, PROBES).reshape(-1, 1), 1)
    fields = {
        "sharpness_mean": (probe, 20 * column(batch, 2) * course),
        "sharpness_low": (probe, 19 * column(batch, 2)),
        "sharpness_high": (probe, 21 * column(batch, 2)),
        "update_learning_rate": (probe, 0.1),
        "update_critical_sharpness": (probe, 19.9 * critical),
        "update_edge": (probe, 19.9),
        "update_rotation_ratios": ((*probe, "hidden_layer"), [rotation, rotation, 3 * rotation]),
        "spherical_product": (probe, 2 * spherical),
        "spherical_invariance": (probe, column([0.5, kappa], 2)),
        "statistics_losses": ((*probe, "statistics"), values),
        "line_gradient_distances": (line, column(batch, 4) * [1.0, 2.0, 4.0, 8.0]),
        "line_gradient_norm": (line[:-1], 1.0),
        "line_smoothness": (line, column(batch, 4) * [20.0, 19.0, 18.0, 17.0]),
    }
    options = {"lr": 0.1, "weight_decay": 1e-3, **options}
    return synthetic.run(fields, seeds=seeds, options=options, hidden_layer=range(3),
                         batch=range(2), statistics=losses.STATISTICS, direction=["gradient"],
                         step_size=[0.05, 0.1, 0.2, 0.4])  # fmt: skip


@pytest.mark.parametrize(
    ("numbers", "identifier", "verdict"),
    [
        ({}, "edge-none", S),
        ({"batch": (1.0, 0.5)}, "edge-batch", N),
        ({"batch": (1.0, 0.74), "seeds": 1}, "edge-batch", U),
        ({"optimizer": "adam"}, "edge-none", U),
        ({"critical": 1.2}, "critical-batch", S),
        ({"critical": 1.4}, "critical-none", N),
        ({"spherical": 1.1}, "spherical-batch", S),
        ({"spherical": 3.0}, "spherical-batch", N),
        ({"rotation": 1.0}, "rotation-batch", S),
        ({"rotation": 0.5}, "rotation-batch", N),
        ({"rotation": 1.0, "optimizer": "adam"}, "rotation-batch", S),
        ({"batch": (1.0, 0.5)}, "lower-batch", S),
        ({"batch": (0.5, 1.0)}, "lower-batch", N),
        ({"batch": (1.0, 1.0)}, "lower-batch", U),
        ({"gap": 0.1}, "gap-batch", S),
        ({"gap": 0.9}, "gap-batch", N),
    ],
)  # fmt: skip
def test_numbers_decide(numbers, identifier, verdict):
    assert decided(a_run(**numbers), claims.CLAIMS)[identifier].verdict == verdict


LATE = np.where(np.arange(PROBES) < 5, 0.3, 1.0)


@pytest.mark.parametrize(
    ("course", "verdict", "steps"),
    [
        ([np.ones(PROBES), LATE], S, [1, 36]),  # the median of five is there two probes later
        ([LATE, np.ones(PROBES)], N, [36, 1]),
        ([LATE, LATE], U, [36, 36]),
        ([np.ones(PROBES), np.full(PROBES, 0.3)], S, [1, np.inf]),
    ],
)
def test_a_network_comes_to_the_edge_when_the_median_of_five_probes_does(course, verdict, steps):
    made = a_run(course=course)
    assert claims.arrival(made).isel(seed=0).values.tolist() == steps
    assert decided(made, claims.CLAIMS)["later-batch"].verdict == verdict


def test_only_scale_invariant_layers_that_decay_have_claims_on_spheres_and_rotation():
    found = {*decided(a_run(), claims.CLAIMS)}
    assert {"spherical-batch", "rotation-batch", "gap-batch"} < found
    assert not {"spherical-none", "rotation-none", "gap-none"} & found
    found = {*decided(a_run(kappa=0.02), claims.CLAIMS)}
    assert not {"spherical-batch", "rotation-batch"} & found
    found = {*decided(a_run(weight_decay=0.0), claims.CLAIMS)}
    assert "rotation-batch" not in found
    assert "spherical-batch" in found


def test_what_is_shown_beside_batch_sharpness_is_d_at_lr_and_the_largest_beta():
    found = decided(a_run(batch=(1.0, 0.5)), claims.CLAIMS)["lower-batch"]
    names = [number.name for number in found.numbers]
    assert names[:2] == ["at equal step", "at equal loss"]
    assert names[2:4] == ["D(lr)/‖g‖ at equal step", "D(lr)/‖g‖ at equal loss"]
    assert all(number.estimate == pytest.approx(2) for number in found.numbers)
    assert all(number.threshold is None for number in found.numbers[2:])


def test_the_figure_has_each_edge_in_its_units():
    made = drawable(a_run(batch=(1.0, 0.5), spherical=0.9, rotation=0.8))
    drawing = figure.sharpness(made, {})
    titles = [panel.title[0] for panel in drawing.panels]
    assert titles == [*"abcdefghi"]
    rows = synthetic.rows_of(drawing)

    def values(title, series, kind):
        ((_, found),) = [
            (key, own) for key, own in rows.items()
            if key[0].startswith(title) and key[1:] == (series, kind)
        ]  # fmt: skip
        return [row[1] for row in found]

    np.testing.assert_allclose(values("a ", "BatchNorm", "line"), 0.5)
    np.testing.assert_allclose(values("b ", "no normalisation", "line"), 1.0)
    np.testing.assert_allclose(values("c ", "BatchNorm", "line"), 0.9)
    np.testing.assert_allclose(values("d ", "no normalisation", "points"), 1.0)
    np.testing.assert_allclose(values("e ", "BatchNorm", "points"), 1.0)
    np.testing.assert_allclose(values("f ", "no normalisation", "points"), 1.0)
    np.testing.assert_allclose(values("g ", "BatchNorm", "line"), 0.8)
    np.testing.assert_allclose(values("h ", "h: recalibrated statistics", "line"), 0.2)
    assert not [key for key in rows if key[0].startswith("c ") and "no norm" in key[1]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--batches", "1"], "--batches 1: must be 2 or more: one has no interval"),
        (["--lanczos-steps", "0"], "--lanczos-steps 0: must be 1 or more"),
        (["--calibration-images", "100"], "must be a multiple of --batch-size 256"),
        (["--calibration-images", "1536"], "must be at most 1437"),
    ],
)
def test_impossible_options_are_refused(arguments, message, tmp_path, capsys):
    assert message in refusal(STUDY, arguments, tmp_path / "runs", capsys)
