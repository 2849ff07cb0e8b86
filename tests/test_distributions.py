"""The experiments on distributions at toy size, and their claims on results made by hand."""

import json

import numpy as np
import pytest

from bnjax.commands import command_line as frame
from bnjax.frame import results
from bnjax.frame.results import Results
from bnjax.studies.distributions import claims
from bnjax.studies.distributions import study as distributions
from bnjax.studies.noisy_batchnorm import study as noisy_batchnorm
from bnjax.studies.noisy_batchnorm.claims import noise_claims, time_to_target

TOY = [
    *("--steps", "6", "--batch-size", "16", "--probe-every", "2", "--evaluate-every", "4"),
    *("--layers", "conv1", "conv2"),
]
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")
PROBES, STEPS = 8, 40


def run(experiment, arguments, out):
    """The run folder of one run."""
    assert frame.main(experiment, [*TOY, *arguments, "--debug", "--out", str(out)]) == 0
    (path,) = (out / experiment.name).iterdir()
    return path


def figures(*names):
    """The files of some figures."""
    return {f"{name}.{kind}" for name in names for kind in ("png", "pdf")}


def test_distributions_leave_results_figures_and_claims(toy, tmp_path):
    path = run(distributions.EXPERIMENT, ["--bins", "8", "--unit", "1"], tmp_path)
    assert figures("distributions", "stability") <= {child.name for child in path.iterdir()}
    measured = results.read(path)
    histograms = measured.arrays["distributions.histogram"]
    assert histograms.shape == (2, 1, 3, 2, 8)
    np.testing.assert_allclose(histograms.sum(axis=-1), 1, rtol=1e-5)
    assert measured.axes["shown_layer"].tolist() == ["conv1", "conv2"]
    assert measured.axes["bin"].tolist() == [-8.75, -6.25, -3.75, -1.25, 1.25, 3.75, 6.25, 8.75]
    assert measured.arrays["distributions.percentiles"].shape == (2, 1, 3, 2, 19)
    for name, values in measured.arrays.items():
        assert np.isfinite(values).all(), name
    summary = json.loads((path / "summary.json").read_text())
    assert [claim["identifier"] for claim in summary["claims"]] == [
        "stable-drift-batch",
        "stable-unit-batch",
        "stable-mean-batch",
        "stable-variance-batch",
        "fig1c-batch",
    ]


def test_noisy_batchnorm_leaves_results_figures_and_claims(toy, tmp_path):
    published = tmp_path / "published.csv"
    published.write_text("panel,series,step,low,high\nfig2_vgg_acc,batchnorm,1,10,10\n")
    arguments = ["--published", str(published), "--seeds", "2"]
    path = run(noisy_batchnorm.EXPERIMENT, arguments, tmp_path)
    names = figures("noisy_batchnorm", "distributions", "stability")
    assert names <= {child.name for child in path.iterdir()}
    measured = results.read(path)
    for norm, low, high in (
        ("none", 0.0, 0.1),
        ("batch", 0.0, 0.1),
        # Two uniform means on ±½ differ by ⅓ on average; there are only a few units.
        ("noisy_batch", 0.15, 0.6),
        ("noise", 0.15, 0.6),
    ):
        assert low < measured.select("distributions.mean_change", norm=norm).mean() < high
    summary = json.loads((path / "summary.json").read_text())
    assert [claim["identifier"] for claim in summary["claims"]] == [
        "fig2-unit",
        "fig2-mean",
        "fig2-variance",
        "fig2-accuracy",
        "fig2-time-batch",
        "fig2-time-none",
        "fig2-noise",
    ]


@pytest.mark.parametrize("experiment", [distributions.EXPERIMENT, noisy_batchnorm.EXPERIMENT])
@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--layers", "conv1", "conv9"], "--layers conv9: the model has conv1 conv2 output"),
        (["--layers", "conv1", "conv1"], "--layers conv1 conv1: must be one or more different"),
        (["--unit", "-1"], "--unit -1: must be 0 or more"),
    ],
)
def test_a_wrong_call_gives_one_line_and_writes_nothing(
    toy, tmp_path, capsys, experiment, arguments, message
):
    assert frame.main(experiment, [*TOY, "--out", str(tmp_path / "runs"), *arguments]) == 2
    captured = capsys.readouterr().err
    assert captured.startswith("error: ")
    assert message in captured
    assert captured.count("\n") == 1
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--range", "1", "0"], "--range 1 0: must be two finite numbers, rising"),
        (["--range", "0", "inf"], "--range 0 inf: must be two finite numbers"),
        (["--bins", "2"], "--bins 2: must be from 3 to 10000"),
    ],
)
def test_an_impossible_histogram_is_refused(toy, tmp_path, capsys, arguments, message):
    out = ["--out", str(tmp_path)]
    assert frame.main(distributions.EXPERIMENT, [*TOY, *arguments, *out]) == 2
    assert message in capsys.readouterr().err


def test_a_unit_that_a_layer_does_not_have_is_refused_before_training(toy, tmp_path, capsys):
    arguments = [*TOY, "--unit", "5", "--out", str(tmp_path)]
    assert frame.main(distributions.EXPERIMENT, arguments) == 2
    captured = capsys.readouterr()
    assert "channel=5 does not exist: choose from 0 to 3" in captured.err
    assert "step" not in captured.out


def test_presets_are_valid():
    for module in (distributions, noisy_batchnorm):
        for config in module.PRESETS.values():
            config.validate()


