"""A figure is drawn from tables: what each method draws, keeps and writes; one look for all."""

import csv
import os
import subprocess
import sys

import numpy as np
import pytest
import xarray

from bnjax import draw
from bnjax.draw import LOOKS, Drawing
from bnjax.draw.drawing import RC, Looks, cells, log_ticks, points, short_names
from bnjax.frame.published_curves import Curve
from bnjax.frame.results import Run

X, LOW, HIGH = np.arange(3), np.array([1.0, np.nan, 3.0], "f4"), np.array([2.0, 5.0, 1.0], "f4")
GRID = np.arange(1.0, 7.0).reshape(2, 3)
BATCH = LOOKS["batch"]


def table(folder, name="f"):
    with (folder / f"{name}.csv").open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def one(caption="", **layout):
    drawing = Drawing("f", size=(5.0, 3.0), caption=caption, **layout)
    return drawing, drawing.panels[0]


def made_run(norms=("none", "batch"), steps=12, **options):
    """Losses and finite flags of two seeds; the second seed of the last arm diverged at step 4."""
    random = np.random.default_rng(0)
    dims, shape = ("norm", "seed", "step"), (len(norms), 2, steps)
    losses, finite = random.uniform(0.1, 2.0, shape).astype("f4"), np.ones(shape, "f4")
    losses[-1, 1, 4:], finite[-1, 1, 4:] = np.nan, 0
    data = {"train_loss": (dims, losses), "train_finite": (dims, finite)}
    data["test_loss"] = (("norm", "seed", "test_step"), losses[..., :2])
    coords = {"norm": list(norms), "seed": [0, 1], "step": range(steps), "test_step": [0, steps]}
    given = {"objective": "cross_entropy", "model": "vgg11", "steps": 1000, "optimizer": "sgd"}
    given |= {"dropout": 0.0, "depth": None, "width": 0.25, "lr": 0.1, "batch_size": 32}
    given |= {"pixel_scale": "standardised", "kernel_penalty": 0.0, **options}
    return Run(xarray.Dataset(data, coords), given, {"chance_loss": 2.3, "dataset": "made up"})


CALLS = {  # method, arguments, and columns of the rows that it keeps
    "line": ((X, LOW), {"x": "012", "y": ["1.0", "nan", "3.0"]}),
    "points": ((X, LOW), {"x": "012", "y": ["1.0", "nan", "3.0"]}),
    "ranges": ((X, X, LOW - 1, X + 2), {"y": "012", "low": ["0.0", "nan", "2.0"]}),
    "band": ((X, LOW, HIGH), {"x": "02", "low": ["1.0", "1.0"], "high": ["2.0", "3.0"]}),
    "bars": ((X, X), {"x": "012", "y": "012"}),
    "heat": ((X, ["a", "b"], GRID), {"x": "012012", "y": "aaabbb", "value": list("123456")}),
    "contours": ((X, X[:2], GRID), {"x": "012012", "y": "000111", "value": list("123456")}),
    "surface": ((X, X[:2], GRID), {"x": "012012", "y": "000111", "value": list("123456")}),
    "marks": ((X,), {"x": "012"}),
}
KINDS = {"ranges": "range", "bars": "bar", "marks": "mark"} | dict.fromkeys(
    ("heat", "contours", "surface"), "grid"
)


