"""What a person sees while a run goes on: the display, and event files for TensorBoard."""

import dataclasses
import io
import re
import struct
import threading

import numpy as np
import pytest
from rich.console import Console
from toy_runs import STUDY, TOY, stop_at

from bnjax import draw
from bnjax.commands import command_line
from bnjax.frame import folder, job, layout, listener, results
from bnjax.frame.arm import Arm
from bnjax.frame.interrupts import INTERRUPTED


def loss_figure(run, published):
    drawing = draw.Drawing("loss", size=(3.0, 2.0))
    draw.curves(drawing.panels[0], run, run["train_loss"])
    return drawing


SHOWN = dataclasses.replace(STUDY, parts={"FIGURES": (loss_figure,)})  # with its claims


def an_arm(norm):
    return Arm({"norm": norm}, 0, None, None, None, None)


def read_values(place):
    """What a folder's event files hold as TensorBoard has it: `{tag: {step: value}}`."""
    proto = pytest.importorskip("tensorboardX.proto.event_pb2", reason="no tensorboardX here")
    found = {}
    for path in sorted(place.glob("events*"), key=lambda path: path.stat().st_mtime_ns):
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
                found[value.tag][event.step] = value
    return {tag: steps for tag, steps in found.items() if steps}


def read_events(place):
    """The curves of a folder's event files."""
    return {
        tag: {step: value.simple_value for step, value in steps.items()}
        for tag, steps in read_values(place).items()
        if not any(value.HasField("metadata") for value in steps.values())
    }


@pytest.mark.parametrize("stopped", [False, True])
def test_event_files_hold_what_was_measured_once_and_change_nothing(
    toy, tmp_path, monkeypatch, stopped
):
    pytest.importorskip("tensorboardX", reason="tensorboardX is not installed here")
    call = [*TOY, "--evaluate-every", "2", "--out"]
    plain = command_line.start(SHOWN, *call, str(tmp_path / "plain"))
    call += [str(tmp_path), "--tensorboard"]
    if stopped:
        with monkeypatch.context() as patch:
            stop_at(patch, 2)
            assert command_line.main(SHOWN, call) == INTERRUPTED
    path = command_line.start(SHOWN, *call)
    for name in (folder.RESULTS, folder.METRICS):
        assert (path / name).read_bytes() == (plain / name).read_bytes()
    run = results.read(path)
    for norm in run.norms:
        events = read_events(path / listener.FOLDER / f"{norm}-0")
        for tag, axis in (("train/loss", "step"), ("test/accuracy", "test_step")):
            values = run[tag.replace("/", "_")].sel(norm=norm, seed=0).values.tolist()
            expected = dict(zip(run.values(axis), values, strict=True))
            assert events[tag] == pytest.approx(expected), tag
        changing = {tag: len(set(steps.values())) > 1 for tag, steps in events.items()}
        assert not [tag for tag in changing if not changing[tag] and tag not in listener.MAIN]
        assert "train/finite" not in events
    shown = read_values(path / listener.FOLDER)
    (claims,) = shown["claims/text_summary"].values()
    told = claims.tensor.string_val[0].decode()
    verdicts = folder.read_summary(path).verdicts
    assert told.count("\n") == 1 + len(verdicts)
    assert all(f"| {one['verdict']} | {one['sentence']} |" in told for one in verdicts)
    for figure in folder.read_summary(path).figures:
        ((step, picture),) = shown[figure["name"]].items()
        content = picture.image.encoded_image_string
        assert (step, content[:4]) == (run.options["steps"], b"\x89PNG")
        assert (picture.image.width, picture.image.height) == struct.unpack(
            ">II", (path / f"{figure['name']}.png").read_bytes()[16:24]
        )


