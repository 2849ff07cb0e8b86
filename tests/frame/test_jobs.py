"""Jobs: what befalls one seed or rate befalls no other, and little is ever at risk."""

import _thread
import dataclasses
import os
import signal
import sys
import threading
import time
import types

import jax
import numpy as np
import pytest
from toy_runs import STUDY, TOY, figure

from bnjax import data, models
from bnjax.commands import command_line
from bnjax.errors import RunError, UsageError
from bnjax.frame import checkpoints, job, layout, listener, results
from bnjax.frame.arm import compile_program
from bnjax.studies import landscape
from bnjax.train.optimizers import Rule

ALONE = [*TOY, "--norms", "none"]


def run(study, place, *arguments):
    assert command_line.main(study, [*arguments, "--debug", "--out", str(place)]) == 0
    (path,) = place.glob("*/*/config.json")
    return results.read(path.parent)


def test_a_seed_that_diverges_ends_there_and_the_other_is_as_if_alone(toy, tmp_path, monkeypatch):
    alone = run(STUDY, tmp_path / "alone", *ALONE)
    begin = job.first_state

    def start(arm, *rest):
        state, batch = begin(arm, *rest)
        size = 1e30 if arm.seed == 1 else 1.0
        return state._replace(params=jax.tree.map(lambda leaf: leaf * size, state.params)), batch

    monkeypatch.setattr(job, "first_state", start)
    both = run(STUDY, tmp_path / "both", *ALONE, "--seeds", "2")
    assert both.data.sel(seed=[0]).identical(alone.data)
    assert (both["train_finite"].sel(seed=1) != 1).all()


def test_of_several_rates_one_diverges_and_the_other_gives_what_it_gives_alone(toy, tmp_path):
    study = dataclasses.replace(landscape.STUDY, parts={"CLAIMS": (), "FIGURES": (figure,)})
    call = ["--steps", "4", "--batch-size", "16", "--probe-every", "2", "--norms", "none"]
    both = run(study, tmp_path / "both", *call, "--lr", "0.4", "1e25")
    several = both.sel(lr=0.4)
    alone = run(study, tmp_path / "alone", *call, "--lr", "0.4")
    assert several.options["lr"] == alone.options["lr"] == 0.4
    for name, values in alone.data.items():
        assert several[name].dims == values.dims
        np.testing.assert_array_equal(several[name].values, values.values, err_msg=str(name))
    ended = both.sel(lr=1e25, norm="none", seed=0)
    finite = ended["train_finite"].values
    end = int(np.flatnonzero(finite == 0)[0])
    assert end > 0
    assert (finite[:end] == 1).all()
    assert np.isnan(finite[end + 1 :]).all()
    assert not np.isfinite(ended["train_loss"].values[end])
    assert np.isfinite(ended["line_loss"].values[0]).all()  # what was measured is kept


