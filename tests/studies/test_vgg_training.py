"""Training curves: claims on results made by hand, and both experiments at toy size."""

import dataclasses
import json
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from conftest import tiny_model

from bnjax import data, train
from bnjax.commands import command_line as frame
from bnjax.data.sources import make_gaussian
from bnjax.draw import style
from bnjax.frame import arms as arms_of_runs
from bnjax.frame import results
from bnjax.frame.config import RunConfig
from bnjax.frame.published_curves import Curve
from bnjax.judge import curves, learning_rates
from bnjax.judge.claim import difference
from bnjax.models import deep_linear, norms
from bnjax.studies.lp_norms import study as lp_norms
from bnjax.studies.vgg_training import claims, figure
from bnjax.studies.vgg_training import study as vgg_training

STEPS, WINDOW = 100, 3
TESTED = np.array([0, 50, 90, 100])
PROBED = np.array([0, 50, 90])
pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")


@dataclasses.dataclass
class Arm:
    """An arm whose accuracy steps from 0.1 to 1 and whose loss falls from 2.3 to 0.1, at a step."""

    reaches: float = 20  # inf: trains, but not to the target
    loss: float = 0.1
    test: float = 0.9
    fit: float = 1.0
    diverges: int | None = None


def made_up(arms, lrs=None, seeds=1, model="vgg11", **options):
    """Results of arms by normaliser, or by normaliser and learning rate; later seeds are slower."""
    rows: dict[str, list] = {}
    lrs_of_run = lrs or [0.1]
    names = list(dict.fromkeys(key[0] if lrs else key for key in arms))
    for norm in names:
        for lr in lrs_of_run:
            arm = arms[norm, lr] if lrs else arms[norm]
            for seed in range(seeds):
                curve = one_arm(arm, seed)
                for name, values in curve.items():
                    rows.setdefault(name, []).append(values)
    outer = (len(names), *([len(lrs)] if lrs else []), seeds)
    arrays = {name: np.array(values).reshape(*outer, -1) for name, values in rows.items()}
    axes = {"norm": names, **({"lr": lrs} if lrs else {}), "seed": range(seeds)}
    inner = {"train": "step", "test": "test_step", "fit": "probe_step"}
    dims = {name: (*axes, inner[name.split(".")[0]]) for name in arrays}
    axes |= {"step": range(STEPS), "test_step": TESTED, "probe_step": PROBED}
    config = {"model": model, "lr": 0.1, "window": WINDOW, "width": 1.0}
    config |= {"target_accuracy": 0.9, "target_loss": None, "batch_size": 16}
    config |= {"objective": "cross_entropy", "optimizer": "sgd", **options}
    facts = {"chance_loss": math.log(10), "dataset": "made up"}
    axes = {name: np.array(list(values)) for name, values in axes.items()}
    return results.Results(arrays, dims, axes, config, facts)


def one_arm(arm, seed):
    step = np.arange(STEPS)
    late = step >= (arm.reaches + seed if math.isfinite(arm.reaches) else 20)
    top = 1.0 if math.isfinite(arm.reaches) else 0.8
    curve = {
        "train.loss": np.where(late, arm.loss, 2.3),
        "train.accuracy": np.where(late, top, 0.1),
        "train.finite": np.ones(STEPS),
        "test.accuracy": np.full(len(TESTED), arm.test + 0.001 * seed),
        "test.loss": np.full(len(TESTED), arm.loss),
        "fit.accuracy": np.full(len(PROBED), arm.fit),
        "fit.loss": np.full(len(PROBED), arm.loss),
    }
    if arm.diverges is not None:
        for name in ("train.loss", "train.accuracy", "train.finite"):
            curve[name] = curve[name].copy()
            curve[name][arm.diverges :] = np.nan
        curve["train.finite"][arm.diverges] = 0
        for name in ("test.accuracy", "test.loss", "fit.accuracy", "fit.loss"):
            curve[name] = np.where(np.arange(len(curve[name])) > 0, np.nan, curve[name])
    return curve