def test_event_files_have_the_options_of_each_arm(toy, tmp_path):
    plugin = pytest.importorskip("tensorboardX.proto.plugin_hparams_pb2")
    path = command_line.start(SHOWN, *TOY, "--tensorboard", "--out", str(tmp_path))
    for norm in ("none", "batch"):
        values = read_values(path / listener.FOLDER / f"{norm}-0")
        (start,) = values["_hparams_/session_start_info"].values()
        content = plugin.HParamsPluginData.FromString(start.metadata.plugin_data.content)
        given = content.session_start_info.hparams
        options = results.read(path).options
        assert given["norm"].string_value == norm
        assert given["lr"].number_value == options["lr"]
        assert given["batch_size"].number_value == options["batch_size"]
        assert not {"out", "data_dir", "decays"} & set(given)
        (one,) = values["_hparams_/experiment"].values()
        metrics = plugin.HParamsPluginData.FromString(one.metadata.plugin_data.content)
        named = {metric.name.tag for metric in metrics.experiment.metric_infos}
        assert named == set(listener.MAIN) <= set(values)


def test_a_curve_begins_when_it_changes_and_then_has_all_its_points(tmp_path):
    pytest.importorskip("tensorboardX")
    files = listener.EventFiles(tmp_path)
    arm = an_arm("batch")
    files.constant[arm.folder] = {}
    values = enumerate((1.0, 1.0, 2.0, 2.0))
    due = [files.due(arm, "line/beta", step, value) for step, value in values]
    assert due == [[], [], [(0, 1.0), (1, 1.0), (2, 2.0)], [(3, 2.0)]]
    assert files.due(arm, "test/accuracy", 0, 0.1) == [(0, 0.1)]


def test_without_the_package_a_line_says_what_to_install(toy, tmp_path, monkeypatch, capsys):
    monkeypatch.setitem(__import__("sys").modules, "tensorboardX", None)
    out = tmp_path / "runs"
    assert command_line.main(STUDY, [*TOY, "--tensorboard", "--out", str(out)]) == 2
    assert 'pip install "bnjax[tensorboard]"' in capsys.readouterr().err
    assert not out.exists()


def test_many_values_become_their_mean_and_extremes():
    values = np.arange(100.0).reshape(10, 10)
    values[0, 0] = np.nan
    found = dict(listener.curves("x/y", ["a", "b"], values, {}))
    assert found == {"x/y/mean": 50.0, "x/y/min": 1.0, "x/y/max": 99.0}
    assert listener.curves("x/y", ["a", "b"], np.full((10, 10), np.nan), {}) == []
    assert listener.curves("x/y", [], np.array(np.nan), {}) == []


def a_record(steps, known):
    values = np.where(np.arange(steps) < known, 1.0, np.nan)
    return {"train_finite": values, "train_loss": 8 * 0.5 ** np.arange(steps) * values,
            "train_accuracy": 0.1 * np.arange(1, steps + 1) * values}  # fmt: skip


@pytest.mark.parametrize("width", [60, 80, 120])
def test_the_terminal_shows_curve_probes_and_time_left(width):
    record = {
        "complete": np.zeros(()),
        **a_record(4, 2),
        "line_step_sizes": np.ones((2, 2)),
        "line_cosines": np.array([[0.9, 0.7], [np.nan, np.nan]]),
        "line_smoothness": np.array([[2.0, 3.0], [np.nan, np.nan]]),
        "_path_snapshots": np.ones((2, 3)),
    }
    clock = iter(range(1000))
    console = Console(file=io.StringIO(), width=width)
    bars = listener.Bars(console=console, auto_refresh=False, get_time=lambda: next(clock))
    shown = listener.RichDisplay(bars, jobs=2, shown=("line_smoothness", "line_cosines"))
    shown.steps = {"line_smoothness": np.array([0, 2])}
    for done in (1, 2, 3):
        shown.latest = 0.0
        shown.advance(an_arm("batch"), done, {**record, **a_record(4, done - 1)})
    with console.capture() as capture:
        console.print(bars.get_renderable())
    whole, own, *below = capture.get().splitlines()
    bar = r" +[━╸╺]+[━╸╺ ]*"
    assert re.fullmatch(rf"all arms{bar} 0/2 \d\d:\d\d left *", whole)
    assert re.fullmatch(rf"batch, seed 0{bar} 2/4 \d\d:\d\d left *", own)
    assert [line.strip() for line in below] == [
        "minibatch loss 4.0000, accuracy 0.200",
        "loss █▁",
        "line smoothness 2 … 3 at step 0",
        "line cosines 0.7 … 0.9",
    ]


