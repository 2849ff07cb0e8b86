"""Training curves: the fit on training images and the figure; claims: `test_judged`."""

import math
from types import SimpleNamespace

import jax
import numpy as np
import optax
import pytest
import synthetic
from conftest import tiny_model

from bnjax import data, train
from bnjax.frame.arm import Arm
from bnjax.frame.published_curves import Curve
from bnjax.studies import lp_norms, vgg_training
from bnjax.studies.vgg_training import figure, measure


def test_the_fit_is_read_on_training_images_with_running_statistics(noise_dataset):
    pipeline = data.make_pipeline(noise_dataset, 16)
    options = SimpleNamespace(probe_every=1, objective="cross_entropy", kernel_penalty=0.0)
    arm = Arm({"norm": "batch"}, 0, options, tiny_model("batch"), noise_dataset, pipeline)
    images = pipeline.standardise(noise_dataset.train.pixels[:7])
    state = train.init_state(arm.model, optax.sgd(0.1), jax.random.key(0), images)
    fitted = measure.probes(arm)["fit"].measure(state, None, None)
    logits, _ = arm.model.apply(state.params, state.batch_stats, images, train=False)
    labels = np.asarray(noise_dataset.train.labels[:7])
    scores = np.asarray(logits, dtype=np.float64)
    assert float(fitted.accuracy) == pytest.approx((scores.argmax(-1) == labels).mean())
    losses = np.log(np.exp(scores).sum(-1)) - scores[np.arange(7), labels]
    assert float(fitted.loss) == pytest.approx(losses.mean(), rel=1e-5)


def a_run(norms=("none", "batch"), seeds=1, lrs=None, **options):
    """Networks whose accuracy rises from 0 to 1, later seeds ahead by a hundredth."""
    lead = ("norm", *(["lr"] if lrs else []), "seed")
    ahead = 0.01 * np.arange(seeds)[:, None]
    rise = np.linspace(0, 1, synthetic.STEPS) + ahead
    made = synthetic.run(
        {
            "train_accuracy": ((*lead, "step"), rise),
            "test_accuracy": ((*lead, "test_step"), ahead + np.array([0.1, 0.8])),
            "test_loss": ((*lead, "test_step"), [2.3, 0.3]),
        },
        norms=norms,
        seeds=seeds,
        options=vgg_training.STUDY.preset("quick").__dict__ | {"lr": 0.1, "window": 3} | options,
        test_step=[0, synthetic.STEPS],
        **({"lr": lrs} if lrs else {}),
    )
    made.facts["dataset"] = "made up"
    return made


DRAWN = ("training, every minibatch", "training", "training", "test set")


@pytest.mark.parametrize("lrs", [None, [0.1, 0.5]])
def test_the_legend_names_each_series_once(lrs):
    drawing = figure.training(a_run(("none", "batch", "l1"), lrs=lrs), {})
    (legend,) = drawing.finish().legends
    names = [text.get_text() for text in legend.get_texts()]
    assert len(names) == len(set(names)) == 6
    assert not any(panel.axes.get_legend() for panel in drawing.panels)


def test_the_figure_shows_every_minibatch_their_median_the_range_and_the_test_set():
    made = synthetic.diverged(a_run(seeds=3), "none")
    drawing = figure.training(made, {})
    loss, accuracy = drawing.panels
    rise = 100 * np.linspace(0, 1, synthetic.STEPS)
    each, band, line, test, end, *_ = accuracy.table
    assert [own.name for own in accuracy.table] == [
        *(f"no normalisation, {own}" for own in (*DRAWN, *["diverged"] * 3)),
        *(f"BatchNorm, {own}" for own in DRAWN),
    ]
    assert end.columns["x"].tolist() == [7]
    np.testing.assert_allclose(each.columns["y"], rise)
    last = np.concatenate([[0, rise[1] / 2], rise[1:-1]])  # the median of the last three
    np.testing.assert_allclose(line.columns["y"], 1 + last)
    np.testing.assert_allclose(band.columns["low"], last, atol=1e-9)
    np.testing.assert_allclose(band.columns["high"], 2 + last)
    np.testing.assert_allclose(test.columns["y"], [11, 81])
    assert loss.table[-1].name == "chance"
    assert [panel.axes.get_yscale() for panel in drawing.panels] == ["log", "linear"]
    assert (
        "median of the last 3 minibatches, faint: every minibatch of the first" in drawing.caption
    )


