"""The forensics: candidates, their networks, and their distance from the published numbers."""

from types import SimpleNamespace

import jax
import numpy as np
import pytest
import synthetic

from bnjax.arithmetic.trees import named_leaves
from bnjax.frame.published_curves import Curve
from bnjax.studies.forensics import STUDY, changes, claims, figure, measure, readings
from bnjax.studies.forensics.published import NUMBERS

SIZES = [0.05, 0.1]
AXES = ("candidate", "norm", "seed", "probe_step", "direction", "step_size")


def made_run(scales, norms=("none", "batch"), seeds=2):
    """Candidates, each with the published numbers times its scale; β at both step sizes alike."""
    numbers = np.array([NUMBERS[norm] for norm in norms])  # [norm, number]
    low, _, width, least, most, beta = numbers.T
    shape = [len(scales), len(norms), seeds, synthetic.PROBES, 1, len(SIZES)]

    def along(first, second):
        each = np.stack([first, second], axis=-1)[None, :, None, None, None]
        scaled = np.array(list(scales.values())).reshape(-1, *[1] * 5) * each
        return AXES, np.broadcast_to(scaled, shape)

    variables = {
        "line_losses": along(low, low + width),
        "line_gradient_distances": along(most, least),
        "line_smoothness": along(beta, beta / 2),
        "line_loss": (AXES[:-1], 5.0),
        "train_loss": (("candidate", "norm", "seed", "step"), 3.0),
        "train_finite": (("candidate", "norm", "seed", "step"), 1.0),
    }
    options = {**synthetic.CAPTION, "model": "vgg19"}
    made = synthetic.run(
        variables, norms=norms, seeds=seeds, options=options,
        candidate=list(scales), direction=["gradient"], step_size=SIZES,
    )  # fmt: skip
    made.facts["dataset"] = "made up"
    return made


def test_a_distance_is_the_typical_factor_whichever_way_numbers_are_off():
    run = made_run({"equal": 1.0, "twice": 2.0, "half": 0.5, "dead": 0.0})
    by_norm, over_all = claims.distances(run)
    for name, factor in (("equal", 1), ("twice", 2), ("half", 2), ("dead", np.inf)):
        # Upper edge and width of a band are both scaled; digits of the table are four.
        np.testing.assert_allclose(by_norm.sel(candidate=name), factor, rtol=1e-3)
        np.testing.assert_allclose(over_all.sel(candidate=name), factor, rtol=1e-3)
    run["line_losses"][{"norm": 1}] = np.nan
    by_norm, over_all = claims.distances(run)
    assert np.isinf(by_norm.sel(norm="batch")).all()
    assert np.isinf(over_all).all()
    assert not np.isinf(by_norm.sel(norm="none", candidate="equal")).any()


def test_one_number_off_counts_by_its_share():
    run = made_run({"one": 1.0}, norms=("none",))
    run["line_smoothness"][:] *= np.e**2
    factor = float(claims.distances(run)[1].mean())
    assert np.log(factor) == pytest.approx(2 / np.sqrt(6), rel=1e-3)


@pytest.mark.parametrize(
    ("scales", "decision", "first"),
    [
        ({"far": 3.0, "near": 1.05}, "supported", "near"),
        ({"far": 3.0, "also": 2.0}, "not supported", "also"),
        ({"border": 1.25}, "inconclusive", "border"),
        ({"dead": 0.0}, "inconclusive", ""),
    ],
)
def test_the_nearest_candidate_decides(scales, decision, first):
    found = {verdict.identifier: verdict for verdict in claims.nearest(made_run(scales))}
    assert list(found) == ["nearest-none", "nearest-batch", "nearest-all"]
    assert {verdict.verdict for verdict in found.values()} == {decision}
    for verdict in found.values():
        assert not first or verdict.numbers[0].name == first
        assert verdict.reason or decision != "inconclusive"
    assert list(claims.nearest(made_run({"a": 1.0}, norms=("none",)))) != []


def test_a_normaliser_without_published_numbers_is_left_out():
    run = made_run({"a": 1.0})
    data = run.data.assign_coords(norm=["none", "layer"])
    names = [v.identifier for v in claims.nearest(type(run)(data, run.options, run.facts))]
    assert names == ["nearest-none"]


def test_figures_show_the_nearest_and_all(tmp_path):
    run = made_run({f"c{i}": 1.0 + i for i in range(8)})
    (beside,) = figure.nearest(run, {})
    shown = {series.name for panel in beside.panels for series in panel.table}
    assert {"c0", "c5"} <= shown
    assert "c6" not in shown
    (table,) = figure.table(run, {})
    (grid,) = (series for series in table.panels[0].table if series.kind == "grid")
    np.testing.assert_allclose(grid.columns["value"][:, -1], np.arange(1, 9), rtol=1e-3)
    steps = np.arange(0.0, 15_000, 100)
    edge = 2 * np.exp(-8e-5 * steps)
    (penalty,) = figure.penalty(run, {(readings.LOSS, "batch"): Curve(steps, edge, edge + 1)})
    assert "0.0002, 2" in penalty.caption
    for drawing in (beside, table, penalty):
        assert drawing.save(tmp_path)


def test_first_numbers_are_those_of_the_first_step():
    steps = np.array([0.0, 100.0])
    curves = {
        (readings.LOSS, "none"): Curve(steps, np.array([4.0, 1]), np.array([5.0, 9])),
        (readings.DISTANCE, "none"): Curve(steps, np.array([2.0, 1]), np.array([3.0, 9])),
        (readings.SMOOTHNESS, "none"): Curve(steps, np.array([7.0, 1]), np.array([7.0, 9])),
        (readings.LOSS, "batch"): Curve(steps, steps, steps),  # the other panels lack it
    }
    assert readings.first_numbers(curves) == {"none": (4, 5, 1, 2, 3, 7)}


def leaves(candidate, norm="l2", **options):
    plain = {"model": "vgg5", "hidden": (6, 6), "width": 0.05, "bias_init": 0.0}
    plain |= {"initializer": "glorot_uniform", "dropout": 0.0}
    own = STUDY.preset("toy").settings({"candidate": candidate, "norm": norm})
    options = SimpleNamespace(**{**plain, **options, **own})
    model = measure.build_model(options, norm, 10)
    images = jax.numpy.zeros((2, 16, 16, 3), jax.numpy.float32)
    return model, named_leaves(model.init(jax.random.key(0), images)["params"])


def test_each_word_of_a_candidate_changes_its_thing():
    base, plain = leaves("base")
    assert base == leaves("base")[0]
    assert plain["dense1/kernel"].shape == (26, 6)
    assert "dense1/norm/scale" in plain
    assert leaves("lastkept")[1]["dense1/kernel"].shape == (4 * 26, 6)
    assert "dense1/norm/scale" not in leaves("plainhead")[1]
    assert "conv1/norm/scale" in leaves("plainhead")[1]
    assert "dense1/kernel" not in leaves("nohead")[1]
    assert leaves("head7")[1]["dense2/kernel"].shape == (7, 7)
    assert float(leaves("bias0.1")[1]["conv2/bias"][0]) == pytest.approx(0.1)
    assert leaves("meanpool")[0].module.pooling == "mean"
    for word, name, value in (("eps1e-3", "epsilon", 1e-3), ("lp_each", "average", "each")):
        assert getattr(leaves(word)[0].module.norm.build(), name) == value
    assert leaves("eps1e-3", norm="batch")[0].module.norm.build().epsilon == 1e-3
    assert changes("vgg16+unscaled") == {"model": "vgg16", "pixel_scale": "unscaled"}