def decided(made):
    return {claim.identifier: claim for claim in claims.claims(made)}


def test_smoothing_is_the_median_of_the_last_values_and_keeps_gaps():
    generator = np.random.default_rng(0)
    values = generator.normal(size=30)
    values[20:22] = np.nan
    slow = [
        np.nan if np.isnan(values[i]) else np.nanmedian(values[max(0, i - 4) : i + 1])
        for i in range(30)
    ]
    np.testing.assert_array_equal(curves.smooth(values, 5), slow)
    np.testing.assert_array_equal(curves.smooth(values, 1), values)


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize(
    ("reaches", "verdict"), [(60, "supported"), (5, "not supported"), (20, "inconclusive")]
)
def test_steps_to_the_target_decide_who_is_faster(reaches, verdict, seeds):
    claim = decided(made_up({"none": Arm(reaches), "batch": Arm(20)}, seeds=seeds))
    assert claim["faster-batch-none"].verdict == verdict
    assert ("one seed" in claim["faster-batch-none"].measured) == (seeds == 1)


def test_steps_are_minibatches_until_the_median_reaches_the_target():
    made = made_up({"none": Arm(60), "batch": Arm(20)})
    # The jump at step 20 outweighs the median of three at step 21, the 22nd minibatch.
    assert curves.steps_to_target(made, "batch", 0) == 22
    by_loss = made_up({"none": Arm(60), "batch": Arm(20)}, target_loss=0.5)
    assert curves.steps_to_target(by_loss, "none", 0) == 62
    never = made_up({"none": Arm(60), "batch": Arm(20)}, target_loss=0.05)
    assert curves.steps_to_target(never, "none", 0) == math.inf


def test_an_arm_that_never_gets_there_bounds_the_ratio_on_one_side():
    never = math.inf
    slow = decided(made_up({"none": Arm(never), "batch": Arm(20)}))["faster-batch-none"]
    assert slow.verdict == "supported"
    assert "at least 4.55 (one seed): none never, batch 22" in slow.measured
    late = decided(made_up({"none": Arm(never), "batch": Arm(96)}))["faster-batch-none"]
    assert late.verdict == "inconclusive"  # at least 100 / 98 does not decide
    fast = decided(made_up({"none": Arm(20), "batch": Arm(never)}))["faster-batch-none"]
    assert fast.verdict == "not supported"
    both = decided(made_up({"none": Arm(never), "batch": Arm(never)}))["faster-batch-none"]
    assert (both.verdict, both.measured.split(":")[0]) == ("inconclusive", "no ratio")


@pytest.mark.parametrize("seeds", [1, 3])
@pytest.mark.parametrize(
    ("test", "verdict"),
    [(0.95, "supported"), (0.85, "not supported"), (0.9, "inconclusive"), (0.91, None)],
)
def test_accuracy_and_gap_are_decided_by_differences(test, verdict, seeds):
    made = made_up({"none": Arm(test=0.9), "batch": Arm(test=test)}, seeds=seeds)
    if seeds > 1:  # seeds that differ alike in both arms leave no spread of the difference
        made.arrays["test.accuracy"][1, 1] += 0.002
    found = decided(made)
    if verdict is None:  # one point: within one seed's margin, outside three seeds' interval
        verdict = "inconclusive" if seeds == 1 else "supported"
    assert found["accuracy-batch-none"].verdict == verdict
    assert found["gap-batch-none"].verdict == verdict
    assert f"{100 * (test - 0.9) + (0.2 / 3 if seeds > 1 else 0):.3g} points" in (
        found["accuracy-batch-none"].measured
    )


def test_the_interval_of_differences_is_students():
    values = [0.01, 0.03, 0.02]
    low, high = scipy.stats.t.interval(0.95, 2, 0.02, scipy.stats.sem(values))
    np.testing.assert_allclose(difference(values)[:3], [0.02, low, high], rtol=1e-12)


