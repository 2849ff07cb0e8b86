"""Published numbers are computed from the published curves by the functions that sum up a run."""

import importlib.util
import os
from pathlib import Path

import pytest

from bnjax.frame.published_curves import read_published
from bnjax.studies.forensics import published
from bnjax.studies.landscape.published import NUMBERS

TOOL = Path(__file__).parents[2] / "tools" / "published_numbers.py"
CURVES = os.environ.get("BNJAX_PUBLISHED_CURVES")


@pytest.fixture
def tool():
    spec = importlib.util.spec_from_file_location("published_numbers", TOOL)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_band_counts_by_its_width_and_the_late_window_is_the_last_quarter(tool, tmp_path):
    rows = [(0, 1, 2), (50, 1, 9), (75, 5, 6), (100, 5, 8)]
    text = "".join(f"fig12b_vgg_loss,batchnorm,{s},{low},{high}\n" for s, low, high in rows)
    path = tmp_path / "curves.csv"
    path.write_text("panel,series,step,low,high\n" + text)
    assert tool.table(path) == {("vgg", "fig4a"): {"batch": (8.0, 2.0)}}


@pytest.mark.skipif(not CURVES, reason="BNJAX_PUBLISHED_CURVES names no table of curves")
def test_the_table_is_that_of_the_published_curves(tool):
    assert tool.table(Path(CURVES)) == NUMBERS


def test_the_widths_of_the_loss_bands_are_the_published_ones():
    widths = {norm: numbers[0] for norm, numbers in NUMBERS["vgg", "fig4a"].items()}
    assert widths == {"none": 7.69, "batch": 1.62, "l1": 1.21, "l2": 1.21, "linf": 0.775}


@pytest.mark.skipif(not CURVES, reason="BNJAX_PUBLISHED_CURVES names no table of curves")
def test_the_numbers_of_the_forensics_are_those_of_the_published_curves(tool):
    found = tool.forensics(read_published(Path(CURVES)))
    assert found == {"NUMBERS": published.NUMBERS, "PENALTIES": published.PENALTIES}


def test_the_penalty_of_the_normalised_networks_is_two_ten_thousandths():
    for norm in ("batch", "l1", "l2", "linf"):
        _, coefficient, start = published.PENALTIES[norm]
        assert coefficient == pytest.approx(2e-4, rel=0.01)
        assert start == pytest.approx(2.035, rel=0.01)  # VGG-19 with a head 4096–4096–10
