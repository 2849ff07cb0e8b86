"""What a person sees before and while a run goes on: the plan, the display, event files."""

import io
import re
import struct

import numpy as np
import pytest
from rich.console import Console
from toy_runs import EXPERIMENT, TOY, stop_at

from bnjax.commands import catalogue
from bnjax.commands import command_line as frame
from bnjax.commands.planned import duration, size
from bnjax.frame import displays, event_files, planning, readings, results
from bnjax.frame.arms import Arm
from bnjax.frame.interrupts import INTERRUPTED

# Every experiment, with what the toy network lacks; the rest of theirs stands in other tests.
PLANNED = {
    "batch_size": ["--batch-sizes", "4", "8", "--norms", "batch"],
    "batchnorm_only": ["--batch-size", "16", "--depths", "8", "--width", "0.25", "--trained", "bn"],
    "distributions": ["--batch-size", "16", "--layers", "conv1"],
    "gradient_magnitudes": ["--batch-size", "16"],
    "noisy_batchnorm": ["--batch-size", "16", "--layers", "conv1", "--norms", "none", "batch"],
    "optimizers": ["--batch-size", "16", "--optimizers", "sgd", "--window", "1"],
    "shift": ["--batch-size", "16", "--layers", "conv2", "--lrs", "0.1"],
    "spectrum": [
        "--batch-size",
        "16",
        "--images",
        "16",
        "--chunk",
        "16",
        "--lanczos-steps",
        "4",
        "--top",
        "2",
    ],
    "theory": ["--batch-size", "16", "--layers", "conv2"],
    "earth_mover": ["--batch-size", "16", "--layers", "conv1", "conv2"],
    "surface": ["--batch-size", "16", "--points", "3", "--lines", "2", "--images", "32"],
    "sigmoid_mnist": ["--batch-size", "16", "--width", "0.1", "--inputs", "40", "--singles", "5"],
}


def read_events(folder):
    """The scalars of a folder's event files as TensorBoard has them: `{tag: {step: value}}`."""
    proto = pytest.importorskip("tensorboardX.proto.event_pb2", reason="no tensorboardX here")
    found = {}
    for path in sorted(folder.iterdir(), key=lambda path: path.stat().st_mtime_ns):
        data = path.read_bytes()
        while data:
            (length,) = struct.unpack("<Q", data[:8])
            event = proto.Event.FromString(data[12 : 12 + length])
            data = data[16 + length :]
            if event.session_log.status == event.session_log.START:
                for steps in found.values():
                    for step in [step for step in steps if step >= event.step]:
                        del steps[step]
            for value in event.summary.value:
                assert event.step not in found.setdefault(value.tag, {}), "a step written twice"
                found[value.tag][event.step] = value.simple_value
    return found


@pytest.mark.parametrize("stopped", [False, True])
def test_event_files_hold_what_was_measured_once(toy, tmp_path, monkeypatch, stopped):
    pytest.importorskip("tensorboardX", reason="tensorboardX is not installed here")
    call = [*TOY, "--tensorboard", "--evaluate-every", "2", "--out", str(tmp_path)]
    if stopped:
        with monkeypatch.context() as patch:
            stop_at(patch, 2)
            assert frame.main(EXPERIMENT, call) == INTERRUPTED
    assert frame.main(EXPERIMENT, call) == 0
    (run,) = (tmp_path / EXPERIMENT.name).iterdir()
    found = results.read(run)
    for norm in found.axes["norm"]:
        events = read_events(run / event_files.FOLDER / f"{norm}-0")
        for tag, dim in (("train/loss", "step"), ("test/accuracy", "test_step")):
            values = found.select(tag.replace("/", "."), norm=norm, seed=0)
            measured = dict(zip(found.axes[dim].tolist(), values.tolist(), strict=True))
            assert events[tag] == pytest.approx(measured), tag


def test_event_files_change_nothing_that_is_measured(toy, tmp_path):
    pytest.importorskip("tensorboardX", reason="tensorboardX is not installed here")
    for name, more in (("with", ["--tensorboard"]), ("without", [])):
        assert frame.main(EXPERIMENT, [*TOY, *more, "--out", str(tmp_path / name)]) == 0
    first, second = (
        (next((tmp_path / name / EXPERIMENT.name).iterdir()) / "probes.npz").read_bytes()
        for name in ("with", "without")
    )
    assert first == second