@pytest.mark.parametrize("method", CALLS)
def test_each_method_draws_and_keeps_its_rows(method, tmp_path):
    layout = {"subplot_kw": {"projection": "3d"}} if method == "surface" else {}
    drawing, panel = one(**layout)
    given, expected = CALLS[method]
    levels = [draw.shared_levels(GRID)] if method in ("contours", "surface") else []
    before = len(panel.axes.get_children())
    getattr(panel, method)(*given, "some\nseries", *levels)
    assert len(panel.axes.get_children()) > before
    paths = drawing.save(tmp_path)
    assert sorted(path.suffix for path in paths) == [".csv", ".pdf", ".png", ".svg"]
    rows = table(tmp_path)
    assert {(row["series"], row["kind"]) for row in rows} == {
        ("some series", KINDS.get(method, method))
    }
    for column, values in expected.items():
        found = [row[column].removesuffix(".0") for row in rows]
        assert found == [value.removesuffix(".0") for value in values]
    assert all(row[column] == "" for row in rows for column in {"low", "value"} - set(expected))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_file_is_the_table_to_the_last_bit(dtype, tmp_path):
    values = np.array([1 / 3, 1e-30, np.nan, np.inf, -2.5, 7e20]).astype(dtype)
    drawing, panel = one()
    panel.line(range(6), values, look=BATCH)
    panel.reference(2.3, "chance")
    panel.vertical(4.0, "lr")
    panel.set(title="a  Loss", ylabel="loss\n[nat]")
    drawing.save(tmp_path)
    rows = table(tmp_path)
    np.testing.assert_array_equal([dtype(row["y"]) for row in rows[:6]], values)
    assert [tuple(row.values()) for row in rows] == list(drawing.table())
    assert [tuple(row.values())[:5] for row in rows[6:]] == [
        ("a Loss | loss [nat]", "chance", "reference", "", "2.3"),
        ("a Loss | loss [nat]", "lr", "reference", "4.0", ""),
    ]


def test_a_table_may_say_another_thing_than_the_axis_or_nothing():
    _, panel = one()
    panel.bars([0, 1], [3, 4], "ends", table={"x": ["He", "Glorot"]})
    panel.line([0, 1], [3, 4], "halo", table=None)
    panel.keep("own", "line", x=[1], y=[2])
    assert [series.name for series in panel.table] == ["ends", "own"]
    assert panel.table[0].columns["x"].tolist() == ["He", "Glorot"]


def test_a_legend_merges_panels_and_leaves_out_what_is_to_be_left_out():
    drawing = Drawing("f", (1, 2))
    band, line = drawing.panels
    band.band(X, LOW, HIGH, look=BATCH, edges=True)
    line.line(X, X, look=BATCH)
    line.line(X, X, "hidden", legend=False)
    line.line(X, X, "long name", legend="short")
    line.key("a meaning", color="0.35")
    drawing.legend()
    (legend,) = drawing.figure.legends
    assert [text.get_text() for text in legend.get_texts()] == ["BatchNorm", "short", "a meaning"]
    assert [series.name for series in band.table] == [
        "BatchNorm",
        "BatchNorm, lower edge",
        "BatchNorm, upper edge",
    ]


def test_panels_of_a_grid_are_named_by_column_and_row():
    drawing = Drawing("f", (2, 2))
    for panel in drawing.panels:
        panel.line(0, 1, "s")
    (first, second), (third, _) = drawing.rows
    first.set(title="left", ylabel="first row")
    second.set(title="right")
    third.set(ylabel="second row")
    heads = [f"{column} | {row} row" for row in ("first", "second") for column in ("left", "right")]
    assert [row[0] for row in drawing.table()] == heads