def test_the_final_accuracy_is_of_the_last_tenth_and_the_gap_of_the_same():
    made = made_up({"none": Arm(), "batch": Arm()})
    made.arrays["test.accuracy"][1, 0] = [0.0, 0.1, 0.7, 0.8]
    made.arrays["fit.accuracy"][1, 0] = [0.0, 0.2, 0.95]
    assert curves.test_accuracy(made, "batch", 0) == pytest.approx(0.75)
    assert curves.gap(made, "batch", 0) == pytest.approx(0.2)


def test_gaps_are_compared_only_between_arms_that_fit_equally_well():
    made = made_up({"none": Arm(test=0.85, fit=0.9), "batch": Arm(test=0.95)})
    claim = decided(made)["gap-batch-none"]
    assert claim.verdict == "inconclusive"
    assert claim.reason.endswith("not equal within 3 points: none 90.0 %, batch 100.0 %")
    equal = made_up({"none": Arm(test=0.85, fit=0.98), "batch": Arm(test=0.95)})
    assert decided(equal)["gap-batch-none"].verdict == "supported"


@pytest.mark.parametrize(
    ("norm", "accurate", "fast"),
    [
        (Arm(20, test=0.9), "supported", "supported"),
        (Arm(60, test=0.8), "not supported", "not supported"),
        (Arm(25, test=0.87), "inconclusive", "inconclusive"),
    ],
)
def test_an_lp_norm_does_as_well_as_batch_within_a_margin(norm, accurate, fast):
    found = decided(made_up({"batch": Arm(20, test=0.9), "l1": norm}))
    assert found["as-accurate-l1-batch"].verdict == accurate
    assert found["as-fast-l1-batch"].verdict == fast
    assert set(found) == {"as-accurate-l1-batch", "as-fast-l1-batch"}


def test_a_regression_is_decided_by_its_loss():
    arms = {"none": Arm(loss=1.0), "batch": Arm(loss=0.5), "l1": Arm(loss=0.1), "l2": Arm(loss=0.9)}
    found = decided(made_up(arms, model="dln", target_loss=1.5))
    verdicts = {name: claim.verdict for name, claim in found.items() if "fast" not in name}
    assert verdicts == {
        "lower-loss-batch-none": "supported",
        "gap-batch-none": "inconclusive",
        "lower-loss-l1-none": "supported",
        "gap-l1-none": "inconclusive",
        "lower-loss-l2-none": "supported",
        "gap-l2-none": "inconclusive",
        "as-low-l1-batch": "supported",
        "as-low-l2-batch": "not supported",
        "lower-loss-l1-batch": "supported",
    }
    assert "479 batch" in found["lower-loss-batch-none"].published


@pytest.mark.parametrize(
    ("arm", "reason"),
    [
        (Arm(loss=2.29), "none does not train: its loss ends at 2.290, chance is 2.303"),
        (Arm(diverges=7), "none diverged at step 7"),
    ],
)
def test_a_dead_arm_decides_nothing_and_says_why(arm, reason):
    found = decided(made_up({"none": arm, "batch": Arm()}))
    assert set(found) == {"faster-batch-none", "accuracy-batch-none", "gap-batch-none"}
    for claim in found.values():
        assert (claim.verdict, claim.reason) == ("inconclusive", reason)


DEAD, GONE = Arm(loss=2.3), Arm(diverges=4)