def test_the_first_loss_is_shown_before_anything_is_measured(toy, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(layout, "SIDE_BY_SIDE", layout.ALONE)
    happened = []

    class Ear(listener.Listener):
        def begin(self, arm, step, loss):
            happened.append((arm.label, step, loss))

    def noting(*given, measured=job.test_probe):
        probe = measured(*given)
        return probe._replace(
            measure=lambda *seen: (happened.append("test"), probe.measure(*seen))[1]
        )

    monkeypatch.setattr(job, "test_probe", noting)
    path = command_line.start(STUDY, *TOY, "--out", str(tmp_path), listeners=[Ear()])
    losses = results.read(path)["train_loss"].sel(seed=0)
    shown = capsys.readouterr().out
    for norm in ("none", "batch"):
        loss = float(losses.sel(norm=norm)[0])
        place = happened.index((f"{norm}, seed 0", 0, loss))
        assert happened[place + 1] == "test"
        assert f"{norm}, seed 0: step 0 begins with minibatch loss {loss:.4f}, " in shown
    assert len([event for event in happened if event != "test"]) == 2


def test_the_numbers_shown_are_those_that_have_arrived_however_far_behind():
    record = a_record(8, 2)  # a block of six steps is under way
    assert listener.arrived(record) == 2
    assert listener.newest_step(record) == "minibatch loss 4.0000, accuracy 0.200"
    record["train_accuracy"] = np.full(8, np.nan)  # of targets that are no classes
    assert listener.newest_step(record) == "minibatch loss 4.0000"
    assert listener.newest_step(a_record(8, 0)) == "first numbers under way"
    record["train_finite"][1] = 0
    assert listener.newest_step(record) == "diverged"


@pytest.mark.parametrize(("steps", "block"), [(4, 1), (30, 1), (100, 7)])
def test_a_line_has_the_loss_of_its_own_step_and_the_last_step_has_one(capsys, steps, block):
    shown = listener.PlainDisplay(1)
    for known in range(0, steps, block):  # a step or a block is under way
        shown.advance(an_arm("batch"), min(known + block, steps), a_record(steps, known))
    shown.finish(an_arm("batch"), a_record(steps, steps))
    lines = capsys.readouterr().out.splitlines()
    told = [re.match(r"batch, seed 0: step (\d+)/\d+, minibatch loss ([\d.]+)", x) for x in lines]
    assert all(told)
    assert [float(one[2]) for one in told] == [
        pytest.approx(8 * 0.5 ** (int(one[1]) - 1), abs=1e-4) for one in told
    ]
    assert int(told[-1][1]) == steps
    assert min(4, steps) <= len(lines) <= listener.LINES_PER_ARM


def test_a_line_says_where_an_arm_diverged_and_nothing_of_an_arm_that_was_done_before(capsys):
    shown = listener.PlainDisplay(1)
    record = a_record(40, 12)
    shown.advance(an_arm("batch"), 12, record)
    record["train_finite"][12] = 0
    shown.finish(an_arm("batch"), record)
    shown.finish(an_arm("none"), a_record(40, 40))
    assert "batch, seed 0: step 13/40, diverged" in capsys.readouterr().out.splitlines()[-1]


def test_the_bars_end_with_the_loss_of_the_last_step():
    bars = listener.Bars(console=Console(file=io.StringIO()))
    shown = listener.RichDisplay(bars, jobs=1)
    shown.advance(an_arm("batch"), 4, a_record(4, 3))
    shown.finish(an_arm("batch"), a_record(4, 4))
    own = bars.tasks[-1]
    assert (own.completed, own.fields["count"]) == (4, "4/4")
    assert "minibatch loss 1.0000" in own.fields["below"]


def test_a_notebook_has_one_output_which_is_replaced(monkeypatch, capsys):
    import IPython.display

    puts, made = [], []

    class Handle:
        def update(self, bars):
            puts.append(Console(file=io.StringIO(), width=80, record=True))
            puts[-1].print(bars)

    def show(bars, display_id):
        made.append(display_id)
        return Handle()

    monkeypatch.setattr(IPython.display, "display", show)
    monkeypatch.setattr(listener, "in_notebook", lambda: True)
    monkeypatch.setattr(listener, "NOTEBOOK_REFRESH", 0)
    with listener.display(1) as shown:
        for done in range(1, 5):
            shown.advance(an_arm("batch"), done, a_record(4, done - 1))
        shown.finish(an_arm("batch"), a_record(4, 4))
    assert made == [True]
    assert len(puts) == 6
    assert "4/4" in puts[-1].export_text()
    assert capsys.readouterr().out == ""


def test_probes_without_a_choice_show_their_first_fields_and_nothing_private():
    fields = {f"a_{number}": np.array([[1.0], [2.0]]) for number in range(9)}
    found = listener.newest_probes({**fields, "_path_snapshots": np.ones((2, 3))})
    assert found == [f"a {number} 2" for number in range(listener.MOST_VALUES)]


def test_steps_done_before_a_resume_tell_nothing_of_the_time_left():
    clock = [0.0]
    bars = listener.Bars(console=Console(file=io.StringIO()), get_time=lambda: clock[0])
    shown = listener.RichDisplay(bars, jobs=2)
    shown.finish(an_arm("none"), a_record(100, 100))
    for done in range(51, 61):  # a second each, from the checkpoint at step 50
        clock[0] += 1
        shown.latest = 0.0
        shown.advance(an_arm("batch"), done, a_record(100, done))
    (whole,) = [task for task in bars.tasks if task.description == "all arms"]
    assert whole.time_remaining == pytest.approx(40, abs=5)


def test_of_many_arms_only_those_under_way_keep_a_bar():
    bars = listener.Bars(console=Console(file=io.StringIO()))
    shown = listener.RichDisplay(bars, jobs=listener.MANY_JOBS + 1)
    record = a_record(2, 2)
    for norm in ("none", "batch"):
        shown.advance(an_arm(norm), 1, record)
    shown.advance_rows(an_arm("none"), "plane", 1, 3)
    shown.finish(an_arm("none"), record)
    visible = [task.description for task in bars.tasks if task.visible]
    assert visible == ["all arms", "batch, seed 0"]


def test_what_fails_ahead_of_time_says_nothing_until_it_is_done_again():
    begun = threading.Event()

    def load():
        begun.set()
        raise ModuleNotFoundError("No module named 'matplotlib'")

    meanwhile = listener.Meanwhile(load)
    meanwhile.advance(an_arm("none"), 1, a_record(2, 1))
    assert begun.wait(10)
    for thread in threading.enumerate():
        if thread.daemon and thread.name.endswith("(attempt)"):
            thread.join(10)


@pytest.mark.parametrize("values", [[], [np.nan], [-1.0, 0.0], [np.inf]])
def test_a_curve_without_values_is_blank(values):
    assert listener.sparkline(np.array(values)).strip() == ""


def test_a_long_curve_fits_a_line():
    drawn = listener.sparkline(np.geomspace(100, 1, 1000))
    assert len(drawn) == listener.CURVE_WIDTH
    assert list(drawn) == sorted(drawn, reverse=True)
