"""`--plan`: time, memory and disk of a run, before anything of it is written."""

import pytest
from toy_runs import STUDY, TOY, look, stop_at

from bnjax.commands import command_line, plan
from bnjax.frame import fingerprint, folder
from bnjax.frame import study as studies
from bnjax.studies import landscape


@pytest.mark.full
@pytest.mark.parametrize("name", studies.names())
def test_every_study_is_planned_and_nothing_is_written(name, tmp_path, capsys, standard_promotion):
    call = ["--preset", "toy", "--plan", "--debug", "--out", str(tmp_path / "runs")]
    assert command_line.main(studies.find(name), call) == 0
    said = capsys.readouterr().out
    assert {"time:", "memory:", "disk:"} <= set(said.split())
    assert not list(tmp_path.iterdir())


def test_a_plan_counts_what_the_run_does(toy, tmp_path):
    options = landscape.Options(
        steps=10, batch_size=16, probe_every=4, evaluate_every=5, seeds=3, out=tmp_path
    )
    arms = tuple(plan.plan(landscape.STUDY, options))
    assert [arm.label for arm in arms] == ["none", "batch"]
    for arm in arms:
        assert {part.name: part.times for part in arm.parts} == {"step": 10, "line": 3, "test": 3}
        assert all(part.seconds > 0 for part in arm.parts)
    found = plan.conclude(options, arms)
    first = sum(part.total for arm in arms for part in arm.parts)
    further = sum(part.times * part.seconds for arm in arms for part in arm.parts)
    assert found.seconds == pytest.approx(first + 2 * further)
    assert found.memory_bytes > 2**20
    assert not list(tmp_path.iterdir())


def test_the_disk_is_what_a_run_leaves_or_little_more(toy, tmp_path, capsys):
    call = [*TOY, "--seeds", "3", "--steps", "10", "--out", str(tmp_path)]
    options = command_line.prepare(STUDY, call)
    found = plan.conclude(options, tuple(plan.plan(STUDY, options)))
    assert command_line.main(STUDY, call) == 0
    left = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert left < found.disk_bytes < left + 2 * plan.FIGURE_BYTES


def test_after_a_run_a_plan_says_what_it_took(toy, tmp_path, monkeypatch, capsys):
    call = [*TOY, "--out", str(tmp_path)]
    with monkeypatch.context() as patch:
        stop_at(patch, 3)
        assert command_line.main(STUDY, call) == 130
    assert command_line.main(STUDY, call) == 0
    (run,) = (tmp_path / "lp_norms").iterdir()
    first, second = folder.read_sessions(run)
    assert min(first.seconds, second.seconds) > 0
    assert min(first.memory_bytes, second.memory_bytes) > 2**20
    before = look(tmp_path)
    capsys.readouterr()
    assert command_line.main(STUDY, [*call, "--plan"]) == 0
    finished, time, memory, disk = capsys.readouterr().out.splitlines()
    assert finished == f"finished before: {run}; it took"
    assert time == f"time: {plan.duration(first.seconds + second.seconds)}, in 2 sessions"
    assert memory == f"memory: {plan.size(max(first.memory_bytes, second.memory_bytes))} at most"
    sizes = [path.stat().st_size for path in run.rglob("*") if path.is_file()]
    assert disk == f"disk: {plan.size(sum(sizes))} in {len(sizes)} files"
    assert look(tmp_path) == before
    (run / folder.SESSIONS).write_text("{}")
    assert command_line.main(STUDY, [*call, "--plan"]) == 0
    assert "time, memory: not recorded in its folder" in capsys.readouterr().out


def test_a_plan_of_an_unfinished_run_says_that_to_go_on_would_be_refused(
    toy, tmp_path, monkeypatch, capsys
):
    call = [*TOY, "--out", str(tmp_path)]
    with monkeypatch.context() as patch:
        stop_at(patch, 3)
        assert command_line.main(STUDY, call) == 130
    before = look(tmp_path)
    assert command_line.main(STUDY, [*call, "--plan"]) == 0
    assert "it was begun: what is done already is not taken off" in capsys.readouterr().out
    monkeypatch.setattr(fingerprint, "version", lambda package: "99")
    assert command_line.main(STUDY, [*call, "--plan"]) == 1
    out, error = capsys.readouterr()
    assert out == ""
    assert "holds an unfinished run made under bnjax " in error
    assert error.count("\n") == 1
    for option in ("--fresh", "--accept-changes"):
        assert command_line.main(STUDY, [*call, "--plan", option]) == 0
        assert "time: " in capsys.readouterr().out
    assert look(tmp_path) == before


@pytest.mark.parametrize(("took", "calls"), [([9.0, 1.5, 1.0], 3), ([9.0, 2.5], 2)])
def test_what_takes_long_is_made_twice_only_to_be_planned(took, calls, monkeypatch):
    ticks = iter([tick for seconds in took for tick in (0.0, seconds)])
    monkeypatch.setattr(plan.time, "perf_counter", lambda: next(ticks))
    made = iter(range(10))
    part, value = plan.measure("step", 7, lambda: next(made))
    assert value == calls - 1 == next(made) - 1
    assert part == plan.Part("step", 7, min(took[1:]), 9.0 - min(took[1:]))


def test_times_and_sizes_are_said_in_units_that_fit():
    times = [plan.duration(seconds) for seconds in (0.5, 90.0, 600.0, 9000.0)]
    assert times == ["500 ms", "90 s", "10 min", "2.5 h"]
    assert [plan.size(b) for b in (2048, 5 * 2**20, 2**31)] == ["2 KiB", "5 MiB", "2 GiB"]
