"""What is installed is what is in the tree."""

import tomllib
from pathlib import Path

import bnjax

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())


def test_every_package_is_installed():
    found = {
        ".".join(path.parent.relative_to(ROOT).parts)
        for path in (ROOT / "bnjax").rglob("__init__.py")
    }
    listed = PROJECT["tool"]["setuptools"]["packages"]
    assert set(listed) == found | {"bnjax.experiments"}
    assert listed == sorted(listed)


def test_the_version_is_said_once():
    assert PROJECT["project"]["version"] == bnjax.__version__
    changelog = (ROOT / "CHANGELOG.md").read_text()
    assert f"## {bnjax.__version__}" in changelog
    assert f"version: {bnjax.__version__}" in (ROOT / "CITATION.cff").read_text()