@pytest.mark.parametrize(
    ("none", "batch", "verdict", "reason"),
    [
        ((Arm(), DEAD), (Arm(), Arm()), "supported", "only batch trains at lr 0.5"),
        ((Arm(), GONE), (Arm(), Arm()), "supported", "only batch trains at lr 0.5"),
        ((Arm(), Arm()), (Arm(), GONE), "not supported", "only none trains at lr 0.5"),
        ((Arm(), DEAD), (DEAD, Arm()), "inconclusive", "each trains"),
        ((Arm(), Arm()), (Arm(), Arm()), "inconclusive", "both train at the same"),
        ((Arm(), DEAD), (Arm(), GONE), "inconclusive", "both train at the same"),
    ],
)
def test_learning_rates_at_which_only_one_arm_trains(none, batch, verdict, reason):
    arms = {("none", lr): arm for lr, arm in zip((0.1, 0.5), none, strict=True)}
    arms |= {("batch", lr): arm for lr, arm in zip((0.1, 0.5), batch, strict=True)}
    claim = decided(made_up(arms, lrs=[0.1, 0.5]))["learning-rates-batch"]
    assert claim.verdict == verdict
    assert claim.reason.startswith(reason)


def test_each_learning_rate_is_decided_by_itself_and_a_dead_one_has_its_line():
    arms = {("none", 0.1): Arm(60), ("none", 0.5): GONE, ("none", 0.01): Arm(5)}
    arms |= {("batch", 0.1): Arm(20), ("batch", 0.5): DEAD, ("batch", 0.01): Arm(20)}
    found = decided(made_up(arms, lrs=[0.1, 0.5, 0.01]))
    faster = [found[f"faster-batch-none-lr{lr}"].verdict for lr in ("0.1", "0.5", "0.01")]
    assert faster == ["supported", "inconclusive", "not supported"]
    dead = [name for name in found if name.startswith("lr")]
    assert dead == ["lr0.5"]
    assert found["lr0.5"].verdict == "not supported"
    assert found["lr0.5"].measured.startswith("none diverged at step 4; batch does not train")


# Both experiments, end to end.

TOY = ["--steps", "6", "--batch-size", "16", "--evaluate-every", "3", "--window", "3"]


@pytest.fixture
def toy(monkeypatch, noise_dataset):
    """Noise images with a network that compiles in a moment; the linear one has 2 layers."""

    def build(self, norm, num_classes):
        if self.model == "dln":
            return deep_linear(norm=norms.by_name(norm), depth=2)
        return tiny_model(norm)

    def load(name, data_dir, *, seed):
        return make_gaussian(seed) if name.startswith("gaussian") else noise_dataset

    monkeypatch.setattr(RunConfig, "build_model", build)
    monkeypatch.setattr("bnjax.data.load", load)


def run(experiment, arguments, tmp_path):
    """The run folder and the claims of a run that must end well."""
    assert frame.main(experiment, [*arguments, "--debug", "--out", str(tmp_path)]) == 0
    (path,) = (tmp_path / experiment.name).iterdir()
    found = json.loads((path / "summary.json").read_text())["claims"]
    assert (path / "training.png").stat().st_size > 10_000
    assert (path / "training.pdf").exists()
    return path, {claim["identifier"]: claim for claim in found}


def test_several_learning_rates_in_one_call(toy, tmp_path):
    arguments = [*TOY, "--probe-every", "3", "--lrs", "0.1", "1e25"]
    path, found = run(vgg_training.EXPERIMENT, arguments, tmp_path)
    measured = results.read(path)
    assert measured.dims["train.loss"] == ("norm", "lr", "seed", "step")
    assert measured.axes["lr"].tolist() == [0.1, 1e25]
    assert measured.arrays["fit.accuracy"].shape == (2, 2, 1, 2)
    assert np.isfinite(measured.select("train.loss", lr=0.1)).all()
    first = measured.arrays["train.loss"][..., 0]
    np.testing.assert_array_equal(first[:, 0], first[:, 1])  # the same start at each rate
    second = measured.arrays["train.loss"][0, :, 0, 1]
    assert second[0] != second[1]  # and then each its own
    assert found["faster-batch-none-lr1e+25"]["verdict"] == "inconclusive"
    assert {"learning-rates-batch", "gap-batch-none-lr0.1"} <= set(found)


