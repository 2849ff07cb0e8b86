"""Units of work: what befalls one seed befalls no other, and little is ever at risk."""

import _thread
import signal
import threading
import time
import types

import jax
import numpy as np
import pytest
from toy_runs import EXPERIMENT, TOY

from bnjax.commands import command_line
from bnjax.frame import arms, checkpoints, displays, results, run_arm, units
from bnjax.studies.landscape import study as landscape

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning", "ignore::DeprecationWarning")
ALONE = [*TOY, "--norms", "none"]


def read(root):
    (run,) = root.glob("*/*/config.json")
    return results.read(run.parent)


def test_a_seed_that_diverges_ends_there_and_the_other_is_as_if_alone(toy, tmp_path, monkeypatch):
    assert command_line.main(EXPERIMENT, [*ALONE, "--out", str(tmp_path / "alone")]) == 0
    begin = arms.first_state

    def start(arm, *rest):
        state, batch = begin(arm, *rest)
        size = 1e30 if arm.seed == 1 else 1.0
        return state._replace(params=jax.tree.map(lambda leaf: leaf * size, state.params)), batch

    monkeypatch.setattr(arms, "first_state", start)
    both = [*ALONE, "--seeds", "2", "--out", str(tmp_path / "both")]
    assert command_line.main(EXPERIMENT, both) == 0
    found, alone = read(tmp_path / "both"), read(tmp_path / "alone")
    assert not found.select("train.finite", seed=1).all()
    for name in alone.arrays:
        one = alone.select(name, seed=0)
        np.testing.assert_array_equal(found.select(name, seed=0), one, err_msg=name)


@pytest.mark.parametrize(
    ("takes", "expected"),
    [(0.1, [3, 6, 9, 10]), (3.0, [3, 9, 10])],  # 3 s are 2 % of six steps
)
def test_no_more_than_the_interval_of_checkpoints_and_a_step_is_at_risk(
    toy, tmp_path, monkeypatch, takes, expected
):
    """But for large states, whose saves would take more than 2 % of the time."""
    clock, saved = [0.0], []
    advance, save = displays.PlainDisplay.advance, checkpoints.save

    def slow(*given):
        clock[0] += 25.0  # seconds a step; a checkpoint a minute is the default
        advance(*given)

    def note(place, step, tree):
        saved.append(step)
        save(place, step, tree)
        clock[0] += takes

    monkeypatch.setattr(run_arm, "time", types.SimpleNamespace(monotonic=lambda: clock[0]))
    monkeypatch.setattr(displays.PlainDisplay, "advance", slow)
    monkeypatch.setattr(checkpoints, "save", note)
    default = [*TOY, "--norms", "none", "--checkpoint-steps", "0", "--steps", "10"]
    assert command_line.main(EXPERIMENT, [*default, "--out", str(tmp_path)]) == 0
    assert saved == expected


@pytest.mark.parametrize(
    ("together", "error", "tries"),
    [(False, MemoryError, 3), (True, jax.errors.JaxRuntimeError, 1)],
)
def test_of_processes_in_step_none_tries_again_with_fewer_points_by_itself(
    toy, noise_dataset, tmp_path, monkeypatch, together, error, tries
):
    tried = []

    def short(config, *call):
        tried.append(config.chunk)
        raise jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: out of memory")

    monkeypatch.setattr(units, "run_arm", short)
    config = landscape.Config(chunk=4, batch_size=10)
    execution = run_arm.Execution(displays.PlainDisplay(1), together=together)
    with pytest.raises(error):
        units.run_unit(
            landscape.EXPERIMENT, config, noise_dataset, tmp_path, units.plan(config)[0], execution
        )
    assert tried == [4, 2, 1][:tries]


@pytest.fixture
def interruptible():
    """SIGINT raises KeyboardInterrupt, also where the shell had it ignored (`pytest &`)."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_a_second_interrupt_waits_until_no_thread_writes_any_more():
    both = [units.Unit({}, seed) for seed in (1, 2)]
    started, ended = threading.Barrier(3), []

    def work(unit, mesh):
        started.wait()
        time.sleep(0.5)  # so that whoever does not wait is seen
        ended.append(unit)

    def interrupt():
        started.wait()
        _thread.interrupt_main()

    threading.Thread(target=interrupt).start()
    with pytest.raises(KeyboardInterrupt):
        units.run_units(both, work, [None, None], stopped=lambda: False)
    assert sorted(unit.seed for unit in ended) == [1, 2]