def test_without_the_package_a_line_says_what_to_install(toy, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "tensorboardX", None)
    assert frame.main(EXPERIMENT, [*TOY, "--tensorboard", "--out", str(tmp_path)]) == 2
    assert "pip install tensorboardX" in capsys.readouterr().err


def test_many_values_become_their_mean_and_extremes():
    values = np.arange(100.0).reshape(10, 10)
    values[0, 0] = np.nan
    found = dict(event_files.curves("x.y", ["a", "b"], values, {}))
    assert found == {"x/y/mean": 50.0, "x/y/min": 1.0, "x/y/max": 99.0}
    assert event_files.curves("x.y", ["a", "b"], np.full((10, 10), np.nan), {}) == []
    assert event_files.curves("x.y", [], np.array(np.nan), {}) == []


@pytest.mark.parametrize("name", PLANNED)
def test_an_experiment_is_planned_and_nothing_is_written(name, request, tmp_path, capsys):
    if name not in ("sigmoid_mnist", "batchnorm_only"):  # which have small networks of their own
        request.getfixturevalue("toy")
    if name == "batchnorm_only":
        request.getfixturevalue("standard_promotion")
    call = ["--steps", "6", "--probe-every", "2", "--evaluate-every", "4", *PLANNED[name]]
    experiment = catalogue.find_experiment(name)
    assert (
        frame.main(experiment, [*call, "--plan", "--debug", "--out", str(tmp_path / "runs")]) == 0
    )
    said = capsys.readouterr().out
    assert {"time:", "memory:", "disk:"} <= set(said.split())
    assert not list(tmp_path.iterdir())


def test_a_plan_counts_what_the_run_does(toy, tmp_path):
    experiment = catalogue.find_experiment("landscape")
    config = experiment.presets["quick"].__class__(
        steps=10, batch_size=16, probe_every=4, evaluate_every=5, seeds=3, out=tmp_path
    )
    arms = tuple(planning.plan(experiment, config))
    assert [arm.label for arm in arms] == ["none", "batch"]
    for arm in arms:
        assert {part.name: part.times for part in arm.parts} == {"step": 10, "line": 3, "test": 3}
        assert all(part.seconds > 0 for part in arm.parts)
    found = planning.conclude(config, arms)
    first = sum(part.total for arm in arms for part in arm.parts)
    further = sum(part.times * part.seconds for arm in arms for part in arm.parts)
    assert found.seconds == pytest.approx(first + 2 * further)
    assert found.memory_bytes > 2**20

    # The disk: what a run of these options leaves is below, but not far below.
    assert frame.main(experiment, [*arguments(config), "--seeds", "3"]) == 0
    left = sum(path.stat().st_size for path in tmp_path.rglob("*") if path.is_file())
    assert left < found.disk_bytes < left + 2 * planning.FIGURE_BYTES


@pytest.mark.parametrize(("took", "calls"), [([9.0, 1.5, 1.0], 3), ([9.0, 2.5], 2)])
def test_what_takes_long_is_made_twice_only_to_be_planned(took, calls, monkeypatch):
    ticks = iter([tick for seconds in took for tick in (0.0, seconds)])
    monkeypatch.setattr(planning.time, "perf_counter", lambda: next(ticks))
    made = iter(range(10))
    part, value = planning.measure("step", 7, lambda: next(made))
    assert value == calls - 1 == next(made) - 1
    assert part == planning.Part("step", 7, min(took[1:]), 9.0 - min(took[1:]))


def arguments(config):
    names = ("steps", "batch_size", "probe_every", "evaluate_every", "out")
    return [text for n in names for text in (f"--{n.replace('_', '-')}", str(getattr(config, n)))]