def test_equal_figures_are_equal_files_whatever_a_matplotlibrc_says(tmp_path):
    program = (
        "import sys, pathlib; from bnjax import draw\n"
        "d = draw.Drawing('f', caption='what was run'); p = d.panels[0]\n"
        "p.bars([0, 1], [1, 2], look=draw.LOOKS['l1']); p.reference(1.5, 'edge')\n"
        "p.note('9', (0, 1), 'data'); p.set(title='t', xticks=([0, 1], ['a', 'b'])); p.legend()\n"
        "d.save(pathlib.Path(sys.argv[1]))"
    )
    other = b"font.size: 20\naxes.grid: False\nfont.family: serif\nsavefig.bbox: tight\n"
    other += b"backend: tkagg\nsvg.hashsalt: bnjax\n"
    kinds = {"plain": b"", "other": other, "bytes": b"\xff\xfe", "home": b""}
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    environment.pop("SOURCE_DATE_EPOCH", None)
    for name, settings in kinds.items():
        place = tmp_path / name
        place.mkdir()
        (place / "matplotlibrc").write_bytes(settings)
        if name == "home":
            (place / "matplotlibrc").unlink()
            os.mkfifo(place / "matplotlibrc")
            (place / "stylelib").mkdir()
            (place / "stylelib" / "bad.mplstyle").write_bytes(b"\xff")
            (tmp_path / "named.rc").write_bytes(b"\xff")
            environment |= {"MPLCONFIGDIR": str(place), "MATPLOTLIBRC": str(tmp_path / "named.rc")}
        run = [sys.executable, "-c", program, "."]
        subprocess.run(run, check=True, cwd=place, env=environment, timeout=60)
    for suffix in ("png", "pdf", "svg", "csv"):
        files = [(tmp_path / name / f"f.{suffix}").read_bytes() for name in kinds]
        assert files == [files[0]] * len(files), suffix
        assert b"CreationDate" not in files[0]
        assert b"<dc:date>" not in files[0]


def test_settings_of_a_user_serve_the_figures_of_the_user(tmp_path):
    (tmp_path / "matplotlibrc").write_text("font.size: 20\n")
    program = "import os, bnjax.draw, matplotlib as m; print(m.rcParams['font.size'])"
    program += "; print(os.path.exists('matplotlibrc'))"
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    run = [sys.executable, "-c", program]
    said = subprocess.check_output(run, cwd=tmp_path, env=environment, text=True)
    assert said.split() == ["20.0", "True"]


