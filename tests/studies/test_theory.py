"""The theory study: its probe in 64 bits, its claims on known numbers, its figures and tables."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import synthetic
from conftest import tiny_model
from synthetic import CAPTION, N, S, U, column, decided

from bnjax import train
from bnjax.data import Batch
from bnjax.frame.arm import Arm
from bnjax.models import Model, norms
from bnjax.studies.theory import claims, figure, measure

LAYER = ("norm", "seed", "probe_step", "probed_layer")
CHANNEL = (*LAYER, "channel")
THEOREMS = ("theorem-4.1", "theorem-4.2", "theorem-4.4")
PROBED = SimpleNamespace(
    layers=("conv2",), channels=(1,), epsilon=0.0, input_norm=1.0, float64=True, probe_every=1,
    objective="cross_entropy", kernel_penalty=0.0,
)  # fmt: skip


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_the_probe_is_in_64_bits_even_where_training_knows_32_only(norm, batch, noise_dataset):
    with jax.enable_x64(False):
        module = tiny_model(norm).module
        exact = norms.batch_norm(epsilon=0.0)
        model = Model(module.clone(norm=exact) if norm == "batch" else module)
        images = jnp.asarray(np.asarray(batch.images), jnp.float32)
        own = Batch(images, jnp.asarray(np.asarray(batch.labels)))
        state = train.init_state(model, optax.sgd(0.1), jax.random.key(0), images)
        arm = Arm({"norm": norm}, 0, PROBED, model, noise_dataset, None)
        probe = measure.probes(arm)["theory"].measure
        shapes = jax.eval_shape(probe, state, own, None)
        row = probe(state, own, None)
    assert {leaf.dtype for leaf in jax.tree.leaves(shapes)} == {np.dtype("float64")}
    assert min(row.loss[0], row.gradient_squared[0], row.variance[0]) > 0
    if norm == "batch":
        assert np.abs(row.channel_curvature_residual) <= 1e-10
        assert row.lipschitz_residual <= 1e-10
        assert row.printed_residual > 1e-6
        assert abs(row.curvature) > 0
        assert row.scaled_gradient_squared > row.gradient_squared
        for left, right in (
            ("gradient_squared", "lipschitz_right"),
            ("channel_gradient_squared", "channel_lipschitz_right"),
            ("channel_curvature", "channel_curvature_right"),
            ("channel_worst", "channel_worst_right"),
        ):
            np.testing.assert_allclose(getattr(row, left), getattr(row, right), rtol=1e-9)
    else:
        assert np.isnan(row.lipschitz_residual).all()
        assert row.curvature > 0
        assert row.channel_curvature >= 0  # behind a ReLU network: a convex loss of a linear map


def made(rough=3.0, residual=1e-14, aligned=1.0, quadratic=1.0, seeds=1, variance=1.0, **options):
    """`none` is steeper than `batch` by a factor, at every step and loss."""
    loss = np.geomspace(1.5, 0.1, synthetic.PROBES)[:, None]
    shares = np.resize(aligned, seeds)[:, None, None]
    layers = {
        "loss": loss,
        "gradient_squared": column([rough, 1.0], 3),
        "curvature": column([rough, 1.0], 3),
        "variance": column([variance, 1.0], 3),
        "lipschitz_residual": residual,
        "printed_share": 0.0,
        "printed_residual": 0.5,
        "scaled_gradient_squared": 2.0,
        "aligned_share": shares,
    }
    channels = {
        "channel_curvature_residual": -residual,
        "channel_worst_residual": residual,
        "channel_alignment": 2 * shares[..., None] - 1,
        "channel_quadratic": quadratic,
    }
    run = synthetic.run(
        {
            f"theory_{name}": (axes, values)
            for axes, fields in ((LAYER, layers), (CHANNEL, channels))
            for name, values in fields.items()
        }
        | {"test_loss": (("norm", "seed", "test_step"), 1.0)},
        seeds=seeds,
        options={**CAPTION, "float64": True, "epsilon": 0.0, **options},
        probed_layer=["conv1"],
        channel=range(4),
        test_step=(0, 40),
    )
    run.facts["dataset"] = "made up"
    return run


def unmeasured(name, place, *, whole=False):
    """A run without some values of a field, or of all fields, of one probed step."""
    run = made()
    names = [each for each in run.data if each.startswith("theory_")] if whole else [name]
    for each in names:
        run.data[each][{"norm": 1, "probe_step": place}] = np.nan
    if not whole:
        run.data[name][{"norm": 1, "probe_step": place, "channel": 0}] = 1e-14
    return run


@pytest.mark.parametrize(
    ("names", "run", "verdict"),
    [
        (THEOREMS, made(), S),
        (THEOREMS, made(residual=1e-6), N),
        (THEOREMS, made(residual=1e-6, float64=False), S),
        (THEOREMS, made(residual=1e-6, epsilon=1e-5), U),
        (THEOREMS, made(residual=1e-14, epsilon=1e-5), S),
        (THEOREMS, made(residual=np.nan), U),
        (THEOREMS, unmeasured("", slice(4, None), whole=True), S),
        (("theorem-4.2",), unmeasured("theory_channel_curvature_residual", 0), U),
        (("printed-4.1",), made(), N),
        (("convex", "aligned", "assumptions"), made(), S),
        (("convex",), made(aligned=0.4), S),
        (("convex",), made(quadratic=0.0), S),
        (("aligned", "assumptions"), made(aligned=0.4), N),
        (("aligned",), made(aligned=0.96), S),
        (("aligned",), made(aligned=[0.96, 0.94], seeds=2), U),
        (("convex", "assumptions"), made(quadratic=-1.0), N),
        (("aligned",), made(quadratic=-1.0), S),
        (("convex",), unmeasured("", slice(4, None), whole=True), S),
        (("lipschitz-conv1", "curvature-conv1"), made(rough=3.0), S),
        (("lipschitz-conv1", "curvature-conv1"), made(rough=1.05), U),
        (("lipschitz-conv1", "curvature-conv1"), made(rough=0.3), N),
        (("lipschitz-conv1", "curvature-conv1"), made(rough=-3.0), U),
    ],
)
def test_the_numbers_decide(names, run, verdict):
    found = decided(run, claims.CLAIMS)
    assert [found[name].verdict for name in names] == [verdict] * len(names)


def test_a_dead_or_diverged_network_decides_nothing_but_the_equalities():
    for spoil in (synthetic.dead, synthetic.diverged):
        found = decided(spoil(made(), "batch"), claims.CLAIMS)
        assert {found.pop(name).verdict for name in THEOREMS} == {S}
        assert {verdict.verdict for verdict in found.values()} == {U}


def ahead(run):
    """The run with BatchNorm a probe ahead in loss, and ‖v‖² that doubles from probe to probe."""
    loss = run.data["theory_loss"]
    loss[1, :, :-1] = 1.02 * loss[0, :, 1:].values
    loss[1, :, -1] *= 0.5  # of no step without BatchNorm
    run.data["theory_gradient_squared"] *= column(2.0 ** np.arange(synthetic.PROBES), 1)
    return run


def test_terms_are_compared_at_equal_probed_loss():
    found = decided(ahead(made(rough=3.0)), claims.CLAIMS)["lipschitz-conv1"].numbers[:2]
    assert [number.estimate for number in found] == pytest.approx([3.0, 6.0])


def test_two_negative_terms_have_no_ratio():
    run = made()
    run.data["theory_curvature"] *= -1
    assert decided(run, claims.CLAIMS)["curvature-conv1"].verdict == U


def test_terms_in_units_of_the_layer_s_own_deviation_are_shown():
    found = decided(made(rough=3.0, variance=0.1), claims.CLAIMS)
    for name, ratio in (("lipschitz-conv1", 0.3), ("curvature-conv1", 0.03)):
        own = [number for number in found[name].numbers if "own deviation" in number.name]
        assert [number.threshold for number in own] == [None, None]
        assert [number.estimate for number in own] == pytest.approx([ratio, ratio])


def only(run, norm):
    """The run with one arm."""
    return type(run)(run.data.sel(norm=[norm]), run.options, run.facts)


def test_claims_are_those_that_the_arms_allow():
    of_batchnorm = [*THEOREMS, "printed-4.1", "convex", "aligned", "assumptions"]
    both = [*of_batchnorm, "lipschitz-conv1", "curvature-conv1"]
    assert [*decided(made(), claims.CLAIMS)] == both
    assert [*decided(only(made(), "batch"), claims.CLAIMS)] == of_batchnorm
    assert not decided(only(made(), "none"), claims.CLAIMS)


def panels(run):
    """Series of the drawings of a run, by the drawing's name and the panel's title."""
    found = [*figure.theory(run, {}), figure.theory_comparison(run, {})]
    for drawing in found:
        drawing.finish()
    return {
        (drawing.name, panel.title): {series.name: series.columns for series in panel.table}
        for drawing in found
        for panel in drawing.panels
    }


def test_figures_show_the_worst_residual_shares_and_ratios_at_equal_loss():
    run = ahead(made(aligned=[0.2, 0.6], seeds=2))
    run.data["theory_scaled_gradient_squared"][:] = 4 * run.data["theory_gradient_squared"]
    run.data["theory_channel_quadratic"][:] = [-1.0, 0.0, 1.0, 1.0]
    run.data["theory_channel_quadratic"][:, :, 5, 0, 0] = np.nan
    run.data["theory_channel_curvature_residual"][1, 1, 2, 0, 1] = -1e-3
    run.data["theory_printed_residual"][1, 1, 2] = 0.7
    run.data["theory_curvature"][:, 0, 3:5] = -1.0  # of both networks: no ratio
    found = panels(run)
    residuals = found["theory", "a Residuals"]
    np.testing.assert_array_equal(residuals["4.2"]["y"], [*[1e-14] * 2, 1e-3, *[1e-14] * 5])
    printed = residuals["4.1 as printed, 1/√m"]["y"]
    np.testing.assert_array_equal(printed, [*[0.5] * 2, 0.7, *[0.5] * 5])
    assert residuals["tolerance"]["y"] == [1e-10]
    assumptions = found["theory", "b Assumptions of 4.2"]
    np.testing.assert_allclose(assumptions["⟨ŷ, g⟩ > 0, conv1"]["y"], np.full(8, 0.4))
    convex = [*[0.75] * 5, np.nan, *[0.75] * 2]
    np.testing.assert_array_equal(assumptions["vᵀHv ≥ 0, conv1"]["y"], convex)
    removed = found["theory", "c Taken away by the projections"]["conv1"]
    np.testing.assert_array_equal(removed["y"], np.full(8, 0.75))
    term = found["theory_comparison", "conv1: ‖v‖²"]["no normalisation"]
    np.testing.assert_array_equal(term["y"], 3.0 * 2.0 ** np.arange(8))
    ratios = found["theory_comparison", "none / BatchNorm at equal loss"]
    losses = run["theory_loss"].sel(norm="batch", seed=0).values[6::-1, 0]
    np.testing.assert_array_equal(ratios["lipschitz, conv1"]["x"], np.repeat(losses, 2))
    np.testing.assert_allclose(ratios["lipschitz, conv1"]["y"], np.full(14, 6.0))
    # Of steps 2 to 4 of the first seed one term or both are negative.
    assert np.isnan(ratios["curvature, conv1"]["y"]).sum() == 3


def test_one_network_alone_has_no_ratio():
    found = panels(only(made(), "none"))
    assert {name for name, _ in found} == {"theory_comparison"}
    assert not found["theory_comparison", "none / BatchNorm at equal loss"]


def test_tables_have_a_row_for_whatever_was_measured(tmp_path):
    run = unmeasured("", slice(4, None), whole=True)
    run.data["theory_lipschitz_residual"][0] = np.nan
    layers, channels = figure.tables(run, {})
    assert (layers.name, channels.name) == ("theory_layers", "theory_channels")
    assert len(layers.content) == 8 + 4
    assert len(channels.content) == 4 * len(layers.content)
    layers.save(tmp_path)
    head, first, *_ = (tmp_path / "theory_layers.csv").read_text(encoding="utf-8").splitlines()
    row = dict(zip(head.split(","), first.split(","), strict=True))
    assert [row[key] for key in (*LAYER, "gradient_squared", "lipschitz_residual")] == [
        "none", "0", "0", "conv1", "3.0", "",
    ]  # fmt: skip
    assert {row["channel"] for row in channels.content} == {*range(4)}
