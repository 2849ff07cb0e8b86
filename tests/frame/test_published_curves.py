"""Published curves: read, and refused where damaged."""

import numpy as np
import pytest

from bnjax.errors import UsageError
from bnjax.frame.published_curves import Curve, complaints, read_published

HEAD = "panel,series,step,low,high\n"


def test_curves_are_sorted_by_step_and_named_by_normaliser(tmp_path):
    path = tmp_path / "curves.csv"
    path.write_text(f"{HEAD}p,standard,9,1,2\np,standard,-1,3,4\np,batchnorm,0,5,5\np,dogs,0,6,6\n")
    curves = read_published(path)
    assert set(curves) == {("p", "none"), ("p", "batch"), ("p", "dogs")}
    np.testing.assert_array_equal(curves["p", "none"], [[-1, 9], [3, 1], [4, 2]])


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"panel,series,step,value\np,q,0,1\n", "has the columns panel,series,step,value"),
        (b"", "has the columns"),
        (HEAD.encode() + b"p,standard,0,one,2\n", "one"),
        (HEAD.encode() + b"p,standard,0,1\n", "cannot be read"),
        (HEAD.encode() + b"p,standard,0,1,nan\n", "not finite"),
        (HEAD.encode() + b"p,l1,0,2,1\n", "at step 0 of p, l1, low 2 is above high 1"),
        (HEAD.encode(), "has no row below its header"),
        (b"\xff\xfe\x00", "cannot be read"),
        (None, "No such file"),
    ],
)
def test_files_that_do_not_serve_are_refused_in_one_line(tmp_path, content, message):
    path = tmp_path / "curves.csv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UsageError, match=message) as raised:
        read_published(path)
    assert "\n" not in str(raised.value)


LINE = Curve(*np.zeros((3, 1)))


def test_curves_that_match_nothing_are_named():
    looked = {("fig4a", "none"): False, ("fig4a", "batch"): False}
    assert complaints({}, looked, "landscape") == []
    found = complaints({("fig4a", "bn"): LINE, ("fig9", "none"): LINE}, looked, "landscape")
    assert found == [
        "--published: landscape looks for fig4a with standard batchnorm, and drew no curve: it has "
        "fig4a bn, fig9 standard"
    ]
    found = complaints({("fig4a", "none"): LINE}, {}, "spectrum")
    assert found == ["--published: spectrum draws no published curve: it has fig4a standard"]
    both = {("fig4a", "none"): LINE, ("fig4a", "bn"): LINE, ("fig4a", "l1"): LINE}
    found = complaints(both, looked | {("fig4a", "none"): True}, "landscape")
    assert found == [
        "--published: landscape has no arm bn: it looks for fig4a with standard batchnorm"
    ]
    assert complaints({("fig4a", "none"): LINE}, {("fig4a", "none"): True}, "landscape") == []
