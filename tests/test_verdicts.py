"""The arrays that are kept, and what today's rules say of them."""

import importlib.util
from pathlib import Path

import pytest

from bnjax.frame import study as studies

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def verdicts():
    """The tool, as a module."""
    spec = importlib.util.spec_from_file_location("verdicts", ROOT / "tools" / "verdicts.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_of_verdicts_is_what_the_kept_arrays_give(verdicts):
    assert (ROOT / "docs" / "verdicts.md").read_text(encoding="utf-8") == verdicts.page()


def test_every_study_has_arrays_of_three_seeds_or_more(verdicts):
    runs = verdicts.kept()
    assert set(runs) == set(studies.names())
    assert all(len(run.seeds) >= 3 for run in runs.values())
    assert sum(path.stat().st_size for path in verdicts.ARRAYS.iterdir()) < 20e6
