"""The table behind a figure: the numbers that were drawn, under the names of the legend."""

import ast
import csv
from pathlib import Path

import numpy as np
import pytest

from bnjax.draw import numbers, style
from bnjax.report import captions

FIGURES = Path(numbers.__file__).parent


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def column(rows, series, name, kind=None):
    found = [row for row in rows if row["series"] == series and kind in (None, row["kind"])]
    return np.array([float(row[name]) for row in found])


@pytest.fixture
def panels():
    with style.figure(1, 2, size=(5.0, 2.5)) as (drawn, axes):
        yield drawn, axes


def saved(drawn, tmp_path):
    assert sorted(path.suffix for path in style.save(drawn, tmp_path, "f")) == [
        ".csv",
        ".pdf",
        ".png",
        ".svg",
    ]
    return table(tmp_path / "f.csv")


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_line_is_written_to_the_last_bit(panels, tmp_path, dtype):
    drawn, [panel, _] = panels
    x = np.arange(6)
    y = (np.array([1 / 3, 1e-30, np.nan, np.inf, -2.5, 7e20])).astype(dtype)
    panel.plot(x, y, label="BatchNorm")
    panel.set(title="a  Loss", ylabel="loss\n[nat]")
    rows = saved(drawn, tmp_path)
    np.testing.assert_array_equal(column(rows, "BatchNorm", "y").astype(dtype), y)
    np.testing.assert_array_equal(column(rows, "BatchNorm", "x"), x)
    assert {row["panel"] for row in rows} == {"a Loss | loss [nat]"}


def test_a_band_with_a_gap_keeps_both_edges(panels, tmp_path):
    drawn, [panel, _] = panels
    low = np.array([1.0, 2.0, np.nan, 4.0, 5.0], np.float32)
    panel.fill_between(np.arange(5), low, low + 0.1, label=numbers.hidden("range"))
    rows = saved(drawn, tmp_path)
    kept = np.isfinite(low)
    np.testing.assert_array_equal(column(rows, "range", "x"), np.arange(5)[kept])
    np.testing.assert_array_equal(column(rows, "range", "low"), low[kept])
    np.testing.assert_array_equal(column(rows, "range", "high"), (low + np.float32(0.1))[kept])


def test_a_band_upside_down_is_still_low_and_high(panels, tmp_path):
    drawn, [panel, _] = panels
    panel.fill_between([0, 1], [5.0, 1.0], [2.0, 3.0], label="band")
    rows = saved(drawn, tmp_path)
    assert column(rows, "band", "low").tolist() == [2, 1]
    assert column(rows, "band", "high").tolist() == [5, 3]


def test_bars_error_bars_points_lines_across_and_marks(panels, tmp_path):
    drawn, [panel, other] = panels
    panel.bar([0, 1], [3.0, 4.0], label="bars")
    panel.errorbar([0, 1], [3.0, 4.0], yerr=[[1.0, 0.5], [2.0, 1.0]], label="errors")
    panel.scatter([5, 6], [7.0, 8.0], label="scattered")
    panel.plot([1], [2.0], "o", linestyle="none", label="point")
    style.reference_line(other, 2.3, "chance")
    other.axvline(0.4, label=numbers.hidden("lr"))
    other.plot(9, 0, transform=other.get_xaxis_transform(), label=numbers.hidden("diverged"))
    rows = saved(drawn, tmp_path)
    assert column(rows, "bars", "y", "bar").tolist() == [3, 4]
    assert column(rows, "errors", "low", "range").tolist() == [2, 3.5]
    assert column(rows, "errors", "high", "range").tolist() == [5, 5]
    assert column(rows, "scattered", "y", "points").tolist() == [7, 8]
    assert column(rows, "point", "x", "points").tolist() == [1]
    assert column(rows, "chance", "y", "reference").tolist() == [2.3]
    assert column(rows, "lr", "x", "reference").tolist() == [0.4]
    assert column(rows, "diverged", "x", "mark").tolist() == [9]


def test_grids_have_the_numbers_that_were_attached(panels, tmp_path):
    drawn, [panel, _] = panels
    values = np.arange(6.0).reshape(2, 3)
    mesh = panel.pcolormesh([0, 1, 2], [0, 1], values, shading="nearest", label="_grid")
    numbers.behind(mesh, "grid", x=np.arange(3), y=np.array([0, 1])[:, None], value=values)
    lines = panel.contour(values)
    numbers.behind(lines, "none")
    rows = saved(drawn, tmp_path)
    assert column(rows, "grid", "value").tolist() == values.ravel().tolist()
    assert column(rows, "grid", "x").tolist() == [0, 1, 2, 0, 1, 2]
    assert len(rows) == 6


def test_what_keeps_no_numbers_is_refused(panels, tmp_path):
    drawn, [panel, _] = panels
    panel.contour(np.eye(3))
    with pytest.raises(TypeError, match=r"numbers\.behind"):
        style.save(drawn, tmp_path, "f")
    assert not list(tmp_path.iterdir())


def test_stairs_are_their_values_at_the_middles(panels, tmp_path):
    drawn, [panel, _] = panels
    panel.stairs([3.0, 4.0], [0.0, 1.0, 4.0], label="steps")
    rows = saved(drawn, tmp_path)
    assert column(rows, "steps", "x", "bar").tolist() == [0.5, 2.5]
    assert column(rows, "steps", "y", "bar").tolist() == [3, 4]


def test_a_series_without_a_label_is_named_by_its_arm(panels, tmp_path):
    drawn, [panel, _] = panels
    panel.plot([0], [1], color=style.LOOKS["batch"].colour)
    assert saved(drawn, tmp_path)[0]["series"] == "BatchNorm"


def test_panels_of_a_grid_are_named_by_column_and_row(tmp_path):
    with style.figure(2, 2, size=(4.0, 4.0)) as (drawn, panels):
        for panel in panels:
            panel.plot([0], [1], label="s")
        panels[0].set(title="left", ylabel="first row")
        panels[1].set_title("right")
        panels[2].set_ylabel("second row")
        rows = saved(drawn, tmp_path)
    assert [row["panel"] for row in rows] == [
        "left | first row",
        "right | first row",
        "left | second row",
        "right | second row",
    ]


def test_equal_figures_are_equal_files(tmp_path):
    for place in (tmp_path / "a", tmp_path / "b"):
        place.mkdir()
        with style.figure(1, 1, size=(3.0, 3.0)) as (drawn, [panel]):
            panel.bar([0], [1], hatch="//", label="η → ∞")
            style.save(drawn, place, "f")
    for path in (tmp_path / "a").iterdir():
        assert path.read_bytes() == (tmp_path / "b" / path.name).read_bytes(), path.name


def test_every_figure_is_defined():
    saved_names = {
        node.args[2].value
        for path in FIGURES.glob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call)
        and ast.unparse(node.func) == "style.save"
        and isinstance(node.args[2], ast.Constant)
    }
    assert len(saved_names) > 20
    assert saved_names <= set(captions.FIGURES)