def test_the_fit_is_read_on_training_images_with_running_statistics(toy, tmp_path, noise_dataset):
    config = dataclasses.replace(vgg_training.PRESETS["quick"], batch_size=16)
    pipeline, key = data.make_pipeline(noise_dataset, 16), jax.random.key(0)
    arm = arms_of_runs.Arm(
        {"norm": "batch", "lr": 0.3}, 0, tiny_model("batch"), noise_dataset, pipeline
    )
    own = config.for_arm(arm.values)
    assert own.lr == 0.3
    program, optimizer = arms_of_runs.build(own, arm)
    first = program.batch(noise_dataset.train, pipeline.order(key, 0), key, jnp.int32(0))
    state = train.init_state(arm.model, optimizer, key, first.images)
    fitted = vgg_training.probes(own, arm)["fit"].measure(
        state, first, program.gradient(state, first)
    )
    images = pipeline.standardise(noise_dataset.train.pixels[:7])
    logits, _ = arm.model.apply(state.params, state.batch_stats, images, train=False)
    labels = np.asarray(noise_dataset.train.labels[:7])
    scores = np.asarray(logits, dtype=np.float64)
    assert float(fitted.accuracy) == pytest.approx((scores.argmax(-1) == labels).mean())
    losses = np.log(np.exp(scores).sum(-1)) - scores[np.arange(7), labels]
    assert float(fitted.loss) == pytest.approx(losses.mean(), rel=1e-5)


def test_a_rate_at_which_every_arm_diverges_is_said_in_claims_and_caption(toy, tmp_path):
    arguments = [*TOY, "--norms", "none", "--lrs", "1e25", "--seeds", "2"]
    path, found = run(vgg_training.EXPERIMENT, arguments, tmp_path)
    assert found["lr1e+25"]["reason"].startswith("no arm trains: give a smaller --lr")
    measured = results.read(path)
    assert np.isfinite(measured.arrays["train.loss"][..., 0]).all()
    assert "lr 1e+25: NO ARM TRAINS: none diverged at step" in figure.caption(measured)
    assert "×: diverged" in figure.caption(measured)


def test_an_exploding_loss_ends_the_view_and_nothing_that_was_measured():
    made = made_up({"none": Arm(), "batch": Arm()})
    for largest, cut in ((50.0, False), (1e30, True)):
        made.arrays["train.loss"][0, 0, 5] = largest
        with style.figure(1, 1, size=(3.0, 3.0)) as (_, panels):
            figure.draw_panel(panels[0], made, "loss", WINDOW)
            assert figure.cut_losses(panels, made) is cut
            low, high = panels[0].get_ylim()
            assert (abs(high - 30 * math.log(10)) < 1e-6) == cut
            assert 0 < low < 0.1
            assert max(line.get_ydata().max() for line in panels[0].get_lines()[:1]) == largest


def test_the_lp_norms_on_images(toy, tmp_path):
    path, found = run(lp_norms.EXPERIMENT, [*TOY, "--target-accuracy", "0.05"], tmp_path)
    measured = results.read(path)
    assert measured.axes["norm"].tolist() == ["none", "batch", "l1", "l2", "linf"]
    for norm in ("l1", "l2", "linf"):
        names = {f"{q}-{norm}-batch" for q in ("as-fast", "as-accurate")}
        assert names | {f"faster-{norm}-none", f"accuracy-{norm}-none"} <= set(found)


def test_the_lp_norms_on_the_deep_linear_network(toy, tmp_path):
    published = tmp_path / "curves.csv"
    published.write_text(
        "panel,series,step,low,high\nfig5b_dln_loss,l1,0,100,100\nfig5b_dln_loss,l1,5,50,50\n"
    )
    arguments = ["--model", "dln", "--steps", "6", "--published", str(published)]
    path, found = run(lp_norms.EXPERIMENT, arguments, tmp_path)
    measured = results.read(path)
    assert measured.config["batch_size"] == 1000
    assert measured.config["lr"] == 1e-6
    assert np.isnan(measured.arrays["train.accuracy"]).all()
    assert "97.5 l1" in found["as-low-l1-batch"]["published"]
    assert {"lower-loss-l1-batch", "faster-linf-none"} <= set(found)