def test_times_and_sizes_are_said_in_units_that_fit():
    assert [duration(s) for s in (0.5, 90.0, 600.0, 9000.0)] == [
        "500 ms",
        "90 s",
        "10 min",
        "2.5 h",
    ]
    assert [size(b) for b in (2048, 5 * 2**20, 2**31)] == ["2 KiB", "5 MiB", "2 GiB"]


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_terminal_shows_curve_probes_and_time_left(noise_dataset, width):
    arm = Arm({"norm": "batch"}, 0, None, noise_dataset, None)
    record = {
        "complete": np.zeros(()),
        "train.finite": np.array([1.0, 1.0, np.nan, np.nan]),
        "train.loss": np.array([8.0, 4.0, np.nan, np.nan]),
        "train.accuracy": np.array([0.1, 0.2, np.nan, np.nan]),
        "line.step_sizes": np.ones((2, 2)),
        "line.cosines": np.array([[0.9, 0.7], [np.nan, np.nan]]),
        "line.smoothness": np.array([[2.0, 3.0], [np.nan, np.nan]]),
        "_path.snapshots": np.ones((2, 3)),
    }
    clock = iter(range(1000))
    console = Console(file=io.StringIO(), width=width)
    bars = displays.Bars(console=console, auto_refresh=False, get_time=lambda: next(clock))
    shown = displays.RichDisplay(bars, units=2, shown=("line.smoothness", "line.cosines"))
    for done in (1, 2, 3):
        shown.latest = 0.0
        shown.advance(arm, done, record)
    with console.capture() as capture:
        console.print(bars.get_renderable())
    whole, own, *below = capture.get().splitlines()
    bar = r" +[━╸╺]+[━╸╺ ]*"
    assert re.fullmatch(rf"all arms{bar} 0/2 \d\d:\d\d left *", whole)
    assert re.fullmatch(rf"batch, seed 0{bar} 3/4 \d\d:\d\d left *", own)
    assert [line.strip() for line in below] == [
        "minibatch loss 4.0000, accuracy 0.200",
        "loss █▁",
        "line: smoothness 2 … 3, cosines 0.7 … 0.9",
    ]


def test_the_numbers_shown_are_those_that_have_arrived_however_far_behind():
    measured = np.array([1.0, 1.0, *[np.nan] * 6])  # a block of six steps is under way
    record = {"train.finite": measured, "train.loss": 4 * measured, "train.accuracy": measured / 2}
    assert readings.newest_step(record, 8) == "minibatch loss 4.0000, accuracy 0.500"
    record["train.accuracy"] = np.full(8, np.nan)  # of targets that are no classes
    assert readings.newest_step(record, 8) == "minibatch loss 4.0000"
    record["train.finite"] = np.full(8, np.nan)
    assert readings.newest_step(record, 1) == "first numbers under way"


def test_probes_without_a_choice_show_their_first_fields_and_nothing_private():
    record = {"a.first": np.array([[1.0], [2.0]]), "_path.snapshots": np.ones((2, 3))}
    assert readings.newest_probes(record) == ["a: first 2"]


def test_what_was_done_before_tells_nothing_of_the_time_left(noise_dataset):
    clock = [0.0]
    bars = displays.Bars(console=Console(file=io.StringIO()), get_time=lambda: clock[0])
    shown = displays.RichDisplay(bars, units=2)
    record = {
        "train.finite": np.ones(100),
        "train.loss": np.ones(100),
        "train.accuracy": np.ones(100),
    }
    shown.finish(Arm({"norm": "none"}, 0, None, noise_dataset, None), record)
    arm = Arm({"norm": "batch"}, 0, None, noise_dataset, None)
    for done in range(51, 61):  # a second each, from the checkpoint at step 50
        clock[0] += 1
        shown.latest = 0.0
        shown.advance(arm, done, record)
    (whole,) = [task for task in bars.tasks if task.description == "all arms"]
    assert whole.time_remaining == pytest.approx(40, abs=5)


@pytest.mark.parametrize("values", [[], [np.nan], [-1.0, 0.0], [np.inf]])
def test_a_curve_without_values_is_blank(values):
    assert readings.sparkline(np.array(values)).strip() == ""


def test_a_long_curve_fits_a_line():
    drawn = readings.sparkline(np.geomspace(100, 1, 1000))
    assert len(drawn) == readings.CURVE_WIDTH
    assert list(drawn) == sorted(drawn, reverse=True)
