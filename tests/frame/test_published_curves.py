"""Published curves: read, drawn beside measured ones, refused where damaged."""

import numpy as np
import pytest

from bnjax.draw import style
from bnjax.errors import UsageError
from bnjax.frame.published_curves import read_published

HEAD = "panel,series,step,low,high\n"


def test_curves_are_sorted_by_step_and_named_by_normaliser(tmp_path):
    path = tmp_path / "curves.csv"
    path.write_text(f"{HEAD}p,standard,9,1,2\np,standard,-1,3,4\np,batchnorm,0,5,5\np,dogs,0,6,6\n")
    curves = read_published(path)
    assert set(curves) == {("p", "none"), ("p", "batch"), ("p", "dogs")}
    np.testing.assert_array_equal(curves["p", "none"], [[-1, 9], [3, 1], [4, 2]])


def test_only_curves_of_the_panel_and_its_arms_are_drawn(tmp_path):
    path = tmp_path / "curves.csv"
    path.write_text(f"{HEAD}p,standard,0,1,2\np,batchnorm,0,5,5\nq,standard,0,6,6\n")
    with style.figure(1, 1, size=(2.0, 2.0)) as (_, [panel]):
        style.overlay(panel, ["none", "l1"], read_published(path), "p")
        drawn = [line.get_ydata().tolist() for line in panel.get_lines()]
    assert drawn == [[1.0], [2.0]]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"panel,series,step,value\np,q,0,1\n", "has the columns panel,series,step,value"),
        (b"", "has the columns"),
        (HEAD.encode() + b"p,standard,0,one,2\n", "one"),
        (HEAD.encode() + b"p,standard,0,1\n", "cannot be read"),
        (HEAD.encode() + b"p,standard,0,1,nan\n", "not finite"),
        (b"\xff\xfe\x00", "cannot be read"),
    ],
)
def test_damaged_files_are_refused_in_one_line(tmp_path, content, message):
    path = tmp_path / "curves.csv"
    path.write_bytes(content)
    with pytest.raises(UsageError, match=message) as raised:
        read_published(path)
    assert "\n" not in str(raised.value)


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(UsageError, match="No such file"):
        read_published(tmp_path / "none.csv")