def made_up(factors, *, seeds=1, losses=None, accuracies=None):
    """Results whose arms differ in stability by given factors, at every step and loss."""
    norms = list(factors)
    shape = (len(norms), seeds, PROBES, 1)
    strength = np.array([factors[norm] for norm in norms]).reshape(-1, 1, 1, 1)
    strength = strength * (1 + 0.01 * np.arange(seeds)).reshape(1, -1, 1, 1)
    # Every probe moves the whole distribution up by the strength, in units of its deviation 2.
    place = 2 * strength * np.arange(PROBES).reshape(1, 1, -1, 1)
    quantiles = place[..., None] + np.linspace(-1, 1, 19)
    decline = np.geomspace(1.5, 0.1, STEPS)
    losses = {norm: decline for norm in norms} | (losses or {})
    every = STEPS // PROBES
    arrays = {
        "distributions.percentiles": quantiles,
        "distributions.channel_percentiles": quantiles,
        "distributions.deviation": np.full(shape, 2.0),
        "train.loss": np.array([np.tile(losses[norm], (seeds, 1)) for norm in norms]),
        "train.finite": np.ones((len(norms), seeds, STEPS)),
        "train.accuracy": np.array(
            [np.full((seeds, STEPS), (accuracies or {}).get(norm, 0.9)) for norm in norms]
        ),
        "test.accuracy": np.array(
            [np.full((seeds, 2), 0.5) for _ in norms]  # claims rest on minibatches
        ),
    }
    arrays["distributions.mean_change"] = np.broadcast_to(2 * strength, shape)
    arrays["distributions.variance_change"] = np.broadcast_to(4 * strength, shape)
    inner = ("norm", "seed", "probe_step", "shown_layer")
    by_size = {4: inner, 5: (*inner, "percentile")}
    dims = {
        name: by_size.get(array.ndim, ("norm", "seed", "step")) for name, array in arrays.items()
    }
    dims["test.accuracy"] = ("norm", "seed", "test_step")
    axes = {
        "norm": np.array(norms),
        "seed": np.arange(seeds),
        "step": np.arange(STEPS),
        "test_step": np.array([0, STEPS]),
        "probe_step": np.arange(0, STEPS, every),
        "shown_layer": np.array(["conv1"]),
        "percentile": np.array(claims.LEVELS),
    }
    return Results(arrays, dims, axes, {}, {"chance_loss": np.log(10)})


def verdicts(found):
    return {claim.identifier: claim.verdict for claim in found}


def test_the_drift_of_a_shifted_distribution_is_the_shift_in_deviations():
    measured = claims.drift(made_up({"none": 0.3}), "none", 0, "conv1")
    np.testing.assert_allclose(measured[:-1], 0.3)
    assert np.isnan(measured[-1])


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize(
    ("factor", "stable", "marginal"),
    [
        (3.0, "supported", "not supported"),
        (1.5, "supported", "supported"),
        (1.0, "inconclusive", "supported"),
        (1 / 3, "not supported", "not supported"),
    ],
)
def test_the_ratio_of_stability_decides(factor, stable, marginal, seeds):
    found = verdicts(claims.claims(made_up({"none": factor, "batch": 1.0}, seeds=seeds)))
    names = ("drift", "unit", "mean", "variance")
    assert [found[f"stable-{name}-batch"] for name in names] == [stable] * 4
    assert found["fig1c-batch"] == marginal


def test_an_lp_norm_is_claimed_to_be_less_stable():
    found = verdicts(claims.claims(made_up({"none": 1.0, "l1": 3.0, "linf": 0.2})))
    assert found["fig6-drift-l1"] == "supported"
    assert found["fig6-drift-linf"] == "not supported"


def test_layers_that_disagree_are_inconclusive_and_named():
    first, second = made_up({"none": 3.0, "batch": 1.0}), made_up({"none": 0.3, "batch": 1.0})
    arrays = {
        name: np.concatenate([array, second.arrays[name]], axis=3) if array.ndim > 3 else array
        for name, array in first.arrays.items()
    }
    axes = {**first.axes, "shown_layer": np.array(["conv1", "conv2"])}
    (claim, *_) = claims.claims(first._replace(arrays=arrays, axes=axes))
    assert claim.verdict == "inconclusive"
    assert claim.reason == (
        "supported for conv1 equal step, conv1 equal loss; "
        "not supported for conv2 equal step, conv2 equal loss"
    )


def test_a_dead_arm_is_inconclusive_and_says_why():
    dead = np.full(STEPS, 2.3)
    for claim in claims.claims(made_up({"none": 3.0, "batch": 1.0}, losses={"none": dead})):
        assert claim.verdict == "inconclusive"
        assert "none does not train: its loss ends at 2.300" in claim.reason


FOUR = {"none": 1.0, "batch": 0.5, "noisy_batch": 3.0, "noise": 3.0}


def test_figure_2_as_it_was_published_is_supported():
    slow, dead = np.geomspace(2.2, 0.5, STEPS), np.full(STEPS, 2.3)
    found = noise_claims(made_up(FOUR, losses={"none": slow, "noise": dead}))
    assert set(verdicts(found).values()) == {"supported"}


def test_figure_2_the_other_way_round_is_not_supported():
    slow = np.geomspace(2.2, 0.5, STEPS)
    measured = made_up(
        {**FOUR, "noisy_batch": 0.3}, losses={"noisy_batch": slow}, accuracies={"noisy_batch": 0.8}
    )
    found = verdicts(noise_claims(measured))
    assert set(found.values()) == {"not supported"}


def test_the_time_to_a_loss_ignores_one_easy_batch_and_is_a_bound_where_it_is_not_reached():
    loss = np.full(STEPS, 2.0)
    loss[7] = 0.1
    measured = made_up({"none": 1.0}, losses={"none": loss})
    assert time_to_target(measured, "none", 0) == (STEPS, False)
    loss[20:] = 0.1
    measured = made_up({"none": 1.0}, losses={"none": loss})
    # A median over five steps is below the target once three of them are.
    assert time_to_target(measured, "none", 0) == (23, True)