@pytest.mark.parametrize(
    ("takes", "expected"),
    [(0.1, [3, 6, 9, 10]), (3.0, [3, 9, 10])],  # 3 s are 2 % of six steps
)
def test_no_more_than_the_interval_of_checkpoints_and_a_step_is_at_risk(
    toy, tmp_path, monkeypatch, takes, expected
):
    """But for large states, whose saves would take more than 2 % of the time."""
    clock, saved = [0.0], []
    advance, save = listener.PlainDisplay.advance, checkpoints.save

    def slow(*given):
        clock[0] += 25.0  # seconds a step; a checkpoint a minute is the default
        advance(*given)

    def note(place, step, tree):
        saved.append(step)
        save(place, step, tree)
        clock[0] += takes

    monkeypatch.setattr(job, "time", types.SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(listener.PlainDisplay, "advance", slow)
    monkeypatch.setattr(checkpoints, "save", note)
    run(STUDY, tmp_path, *ALONE, "--checkpoint-steps", "0", "--steps", "10")
    assert saved == expected


@pytest.mark.parametrize(
    ("together", "error", "tries"),
    [(False, MemoryError, 3), (True, RunError, 1)],
)
def test_where_memory_is_short_fewer_points_are_tried_but_not_by_processes_in_step(
    toy, noise_dataset, tmp_path, monkeypatch, capsys, together, error, tries
):
    tried = []

    def short(study, arm, *rest):
        tried.append(arm.options.chunk)
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")

    monkeypatch.setattr(job, "run_arm", short)
    options = landscape.Options(chunk=4, batch_size=10)
    execution = job.Execution(together=together)
    with pytest.raises(error):
        job.run_job(
            landscape.STUDY, options, noise_dataset, tmp_path, job.plan(options)[0], execution
        )
    assert tried == [4, 2, 1][:tries]
    assert capsys.readouterr().err.count("points are probed at a time") == tries - 1


@pytest.fixture
def interruptible():
    """SIGINT raises KeyboardInterrupt, also where the shell had it ignored (`pytest &`)."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_one_gradient_serves_every_optimiser_and_each_has_its_own_update():
    model = models.mlp(norm=models.norms.none(), width=0.1).initialised
    pipeline = data.Pipeline(8, 8, (0.0,), (1.0,))
    sgd, adam = (compile_program(model, Rule(name), pipeline) for name in ("sgd", "adam"))
    assert adam.gradient is sgd.gradient
    assert adam.batch is sgd.batch
    assert adam.update is not sgd.update


def test_a_second_interrupt_waits_until_no_thread_writes_any_more():
    both = [job.Job({}, seed) for seed in (1, 2)]
    started, ended = threading.Barrier(3), []

    def work(one, mesh):
        started.wait()
        time.sleep(0.5)  # so that whoever does not wait is seen
        ended.append(one)

    def interrupt():
        started.wait()
        _thread.interrupt_main()

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        job.run_jobs(both, work, [None, None], stopped=lambda: False)
    assert sorted(one.seed for one in ended) == [1, 2]


def test_a_job_that_fails_does_not_stop_the_others():
    done = []

    def work(one, mesh):
        if one.seed == 1:
            raise ValueError("broken\nnetwork")
        done.append(one.seed)

    jobs = [job.Job({"norm": "batch"}, seed) for seed in range(3)]
    expected = r"^1 of 3 arms failed: batch, seed 1: ValueError: broken network: the others are"
    with pytest.raises(RuntimeError, match=expected):
        job.run_jobs(jobs, work, [None], stopped=lambda: False)
    assert done == [0, 2]
    with pytest.raises(ValueError, match="broken"):
        job.run_jobs(jobs, work, [None], stopped=lambda: False, debug=True)


@pytest.mark.parametrize("meshes", [[None], [None, None]])
def test_a_job_that_ends_its_process_fails_like_any_other(meshes):
    jobs = [job.Job({"norm": "batch"}, seed) for seed in range(2)]
    with pytest.raises(RunError, match=r"^2 of 2 arms failed: batch, seed .* SystemExit"):
        job.run_jobs(jobs, lambda one, mesh: sys.exit(), meshes, stopped=lambda: False)


def test_all_arms_of_a_seed_come_before_those_of_the_next():
    jobs = [job.Job({"norm": norm}, seed) for norm in ("none", "batch") for seed in (0, 1)]
    done = []
    found = job.run_jobs(
        jobs, lambda one, mesh: done.append(one.label), [None], stopped=lambda: False
    )
    assert done == ["none, seed 0", "batch, seed 0", "none, seed 1", "batch, seed 1"]
    assert len(found) == len(jobs)


def test_a_number_of_threads_that_is_none_is_named(monkeypatch):
    monkeypatch.setenv("NPROC", "banana")
    with pytest.raises(UsageError, match=r"NPROC banana: must be a whole number of threads"):
        layout.prepare(2, 1)


def test_two_jobs_at_once_share_a_cpu():
    assert len(layout.make_layout(1, 1).meshes) == min(2, os.cpu_count() or 1)
    begun = threading.Barrier(2, timeout=30)
    jobs = [job.Job({"norm": norm}, 0) for norm in ("none", "batch")]
    job.run_jobs(jobs, lambda one, mesh: begun.wait(), [None, None], stopped=lambda: False)


def test_jobs_at_the_same_time_have_the_callers_settings_of_jax():
    jobs = [job.Job({"norm": norm}, 0) for norm in ("none", "batch")]

    def work(one, mesh):
        config = jax.config
        return (
            config.jax_enable_x64, config.jax_numpy_dtype_promotion, config.jax_softmax_custom_jvp
        )  # fmt: skip

    usual = work(None, None)
    other = not usual[0], "standard" if usual[1] == "strict" else "strict", not usual[2]
    for meshes in ([None], [None, None]):
        assert job.run_jobs(jobs, work, meshes, stopped=lambda: False) == [usual, usual]
        both = jax.enable_x64(other[0]), jax.numpy_dtype_promotion(other[1])
        with both[0], both[1], jax.softmax_custom_jvp(other[2]):
            assert job.run_jobs(jobs, work, meshes, stopped=lambda: False) == [other, other]