def test_rates_share_a_scale_and_one_at_which_no_arm_trains_is_said_in_the_caption():
    made = a_run(lrs=[0.1, 0.5, 1.0])
    made.data["train_loss"].loc[{"lr": 0.5}] = 2.3
    made.data["train_finite"].loc[{"lr": 0.5, "norm": "none", "step": 7}] = 0
    made.data["train_loss"].loc[{"lr": 1.0, "norm": "none"}] = 2.3
    drawing = figure.training(made, {})
    (loss, other, _), _ = drawing.rows
    assert loss.title == "Loss, learning rate 0.1"
    assert loss.axes.get_ylim() == other.axes.get_ylim()
    assert "lr 0.1" not in drawing.caption
    assert "lr 0.5: NO ARM TRAINS: no normalisation diverged at step 7; Batch" in drawing.caption
    assert "lr 1: no normalisation does not train" in drawing.caption
    assert "×: diverged" in drawing.caption


@pytest.mark.parametrize(("largest", "cut"), [(50.0, False), (1e30, True)])
def test_an_exploding_loss_ends_the_view_and_nothing_that_was_measured(largest, cut):
    made = a_run()
    made.data["train_loss"].loc[{"norm": "none", "step": 5}] = largest
    drawing = figure.training(made, {})
    low, high = drawing.panels[0].axes.get_ylim()
    assert (abs(high - 30 * math.log(10)) < 1e-6) == cut == ("outside" in drawing.caption)
    assert 0 < low < 0.1
    assert drawing.panels[0].table[0].columns["y"].max() == largest


@pytest.mark.parametrize(
    ("model", "lr", "norms", "quantity", "name"),
    [
        ("vgg11", 0.1, ["batch"], "accuracy", "fig3a_vgg_acc_lr0.1"),
        ("vgg16", 0.01, ["batch"], "accuracy", "fig3a_vgg_acc_lr0.01"),
        ("vgg16", 0.1, ["batch", "l1"], "accuracy", "fig5a_vgg_acc"),
        ("vgg16", 0.1, ["batch"], "loss", ""),
        ("mlp", 0.1, ["batch"], "accuracy", ""),
        ("dln", 1e-6, ["l1"], "loss", "fig5b_dln_loss"),
        ("dln", 1e-7, ["l1"], "loss", ""),
    ],
)
def test_published_curves_are_those_of_the_learning_rate(model, lr, norms, quantity, name):
    made = a_run(norms, model=model, lr=lr)
    assert figure.published_name(made, quantity) == name
    curve = Curve(np.array([0.0, 1.0]), np.array([1.0, 2.0]), np.array([1.0, 2.0]))
    drawing = figure.training(made, {(name, norms[-1]): curve})
    assert ("published" in drawing.caption) == bool(name)


def test_the_publications_settings_are_theirs():
    linear = lp_norms.STUDY.preset("paper", "dln")
    assert (linear.lr, linear.steps, linear.batch_size) == (1e-6, 10_000, 1000)
    paper = vgg_training.STUDY.preset("paper")
    assert (paper.model, paper.width, paper.steps, paper.lr) == ("vgg16", 1.0, 15_000, (0.1, 0.5))


def test_lp_norms_are_judged_and_drawn_as_training_curves():
    assert set(lp_norms.STUDY.part("CLAIMS")) < set(vgg_training.STUDY.part("CLAIMS"))
    assert lp_norms.STUDY.part("FIGURES") is vgg_training.STUDY.part("FIGURES")