def test_published_curves_are_those_of_the_learning_rate():
    curve = Curve(np.array([0.0, 1.0]), np.array([1.0, 2.0]), np.array([1.0, 2.0]))
    names = ("fig3a_vgg_acc_lr0.1", "fig3a_vgg_acc_lr0.01", "fig5a_vgg_acc", "fig5b_dln_loss")
    published = {(name, norm): curve for name in names for norm in ("batch", "l1")}

    def lines(made, quantity, **only):
        kept = {key: value for key, value in published.items() if key[0] in only["names"]}
        with style.figure(1, 1, size=(3.0, 3.0)) as (_, panels):
            figure.overlay_published(panels[0], made, kept, quantity)
            return len(panels[0].get_lines())

    arms = {("batch", lr): Arm() for lr in (0.1, 0.01, 0.5)}
    at = dict(learning_rates.at_each_lr(made_up(arms, lrs=[0.1, 0.01, 0.5])))
    assert lines(at[0.1], "accuracy", names=["fig3a_vgg_acc_lr0.1"]) > 0
    assert lines(at[0.1], "accuracy", names=["fig3a_vgg_acc_lr0.01", "fig5a_vgg_acc"]) == 0
    assert lines(at[0.01], "accuracy", names=["fig3a_vgg_acc_lr0.01"]) > 0
    assert lines(at[0.5], "accuracy", names=names) == 0
    assert lines(at[0.1], "loss", names=names) == 0
    lp = made_up({"batch": Arm(), "l1": Arm()})
    assert lines(lp, "accuracy", names=["fig5a_vgg_acc"]) > 0
    linear = made_up({"l1": Arm()}, model="dln", lr=1e-6, target_loss=1.0)
    assert lines(linear, "loss", names=["fig5b_dln_loss"]) > 0


@pytest.mark.parametrize(
    ("experiment", "arguments", "message"),
    [
        (vgg_training, ["--lr", "0.5"], "--lr 0.5 is not for this experiment: give --lrs 0.5"),
        (vgg_training, ["--lrs", "0.1", "0.1"], "--lrs 0.1 0.1: must be one or more different"),
        (vgg_training, ["--lrs", "0.1", "-1"], "--lrs 0.1 -1: must be"),
        (vgg_training, ["--lrs", "inf"], "--lrs inf: must be"),
        (vgg_training, ["--lrs", "nan"], "--lrs nan: must be"),
        (vgg_training, ["--model", "dln"], "--model dln is not for this experiment: see"),
        (vgg_training, ["--target-accuracy", "90"], "--target-accuracy 90.0: must be above 0"),
        (vgg_training, ["--window", "500"], "--window 500: must be from 1 to 200"),
        (lp_norms, ["--target-loss", "0"], "--target-loss 0.0: must be above 0"),
        (lp_norms, ["--model", "dln", "--target-loss", "None"], "there is no accuracy here"),
        (lp_norms, ["--lr", "0"], "--lr 0.0: must be above 0 and finite, e.g. 0.1"),
    ],
)
def test_a_wrong_call_gives_one_line(tmp_path, capsys, experiment, arguments, message):
    out = tmp_path / "runs"
    assert frame.main(experiment.EXPERIMENT, [*arguments, "--out", str(out)]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1
    assert not out.exists()


def test_presets_are_valid_and_the_papers():
    for config in (*vgg_training.PRESETS.values(), *lp_norms.PRESETS.values()):
        config.validate()
    linear = lp_norms.PRESETS["paper dln"]
    assert (linear.lr, linear.steps, linear.batch_size) == (1e-6, 10_000, 1000)
    paper = vgg_training.PRESETS["paper"]
    assert (paper.model, paper.width, paper.steps, paper.lrs[0]) == ("vgg16", 1.0, 15_000, 0.1)