def test_a_figure_that_fails_leaves_no_file(tmp_path, monkeypatch):
    drawing, panel = one()
    panel.line(X, X, "s")
    monkeypatch.setattr(drawing.figure, "savefig", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        drawing.save(tmp_path)
    assert not list(tmp_path.iterdir())


def test_the_style_ends_with_the_call():
    import matplotlib

    before = matplotlib.rcParams["font.size"]
    one(caption="a")[0].finish()
    assert matplotlib.rcParams["font.size"] == before
    with draw.styled():
        assert matplotlib.rcParams["font.size"] == RC["font.size"]


@pytest.mark.parametrize(
    ("values", "scale"), [([np.nan, 0.5], "log"), ([np.nan, np.inf], "linear"), ([-1, 0], "linear")]
)
def test_an_axis_is_logarithmic_only_where_something_positive_was_drawn(values, scale):
    _, panel = one()
    panel.line([0, 1], values, "s")
    panel.vertical(0.5, "no measurement")
    panel.set(log=True)
    assert panel.axes.get_yscale() == scale


@pytest.mark.parametrize(("low", "high"), [(2.05, 2.45), (1.2, 8.0), (2.0, 70.0), (1e-3, 1e3)])
def test_a_short_logarithmic_axis_has_plain_numbers_a_long_one_powers(low, high):
    drawing, panel = one()
    panel.line([1, 2, 4], [low, high, low], "curve")
    panel.set(log=True, xscale="log", xticks=([1, 2, 4], ["one", "two", "four"]))
    drawing.finish()
    axis = panel.axes.yaxis
    texts = [
        tick.label1.get_text() for tick in axis.get_major_ticks() if low <= tick.get_loc() <= high
    ]
    assert len(texts) >= 2
    assert all(("10^" in text) == (high > 100) for text in texts)
    assert [text.get_text() for text in panel.axes.get_xticklabels()][:3] == ["one", "two", "four"]
    found = log_ticks(low, high)
    assert len(found) >= 2
    assert low <= min(found) < max(found) <= high


@pytest.mark.parametrize("values", [np.zeros(40), np.full(40, np.nan), np.arange(40.0)])
def test_a_line_of_which_nothing_can_be_drawn_is_left_empty(values, tmp_path):
    drawing, panel = one()
    panel.line(range(40), values, "curve", marker=True, markevery=0.1)
    panel.set(log=True)
    drawing.save(tmp_path)
    (line,) = panel.axes.get_lines()
    assert line.get_markevery() == 4


@pytest.mark.parametrize("steps", [3, 20])
def test_no_training_step_is_broken_and_both_ends_have_room(steps):
    drawing, panel = one()
    panel.line(range(steps + 1), range(steps + 1), "curve")
    panel.set(xlabel=draw.STEP, steps=steps)
    drawing.finish()
    places = [place for place in panel.axes.get_xticks() if 0 <= place <= steps]
    assert len(places) > 3
    assert all(place == round(place) for place in places)
    low, high = panel.axes.get_xlim()
    assert low < 0
    assert high > steps


def test_the_names_of_lines_stand_inside_and_cover_neither_curves_nor_each_other():
    drawing, panel = one()
    steps = np.linspace(0, 10, 50)
    panel.line(steps, np.where(steps > 5, 1.05, 3.0), "above the right half")
    panel.line(steps, np.where(steps > 5, 0.95, -2.0), "below the right half")
    panel.reference(1.0, "edge of stability")
    panel.reference(1.2, "another line")
    drawing.finish()
    curves = [points(line, panel.axes) for line in panel.axes.get_lines()]
    assert sum(map(len, curves)) > 1000
    first, second = (name.get_window_extent() for name in panel.names)
    assert not any(first.count_contains(points) for points in curves)
    assert panel.axes.get_window_extent().containsx(first.x0)
    assert not first.overlaps(second)
    assert panel.names[0].get_zorder() < panel.axes.get_lines()[0].get_zorder()


def test_a_name_beside_its_panel_has_room_there():
    drawing, panel = one()
    panel.line([0, 10], [0, 10], "curve")
    panel.reference(5.0, "2/lr, edge of stability", outside=True)
    drawing.finish()
    (name,) = panel.axes.texts
    box = name.get_window_extent()
    assert panel.axes.get_window_extent().x1 < box.x0 < box.x1 <= drawing.figure.bbox.x1
    assert name.get_text().count("\n") == 1


def test_names_beside_a_panel_do_not_cover_each_other():
    drawing, panel = one()
    panel.line([0, 10], [0, 10], "curve")
    for value, name in ((5.0, "2/lr, edge of stability"), (5.1, "1/η_min, saturation")):
        panel.reference(value, name, outside=True)
    drawing.finish()
    low, high = (text.get_window_extent() for text in panel.axes.texts)
    assert low.y1 <= high.y0 + 0.01
    assert high.x1 <= drawing.figure.bbox.x1


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["conv1", "output"], ["conv1", "output"]),
        (["net/a/kernel", "net/b/kernel"], ["a/kernel", "b/kernel"]),
        (["block/conv1"], ["conv1"]),
        (["a" * 20 + "1" + "b" * 20, "a" * 20 + "2" + "b" * 20], None),
    ],
)
def test_short_names_stay_different(names, expected):
    found = short_names(names)
    assert len(set(found)) == len(names)
    assert expected in (None, found)


def test_a_legend_is_no_wider_than_its_figure_and_names_each_series_once():
    drawing = draw.Drawing("two", (1, 2), (6.0, 3.0))
    for panel in drawing.panels:
        for number in range(6):
            panel.line([0, 1], [0, number], f"BatchNorm, a layer of the net {number}")
    drawing.legend()
    figure = drawing.finish()
    (legend,) = figure.legends
    assert len(legend.get_texts()) == 6
    assert legend.get_window_extent().width <= figure.bbox.width


def test_a_heat_map_shows_each_cell_whole_and_thins_the_names_of_rows():
    drawing, panel = one()
    names = [f"conv{i}" for i in range(20)]
    panel.heat([3], names, np.full((20, 1), np.nan), "cosine", vmin=-1, vmax=1)
    assert panel.axes.get_xlim() == (2.5, 3.5)
    assert [text.get_text() for text in panel.axes.get_yticklabels()] == names[::2]
    assert cells(np.array([0, 2, 6])).tolist() == [-1, 1, 4, 8]
    assert len(list(drawing.table())) == 20


