"""The spectrum experiment: claims on known numbers, the whole at toy size, wrong calls."""

import json

import numpy as np
import pytest

from bnjax.commands import command_line as frame
from bnjax.frame import results
from bnjax.frame.results import Results
from bnjax.studies.spectrum import claims
from bnjax.studies.spectrum import study as spectrum

PROBES, STEPS, TOP, NODES = 8, 40, 3, 4
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")


def made_up(isolated=3.0, share=0.9, own=0.4, returned=2.0, sharpness=20.0, train_loss=0.1):
    """Both arms under both statistics: λ1/λK and the gradient's share of `none` over `batch`.

    `batch` has λ1/λK = 2 and a share of `own` under batch statistics, and `returned` times that
    isolation under running ones.
    """
    outer = (2, 1, PROBES, 2)
    ratios = np.array([[2 * isolated] * 2, [2, 2 * returned]]).reshape(2, 1, 1, 2)
    largest = np.ones((*outer, TOP)) * sharpness
    largest[..., -1] /= ratios
    fraction = np.ones((*outer, TOP)) * np.array([share, own]).reshape(2, 1, 1, 1, 1)
    weights = np.broadcast_to([0.25, 0.25, 0.25, 0.25], (*outer, 1, NODES))
    nodes = np.broadcast_to([0.0, 0.0, 0.0, sharpness], (*outer, 1, NODES))
    loss = np.geomspace(1.5, 0.1, PROBES).reshape(1, 1, -1, 1)
    arrays = {
        "spectrum.loss": np.broadcast_to(loss, outer),
        "spectrum.largest": largest,
        "spectrum.gradient_fraction": fraction,
        "spectrum.nodes": nodes,
        "spectrum.weights": weights,
        "train.loss": np.full((2, 1, STEPS), train_loss),
        "train.finite": np.ones((2, 1, STEPS)),
    }
    inner = ("norm", "seed", "probe_step", "statistics")
    dims = {
        "spectrum.loss": inner,
        "spectrum.largest": (*inner, "rank"),
        "spectrum.gradient_fraction": (*inner, "rank"),
        "spectrum.nodes": (*inner, "vector", "node"),
        "spectrum.weights": (*inner, "vector", "node"),
        "train.loss": ("norm", "seed", "step"),
        "train.finite": ("norm", "seed", "step"),
    }
    axes = {
        "norm": np.array(["none", "batch"]),
        "seed": np.array([0]),
        "probe_step": np.arange(0, STEPS, STEPS // PROBES),
        "statistics": np.array(["batch", "running"]),
        "rank": np.arange(1, TOP + 1),
    }
    config = {"lr": 0.1, "optimizer": "sgd", "model": "vgg11"}
    return Results(arrays, dims, axes, config, {"chance_loss": np.log(10)})


def decided(results):
    """Claims by their identifiers."""
    return {claim.identifier: claim for claim in claims.claims(results)}


@pytest.mark.parametrize(
    ("numbers", "identifier", "verdict"),
    [
        ({"isolated": 3.0}, "outliers-batch", "supported"),
        ({"isolated": 0.4}, "outliers-batch", "not supported"),
        ({"isolated": 1.0}, "outliers-batch", "inconclusive"),
        ({"share": 0.9}, "gradient-batch", "supported"),
        ({"share": 0.3}, "gradient-batch", "not supported"),
        ({"share": 0.9, "own": 0.6}, "gradient-batch", "inconclusive"),
        ({"returned": 2.0}, "return-batch-running", "supported"),
        ({"returned": 0.5}, "return-batch-running", "not supported"),
        ({"sharpness": 22.0}, "edge-none", "supported"),
        ({"sharpness": 2.0}, "edge-none", "inconclusive"),
    ],
)
def test_the_numbers_decide(numbers, identifier, verdict):
    assert decided(made_up(**numbers))[identifier].verdict == verdict


def test_a_largest_eigenvalue_that_only_passes_2_over_lr_does_not_stand_there():
    passing = made_up(sharpness=20.0)
    course = np.geomspace(1.4, 0.7, PROBES).reshape(1, 1, -1, 1, 1)
    passing.arrays["spectrum.largest"] = passing.arrays["spectrum.largest"] * course
    found = decided(passing)["edge-none"]
    assert found.verdict == "inconclusive"
    assert found.measured == "λ1·lr/2 from 0.7 to 0.773"


def test_the_ratios_and_the_spread_are_those_of_the_arrays():
    found = decided(made_up(isolated=3.0))["outliers-batch"]
    assert found.measured.startswith("equal step 3 (one seed); equal loss 3 (one seed)")
    # One node of four at λ1, the others at 0: a deviation of √3/4 λ1 in both arms.
    assert claims.spread(made_up(), "none", 0, "batch") == pytest.approx(4 / 3**0.5)
    assert "none 6, batch (batch) 2, batch (running) 4" in found.measured


def test_a_dead_arm_and_another_optimiser_are_inconclusive_and_say_why():
    for claim in claims.claims(made_up(train_loss=2.3)):
        assert claim.verdict == "inconclusive"
        assert "does not train: its loss ends at 2.300, chance is 2.303" in claim.reason
    momentum = made_up(sharpness=20.0)
    momentum.config["optimizer"] = "momentum"
    assert (
        decided(momentum)["edge-batch"].reason == "2/lr is the edge of plain SGD, not of momentum"
    )


TOY = [
    *("--steps", "5", "--batch-size", "16", "--probe-every", "2", "--evaluate-every", "4"),
    *("--images", "32", "--chunk", "16", "--lanczos-steps", "6", "--vectors", "2"),
    *("--trace-vectors", "3", "--top", "3"),
]


def test_a_run_leaves_results_figures_and_claims(toy, tmp_path):
    out = ["--debug", "--out", str(tmp_path)]
    assert frame.main(spectrum.EXPERIMENT, [*TOY, *out]) == 0
    (path,) = (tmp_path / "spectrum").iterdir()
    measured = results.read(path)
    assert measured.arrays["spectrum.nodes"].shape == (2, 1, 3, 2, 2, 6)
    assert measured.dims["spectrum.largest"] == (
        *("norm", "seed", "probe_step", "statistics", "rank"),
    )
    for name, values in measured.arrays.items():
        assert np.isfinite(values).all(), name
    weights = measured.arrays["spectrum.weights"]
    np.testing.assert_allclose(weights.sum(axis=-1), 1, rtol=1e-5)
    for norm, differs in (("none", False), ("batch", True)):
        largest = measured.select("spectrum.largest", norm=norm)
        assert (np.abs(largest[..., 0, 0] - largest[..., 1, 0]) > 1e-3).all() == differs
    claimed = json.loads((path / "summary.json").read_text())["claims"]
    assert [claim["identifier"] for claim in claimed] == [
        "outliers-batch",
        "gradient-batch",
        "return-batch-running",
        "edge-none",
        "edge-batch",
    ]
    for name in ("spectrum", "spectrum_density"):
        for kind in ("png", "pdf"):
            assert (path / f"{name}.{kind}").stat().st_size > 10_000


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--lanczos-steps", "1"], "--lanczos-steps 1: must be 2 or more"),
        (["--vectors", "0"], "--vectors 0: must be 1 or more"),
        (["--trace-vectors", "1"], "--trace-vectors 1: must be 2 or more: one has no error"),
        (["--top", "7"], "--top 7: must be from 2 to --lanczos-steps 6"),
        (["--chunk", "7"], "--chunk 7: must be 2 or more, and divide --images 32"),
        (["--images", "1"], "--images 1: must be 2 or more"),
        (["--statistics", "frozen"], "'frozen'"),
        (["--statistics", "batch", "batch"], "--statistics batch batch: must be one or more"),
        (["--images", "64"], "images=64 must be from 2 to 50, the training images of noise"),
    ],
)
def test_a_wrong_call_gives_one_line(toy, tmp_path, capsys, arguments, message):
    out = ["--out", str(tmp_path / "runs")]
    assert frame.main(spectrum.EXPERIMENT, [*TOY, *arguments, *out]) == 2
    captured = capsys.readouterr().err
    assert captured.startswith("error: ")
    assert message in captured
    assert captured.count("\n") == 1


def test_presets_are_valid():
    for config in spectrum.PRESETS.values():
        config.validate()
