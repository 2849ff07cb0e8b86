"""The README: short, with the table that the studies themselves give."""

import importlib
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def test_its_table_is_what_the_studies_say(monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "tools")
    filled = importlib.import_module("readme_table").filled
    assert filled(README) == README, "python tools/readme_table.py --write"


def test_it_is_short_and_has_the_figure_and_both_commands():
    assert README.count("\n") <= 150
    for needed in ("figures/landscape_cifar10.png", "make landscape", "landscape.py --lr 0.4"):
        assert needed in README