def test_levels_are_shared_in_equal_ratios_and_bounded():
    levels = draw.shared_levels([np.array([[1.0, np.inf], [np.nan, -2.0]]), np.full((2, 2), 1e9)])
    assert (levels[0], levels[-1]) == (1.0, 1e6)
    np.testing.assert_allclose(levels[1:] / levels[:-1], levels[1] / levels[0])
    assert np.isfinite(draw.shared_levels([np.nan])).all()


def test_curves_are_medians_over_the_seeds_that_are_left_and_crosses_mark_ends():
    run = made_run()
    _, panel = one()
    draw.curves(panel, run, run["train_loss"].transpose("step", "seed", "norm"), "{}, loss")
    first, second, end = panel.table
    losses = run["train_loss"].values
    assert (first.name, second.name) == ("no normalisation, loss", "BatchNorm, loss")
    np.testing.assert_array_equal(first.columns["y"], np.median(losses[0], axis=0))
    np.testing.assert_array_equal(second.columns["y"][4:], losses[1, 0, 4:])
    assert (end.name, end.kind, end.columns["x"].tolist()) == ("BatchNorm, diverged", "mark", [4])
    assert second.columns["y"].dtype == np.float32


def test_published_curves_are_two_thin_lines_without_an_entry():
    _, panel = one()
    curve = Curve(np.array([0.0, 50.0]), np.array([1.0, 0.5]), np.array([2.0, 1.5]))
    assert panel.published({("loss", "batch"): curve}, "loss", ["none", "batch"])
    assert not panel.published({}, "loss", ["none", "batch"])
    names = [series.name for series in panel.table]
    assert names == [f"BatchNorm, {draw.PUBLISHED}, {edge} edge" for edge in ("lower", "upper")]
    assert not panel.axes.get_legend_handles_labels()[1]


@pytest.mark.parametrize(("steps", "window"), [(499, 0), (1000, 21)])
def test_a_long_training_is_shown_by_its_running_median(steps, window):
    run = made_run(("batch",), steps)
    _, panel = one()
    draw.training(panel, run, test=True)
    found = {series.name: series for series in panel.table}
    assert ("BatchNorm, every minibatch of one seed" in found) == bool(window)
    assert {"BatchNorm, minibatch", "BatchNorm, test set", "chance"} <= set(found)
    losses, half = run["train_loss"].values[0], window // 2
    expected = losses[0, 100] if not window else np.median(losses[0, 100 - half : 101 + half])
    assert found["BatchNorm, minibatch"].columns["y"][100] == expected
    full = Run(run.data, {**run.options, "model": "dln"}, run.facts)
    assert "median" not in draw.loss_label(full)  # a full batch has no noise to see through


def test_sixteen_normalisers_of_ones_own_look_different():
    looks = Looks(LOOKS)
    assert len({looks[f"own{number}"][:3] for number in range(16)}) == 16


def test_a_caption_says_what_was_trained_on_what_and_how():
    run = made_run()
    assert draw.subject(run) == "VGG-11 ×0.25, made up; 1,000 steps"
    assert draw.setting(run) == "SGD lr 0.1, batch 32"
    assert draw.spread(run) == "median over 2 seeds"
    other = made_run(hidden=[9, 8], bias_init=0.1, pixel_scale="unscaled", kernel_penalty=2e-4)
    words = "VGG-11 ×0.25, head 9–8, biases from 0.1, made up, pixels 0 to 255; 1,000 steps"
    assert draw.subject(other) == words
    assert "penalty 0.0002·Σ kernel² in the trained and probed loss" in draw.setting(other)


def test_a_table_beside_the_figures_is_written_whole(tmp_path):
    (path,) = draw.Table("units", [{"norm": "none", "value": "0.5"}]).save(tmp_path)
    assert path.read_text() == "norm,value\nnone,0.5\n"
