"""`--watch N`: the flight recorder in a study's own loop; all else stays as it is."""

import dataclasses

import numpy as np
import pytest
import xarray
from toy_runs import stop_at

import bnjax
from bnjax import data
from bnjax.commands import command_line
from bnjax.frame import folder, job, records, results
from bnjax.frame import study as studies
from bnjax.frame.interrupts import INTERRUPTED
from bnjax.studies import landscape, lp_norms

pytestmark = pytest.mark.usefixtures("standard_promotion")

BARE = dataclasses.replace(lp_norms.STUDY, parts={"CLAIMS": (), "FIGURES": ()})
CALL = ["--norms", "none", "batch", "--steps", "6", "--batch-size", "16", "--window", "1"]
CALL += ["--seeds", "2", "--lr", "0.1", "--checkpoint-steps", "1", "--weight-decay", "0.01"]


def run(out, *more):
    assert command_line.main(BARE, [*CALL, "--out", str(out), *more]) == 0
    (path,) = (out / "lp_norms").iterdir()
    return path


@pytest.fixture
def plain(toy, tmp_path):
    return run(tmp_path / "plain")


def test_a_watched_run_has_the_rows_of_the_recorder_and_else_the_arrays_of_one_that_is_not(
    plain, tmp_path
):
    path = run(tmp_path / "watched", "--watch", "2")
    with xarray.open_dataset(path / "results.nc") as found:
        found = found.load()
    own = [name for name in found.data_vars if str(name).startswith("recording_")]
    assert found["recording_rotations"].dims == ("norm", "seed", "watch_step", "group")
    assert found["watch_step"].values.tolist() == [0, 2, 4]
    assert found["group"].values.tolist() == ["conv1", "conv2", "output"]
    for name in own:
        assert found[name].notnull().all(), name
        assert found[name].attrs["long_name"]
    without = results.read(plain).data
    assert (
        found.drop_vars([*own, "watch_step", "group"])
        .drop_attrs(deep=False)
        .identical(without.drop_attrs(deep=False))
    )
    np.testing.assert_allclose(  # of the batch of the step, before its update
        found["recording_loss"], found["train_loss"].sel(step=[0, 2, 4]), rtol=1e-5
    )
    assert (path / "recording.png").exists()
    assert "recording" in {one["name"] for one in folder.read_summary(path).figures}
    assert bnjax.plot(path, figure="recording").panels[0].title == "a Loss"


def test_a_watched_run_goes_on_bit_for_bit(toy, tmp_path, monkeypatch):
    whole = results.read(run(tmp_path / "whole", "--watch", "2")).data
    call = [*CALL, "--watch", "2", "--out", str(tmp_path / "stopped")]
    with monkeypatch.context() as patch:
        stop_at(patch, 3)
        assert command_line.main(BARE, call) == INTERRUPTED
    assert results.read(run(tmp_path / "stopped", "--watch", "2")).data.identical(whole)


def test_without_it_a_run_has_the_name_that_it_had_before_there_was_one():
    options = lp_norms.STUDY.options()
    without = {name: value for name, value in vars(options).items() if name != "watch"}
    assert folder.digest_of(vars(options), []) == folder.digest_of(without, [])
    watched = dataclasses.replace(options, watch=5)
    assert folder.digest_of(vars(watched), []) != folder.digest_of(without, [])


@pytest.mark.parametrize(
    ("options", "formulas"),
    [
        ({"optimizer": "momentum"}, (3.8, -1e-3, np.sqrt(2 * 0.1 * 1e-3 / 1.9))),
        ({"optimizer": "adamw"}, (38.0, -19e-3, np.sqrt(2 * 0.1 * 1e-3 * 0.1 / 1.9))),
        ({"optimizer": "adam"}, None),  # decay in the gradient: no formula
        ({"optimizer": "sgd", "lr_drops": (0.5,)}, (2.0, -1e-3, np.sqrt(2 * 0.1 * 1e-3))),
    ],
)
def test_rates_decay_and_momentum_are_those_of_the_loops_optimiser(toy, options, formulas):
    options = landscape.STUDY.preset("toy").__class__(
        norms=("none",), batch_size=16, steps=4, lr=(0.1,), weight_decay=1e-3, watch=1, **options
    )
    dataset = data.load("digits")
    arm = job.make_arm(landscape.STUDY, options, dataset, *job.plan(options)[0])
    made = job.set_up(landscape.STUDY, arm)
    state, batch = made.begin(arm.key("data"))
    found = []
    for _ in range(3):
        gradient = made.program.gradient(state, batch)
        found.append(made.probes["recording"].measure(state, batch, gradient))
        state, _ = made.program.update(state, gradient)
    last = found[-1]
    rate = 0.01 if options.lr_drops else 0.1  # from step 2 on
    np.testing.assert_allclose(last.learning_rate, rate, rtol=1e-6)
    if formulas is None:
        assert np.isnan(last.momentum_edge)
        assert np.isnan(last.rotation_ratios).all()
        return
    edge, less, angle = formulas
    np.testing.assert_allclose(last.momentum_edge, edge / rate + less, rtol=1e-5)
    scaled = angle * np.sqrt(rate / 0.1)
    np.testing.assert_allclose(last.rotation_ratios, last.rotations / scaled, rtol=1e-5)


@pytest.mark.parametrize("name", studies.names())
def test_every_study_can_be_watched_also_where_its_arms_differ_in_depth(name):
    study = studies.find(name)
    options = dataclasses.replace(study.preset("toy"), watch=2)
    dataset = data.load(options.dataset, options.data_dir, seed=options.seed)
    axes = records.axis_values(study, options, dataset)
    known = {}
    for one in job.plan(options):
        if one.seed == options.seed:
            made = job.set_up(study, job.make_arm(study, options, dataset, *one), known=known)
            records.check(study, options, axes, made.layout, records.empty(made.layout))
            shapes = made.layout["recording"].shapes
            assert shapes.rotations.shape == (len(axes["group"]),)
